//! The document agrees with itself and with the code.

use std::collections::BTreeSet;

use funnelweb_core::{
    error::Code,
    experiment::Metric,
    job::{Kind, State},
    limits,
    scenario::{Scenario, Shadow},
};
use serde_json::{Map, Value, json};

use super::*;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// Calls `each` with every value below `value`.
fn walk(value: &Value, each: &mut impl FnMut(&Value)) {
    each(value);
    match value {
        Value::Array(values) => values.iter().for_each(|value| walk(value, each)),
        Value::Object(object) => object.values().for_each(|value| walk(value, each)),
        _ => {}
    }
}

/// Every operation: path, method, object.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |path: &String, item: &Value| {
        let operations = item.as_object().unwrap().iter();
        operations.map(|(method, operation)| (path.clone(), method.clone(), operation.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(|(path, item)| of(path, item)).collect()
}

/// What a reference stands for.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref") {
        Some(pointer) => document.pointer(pointer.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

#[test]
fn every_reference_resolves() {
    let document = document();
    let mut count = 0;
    walk(&document, &mut |value| {
        if let Some(pointer) = value.get("$ref").and_then(Value::as_str) {
            let path = pointer.strip_prefix('#').unwrap();
            assert!(document.pointer(path).is_some(), "{pointer}");
            count += 1;
        }
    });
    assert!(count > 100);
}

#[test]
fn every_component_is_used() {
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, &mut |value| {
        used.extend(value.get("$ref").and_then(Value::as_str).map(str::to_owned));
    });
    for kind in ["headers", "parameters", "responses", "schemas"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name}");
        }
    }
}

#[test]
fn every_operation_is_described() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(["get", "post", "put", "patch", "delete"].contains(&method.as_str()), "{name}");
        assert!(ids.insert(operation["operationId"].to_string()), "{name}: operationId");
        assert!(operation["summary"].is_string(), "{name}: summary");
        assert!(tags.contains(&&operation["tags"][0]), "{name}: tags");
        // What is asked of a version stands in the path.
        let words = ["rollback", "disable", "enable", "start", "stop"];
        let is_asked = path.starts_with("/api/v1/models/") && path.ends_with("/activate")
            || words.iter().any(|word| path.ends_with(&format!("/{word}")));
        assert_eq!(
            operation.get("requestBody").is_some(),
            ["post", "put", "patch"].contains(&method.as_str()) && !is_asked,
            "{name}"
        );

        let none = Vec::new();
        let parameters: Vec<(String, String)> = operation["parameters"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .map(|parameter| {
                let parameter = resolve(&document, parameter);
                assert!(parameter["schema"].is_object(), "{name}: {parameter}");
                (parameter["in"].as_str().unwrap().to_owned(), parameter["name"].as_str().unwrap().to_owned())
            })
            .collect();
        let in_path = path.split('/').filter_map(|part| Some(part.strip_prefix('{')?.split_once('}')?.0));
        let declared = parameters.iter().filter(|(place, _)| place == "path").map(|(_, name)| name.as_str());
        assert_eq!(in_path.collect::<Vec<_>>(), declared.collect::<Vec<_>>(), "{name}");

        let public = operation["security"] == json!([]);
        for header in ["X-Tenant-Id", "X-Request-Id"] {
            let there = parameters.iter().any(|(place, name)| place == "header" && name == header);
            assert_eq!(there, !public, "{name}: {header}");
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        assert!(responses.contains_key("405"), "{name}");
        assert_eq!(responses.contains_key("401"), !public, "{name}");
        for (status, response) in responses {
            let response = resolve(&document, response);
            assert!(response["description"].is_string(), "{name} {status}");
            let is_error = status.starts_with('4') || status.starts_with('5');
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema == "#/components/schemas/Error", is_error, "{name} {status}");
        }
    }
}

#[test]
fn the_routes_are_those_of_the_components() {
    let document = document();
    let routes: Vec<String> =
        operations(&document).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    let expected = [
        "get /api/v1/behaviors",
        "post /api/v1/behaviors",
        "get /api/v1/components",
        "post /api/v1/components",
        "delete /api/v1/components/{name}",
        "get /api/v1/components/{name}",
        "delete /api/v1/components/{name}/canary",
        "put /api/v1/components/{name}/canary",
        "post /api/v1/components/{name}/disable",
        "post /api/v1/components/{name}/enable",
        "post /api/v1/components/{name}/rollback",
        "delete /api/v1/components/{name}/versions/{version}",
        "get /api/v1/components/{name}/versions/{version}",
        "post /api/v1/components/{name}/versions/{version}/activate",
        "post /api/v1/components/{name}/versions/{version}/certify",
        "get /api/v1/components/{name}/versions/{version}/logs",
        "get /api/v1/components/{name}/versions/{version}/usage",
        "get /api/v1/experiments/{scenario_id}",
        "post /api/v1/experiments/{scenario_id}",
        "delete /api/v1/experiments/{scenario_id}/{experiment_id}",
        "get /api/v1/experiments/{scenario_id}/{experiment_id}",
        "patch /api/v1/experiments/{scenario_id}/{experiment_id}",
        "put /api/v1/experiments/{scenario_id}/{experiment_id}",
        "get /api/v1/experiments/{scenario_id}/{experiment_id}/report",
        "post /api/v1/experiments/{scenario_id}/{experiment_id}/start",
        "post /api/v1/experiments/{scenario_id}/{experiment_id}/stop",
        "get /api/v1/items/{scenario_id}",
        "post /api/v1/items/{scenario_id}",
        "delete /api/v1/items/{scenario_id}/{item_id}",
        "get /api/v1/items/{scenario_id}/{item_id}",
        "get /api/v1/items/{scenario_id}/{item_id}/similar",
        "patch /api/v1/items/{scenario_id}/{item_id}",
        "put /api/v1/items/{scenario_id}/{item_id}",
        "get /api/v1/jobs",
        "post /api/v1/jobs",
        "delete /api/v1/jobs/{run_id}",
        "get /api/v1/jobs/{run_id}",
        "get /api/v1/latest/{scenario_id}",
        "get /api/v1/models",
        "post /api/v1/models",
        "get /api/v1/models/{name}",
        "post /api/v1/models/{name}/rollback",
        "delete /api/v1/models/{name}/versions/{version}",
        "get /api/v1/models/{name}/versions/{version}",
        "post /api/v1/models/{name}/versions/{version}/activate",
        "post /api/v1/models/{name}:predict",
        "get /api/v1/popular/{scenario_id}",
        "delete /api/v1/profiles/{scenario_id}/{user_id}",
        "get /api/v1/profiles/{scenario_id}/{user_id}",
        "put /api/v1/profiles/{scenario_id}/{user_id}",
        "get /api/v1/profiles/{scenario_id}/{user_id}/similar-users/items",
        "post /api/v1/recommend",
        "post /api/v1/recommend/session",
        "get /api/v1/recordings",
        "get /api/v1/recordings/{request_id}",
        "post /api/v1/recordings/{request_id}/replay",
        "get /api/v1/scenarios",
        "post /api/v1/scenarios",
        "delete /api/v1/scenarios/{scenario_id}",
        "get /api/v1/scenarios/{scenario_id}",
        "get /api/v1/scenarios/{scenario_id}/shadow",
        "patch /api/v1/scenarios/{scenario_id}",
        "put /api/v1/scenarios/{scenario_id}",
        "delete /api/v1/users/{user_id}",
        "get /docs",
        "get /experiments",
        "get /openapi.json",
    ];
    assert_eq!(routes.into_iter().collect::<BTreeSet<_>>(), expected.iter().map(|&route| route.to_owned()).collect());
}

#[test]
fn every_error_code_is_listed() {
    let document = document();
    let schema = &document["components"]["schemas"]["ErrorCode"];
    let table: Vec<Value> = Code::TABLE
        .iter()
        .map(|(code, status, meaning)| json!({"code": code, "status": status, "meaning": meaning}))
        .collect();
    assert_eq!(schema["x-error-codes"], Value::from(table.clone()));
    let codes: Vec<Value> = table.iter().map(|row| row["code"].clone()).collect();
    assert_eq!(schema["enum"], Value::from(codes));
    // And each stands in the text of some response.
    let responses = document["components"]["responses"].to_string();
    for row in &table {
        assert!(responses.contains(&format!("`{}`", row["code"].as_str().unwrap())), "{row}");
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (pointer, limit) in [
        ("/Id/maxLength", limits::ID_BYTES),
        ("/Scenario/properties/name/maxLength", limits::NAME_BYTES),
        ("/Config/properties/features/properties/item_features/maxItems", limits::FEATURES),
        ("/Config/properties/features/properties/context_features/maxItems", limits::FEATURES),
        ("/Config/properties/features/properties/derived_features/maxItems", limits::FEATURES),
        ("/Config/properties/recall/properties/strategies/maxItems", limits::RECALL_STRATEGIES),
        ("/Config/properties/rerank/properties/rules/maxItems", limits::RERANK_RULES),
        ("/JobConfig/properties/schedule/maxLength", limits::NAME_BYTES),
        ("/Strategy/properties/limit/maximum", limits::RECALL_LIMIT as usize),
        ("/Item/properties/metadata/properties/tags/maxItems", limits::ITEM_TAGS),
        ("/Item/properties/metadata/properties/category/maxLength", limits::TERM_BYTES),
        ("/Item/properties/embedding/maxItems", limits::EMBEDDING_VALUES),
        ("/ImportReport/properties/errors/maxItems", limits::IMPORT_ERRORS),
        ("/Profile/properties/recent_items/maxItems", limits::PROFILE_RECENT_ITEMS),
        ("/Profile/properties/preferences/additionalProperties/maxProperties", limits::PROFILE_PREFERENCES),
        ("/RecommendRequest/properties/count/maximum", limits::COUNT as usize),
        ("/RecommendRequest/properties/exclude_items/maxItems", limits::EXCLUDED_ITEMS),
        ("/Config/properties/cache/properties/ttl_seconds/maximum", limits::RESULT_S as usize),
        ("/Config/properties/cache/properties/stale_seconds/maximum", limits::RESULT_S as usize),
        ("/SessionRequest/properties/behaviors/maxItems", limits::EVENTS),
        ("/PredictRequest/properties/rows/maxItems", limits::PREDICT_ROWS),
        ("/Component/properties/name/maxLength", limits::COMPONENT_NAME_BYTES),
        ("/ComponentVersion/properties/version/maxLength", limits::COMPONENT_NAME_BYTES),
        ("/Experiment/properties/name/maxLength", limits::NAME_BYTES),
        ("/Experiment/properties/hypothesis/maxLength", limits::HYPOTHESIS_BYTES),
        ("/Experiment/properties/groups/maxItems", limits::EXPERIMENT_GROUPS),
        ("/Experiment/properties/targeting/maxItems", limits::EXPERIMENT_CONDITIONS),
        ("/Experiment/properties/guardrails/maxItems", limits::EXPERIMENT_GUARDRAILS),
        ("/Condition/properties/in/maxItems", limits::EXPERIMENT_VALUES),
        ("/Condition/properties/not_in/items/maxLength", limits::TERM_BYTES),
        ("/Scenario/properties/experiments/maxItems", limits::EXPERIMENTS_RUNNING),
    ] {
        assert_eq!(schemas.pointer(pointer), Some(&json!(limit)), "{pointer}");
    }
    let next = &document["components"]["schemas"]["RecommendResponse"]["properties"]["next_cursor"]["description"];
    assert!(next.as_str().unwrap().contains(&limits::FEED_ITEMS.to_string()));
    assert_eq!(document["components"]["parameters"]["Count"]["schema"]["maximum"], limits::COUNT);
    let upload = &document["paths"]["/api/v1/models"]["post"];
    let octets = &upload["requestBody"]["content"]["application/octet-stream"]["schema"];
    assert_eq!(octets["maxLength"], limits::MODEL_BYTES);
    assert!(upload["description"].as_str().unwrap().contains(&limits::MODEL_BYTES.to_string()));
    let upload = &document["paths"]["/api/v1/components"]["post"];
    for media in ["application/wasm", "application/octet-stream"] {
        assert_eq!(upload["requestBody"]["content"][media]["schema"]["maxLength"], limits::COMPONENT_BYTES_MOST);
    }
    for limit in [limits::COMPONENT_BYTES, limits::COMPONENT_BYTES_MOST] {
        assert!(upload["description"].as_str().unwrap().contains(&limit.to_string()));
    }
    let logs = &document["paths"]["/api/v1/components/{name}/versions/{version}/logs"]["get"];
    assert!(
        logs["responses"]["200"]["description"].as_str().unwrap().contains(&limits::COMPONENT_LOG_BYTES.to_string())
    );
    let params = &schemas["CertifyRequest"]["properties"]["params"]["description"];
    assert!(params.as_str().unwrap().contains(&limits::PARAMS_BYTES.to_string()));
    let many = &document["paths"]["/api/v1/behaviors"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(many["oneOf"][1]["maxItems"], limits::EVENTS);
    let jobs = &document["paths"]["/api/v1/jobs"]["get"];
    assert!(jobs["description"].as_str().unwrap().contains(&limits::JOB_RUNS.to_string()));
    assert_eq!(jobs["parameters"][4]["schema"]["maximum"], limits::PAGE_DOCUMENTS);
    let params = &schemas["JobRequest"]["properties"]["params"]["description"];
    assert!(params.as_str().unwrap().contains(&limits::PARAMS_BYTES.to_string()));
    let overlay = &schemas["ExperimentGroup"]["properties"]["config"]["description"];
    assert!(overlay.as_str().unwrap().contains(&limits::EXPERIMENT_OVERLAY_BYTES.to_string()));
    let page = &document["paths"]["/api/v1/scenarios"]["get"]["parameters"][1]["schema"];
    assert_eq!(page["maximum"], limits::PAGE_DOCUMENTS);
    assert_eq!(page["default"], limits::DEFAULT_PAGE_DOCUMENTS);
}

#[test]
fn the_example_of_a_scenario_is_one() {
    let document = document();
    let post = &document["paths"]["/api/v1/scenarios"]["post"];
    let example = post["requestBody"]["content"]["application/json"]["example"].to_string();
    let scenario = Scenario::parse(example.as_bytes()).unwrap();
    // Every part of a config has its place in the schema.
    let mut config = scenario.config;
    config.shadow = Some(Shadow { share: 0.1, config: Map::new() });
    let full = serde_json::to_value(&config).unwrap();
    let described = document["components"]["schemas"]["Config"]["properties"].as_object().unwrap();
    assert_eq!(full.as_object().unwrap().keys().collect::<Vec<_>>(), described.keys().collect::<Vec<_>>());
}

/// Whether an example is what a schema describes: of its types and choices, without fields
/// that it does not name, with those that it requires.
fn fits(document: &Value, schema: &Value, example: &Value) -> Result<(), String> {
    let schema = resolve(document, schema);
    if let Some(either) = schema.get("oneOf").and_then(Value::as_array) {
        let fits = either.iter().any(|schema| fits(document, schema, example).is_ok());
        return if fits { Ok(()) } else { Err(format!("{example} is none of {}", schema["oneOf"])) };
    }
    let kind = match example {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_of = |named: &Value| named == kind || (kind == "integer" && named == "number");
    let is_known = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(is_of),
        named => is_of(named),
    };
    let is_choice = schema.get("enum").is_none_or(|choices| choices.as_array().unwrap().contains(example));
    if !is_known || !is_choice {
        return Err(format!("{example} is no {schema}"));
    }
    for value in example.as_array().into_iter().flatten() {
        fits(document, &schema["items"], value)?;
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (name, value) in example.as_object().into_iter().flatten() {
        fits(document, properties.get(name).ok_or_else(|| format!("{name} is not described"))?, value)?;
    }
    match schema["required"].as_array().into_iter().flatten().find(|name| example.get(name.as_str().unwrap()).is_none())
    {
        Some(missing) => Err(format!("{missing} is missing")),
        None => Ok(()),
    }
}

#[test]
fn examples_are_as_they_are_described() {
    let document = document();
    let mut count = 0;
    for (path, method, operation) in operations(&document) {
        if !["/api/v1/components", "/api/v1/experiments"].iter().any(|begin| path.starts_with(begin)) {
            continue;
        }
        let bodies = operation.get("requestBody").into_iter();
        for body in bodies.chain(operation["responses"].as_object().unwrap().values()) {
            for media in resolve(&document, body)["content"].as_object().into_iter().flatten().map(|(_, media)| media) {
                if let Some(example) = media.get("example") {
                    assert_eq!(fits(&document, &media["schema"], example), Ok(()), "{method} {path}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn metrics_are_those_of_the_code() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let mut metrics = Metric::NAMES.map(|(name, _)| json!(name)).to_vec();
    let report = &schemas["ExperimentReport"]["properties"];
    assert_eq!(report["comparisons"]["items"]["properties"]["metric"]["enum"], json!(metrics));
    assert_eq!(report["history"]["properties"]["series"]["items"]["properties"]["metric"]["enum"], json!(metrics));
    let described = report["groups"]["items"]["properties"]["metrics"]["properties"].as_object().unwrap();
    assert_eq!(described.len(), metrics.len());
    let votes = &schemas["InterleavingReport"]["properties"];
    let credits = &votes["preferences"]["items"]["properties"]["metric"]["enum"];
    assert_eq!(&votes["history"]["properties"]["series"]["items"]["properties"]["metric"]["enum"], credits);
    metrics.push(json!("sample_ratio"));
    for guarded in [&schemas["ExperimentGuardrail"], &schemas["StoppedBy"]] {
        assert_eq!(guarded["properties"]["metric"]["enum"], json!(metrics));
    }
}

#[test]
fn kinds_and_states_of_jobs_are_those_of_the_code() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let names = |name: &str| schemas[name]["enum"].as_array().unwrap().clone();
    assert_eq!(names("JobKind"), Kind::NAMES.map(|(name, _)| json!(name)));
    assert_eq!(names("JobState"), State::NAMES.map(|(name, _)| json!(name)));
    let config = schemas["Config"]["properties"]["jobs"]["properties"].as_object().unwrap();
    let known: BTreeSet<&str> = Kind::NAMES.iter().map(|(name, _)| *name).collect();
    assert_eq!(config.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_page_is_whole_and_alone() {
    for page in [PAGE, EXPERIMENTS] {
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</script>"));
        // A part of the page itself is not outside.
        let page = page.replace("url(#", "");
        for outside in ["http://", "https://", "src=", "@import", "url(", "innerHTML"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}

#[test]
fn routes_answer() {
    let answer = |method: &str, uri: &str| {
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        let head = Head::new(request.into_parts().0);
        route(&head).unwrap_or_else(Reply::error).into_response("r1")
    };
    assert_eq!(answer("GET", "/openapi.json").headers()["content-type"], "application/json");
    for path in ["/docs", "/experiments"] {
        let page = answer("GET", path);
        assert_eq!(
            (page.status().as_u16(), &page.headers()["content-type"]),
            (200, &"text/html; charset=utf-8".parse().unwrap())
        );
        assert!(page.headers().contains_key("content-security-policy"));
    }
    assert_eq!(answer("GET", "/docs?x=1").status(), 400);
    assert_eq!(answer("POST", "/docs").headers()["allow"], "GET");
    assert_eq!(answer("GET", "/docs/x").status(), 404);
}

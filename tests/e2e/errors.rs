//! Bad input: every field of every endpoint, wrong in type, size, range or
//! absence, leads to one shape of error that names it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    fixtures::{FEED, feed, import, item, scenario},
    harness::{Call, Client, Reply, shared},
};

/// Checks the whole response of a refused request.
fn refused(call: Call<'_>, status: u16, code: &str, field: Option<&str>) -> Reply {
    let shown = format!("{call:?}");
    let reply = call.header("x-request-id", "req-7").send();
    assert_eq!(reply.status, status, "{shown}: {}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json", "{shown}");
    assert_eq!(reply.header("x-request-id"), "req-7", "{shown}");
    let body = reply.json();
    let error = &body["error"];
    assert_eq!((error["code"].as_str(), error["field"].as_str()), (Some(code), field), "{shown}: {body}");
    assert_eq!(error["request_id"], "req-7", "{shown}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{shown}");
    let known = BTreeSet::from(["code", "field", "message", "request_id"]);
    assert!(error.as_object().unwrap().keys().all(|key| known.contains(key.as_str())), "{shown}: {body}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{shown}");
    reply
}

/// A body that is right, with one field changed; `path` is a JSON pointer.
fn with(mut body: Value, path: &str, value: Value) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        Value::Object(fields) => {
            fields.insert(name.to_owned(), value);
        }
        other => panic!("{path} in {other}"),
    }
    body
}

fn without(mut body: Value, path: &str) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    body
}

fn tenant(name: &str) -> Client {
    let client = shared().tenant(name);
    feed(&client);
    client
}

/// Strings that are no id, whatever is to be named.
fn no_ids() -> Vec<Value> {
    let long = "x".repeat(129);
    [
        json!(""),
        json!("a/b"),
        json!("a\u{0}"),
        json!(".."),
        json!("."),
        json!("../x"),
        json!("é"),
        json!("a b"),
        json!(long),
    ]
    .into_iter()
    .chain([json!(7), json!(null), json!([]), json!({}), json!(true)])
    .collect()
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn every_field_of_an_item() {
    let client = tenant("err-items");
    let right =
        json!({"item_id": "i1", "metadata": {"category": "c", "tags": ["t"]}, "embedding": [1.0], "status": "active"});
    client.post("/api/v1/items/feed", &right).expect(201);
    let mut faults: Vec<(&str, Value, &str)> = vec![
        ("/scenario_id", json!("other"), "scenario_id"),
        ("/scenario_id", json!(1), "scenario_id"),
        ("/title", json!("x"), "title"),
        ("/metadata", json!([]), "metadata"),
        ("/metadata", json!("x"), "metadata"),
        ("/metadata/category", json!(7), "metadata.category"),
        ("/metadata/category", json!(""), "metadata.category"),
        ("/metadata/category", json!("x".repeat(257)), "metadata.category"),
        ("/metadata/tags", json!("t"), "metadata.tags"),
        ("/metadata/tags", json!(["t", 1]), "metadata.tags[1]"),
        ("/metadata/tags", json!(["t", ""]), "metadata.tags[1]"),
        ("/metadata/tags", json!(vec!["t"; 65]), "metadata.tags"),
        ("/embedding", json!([]), "embedding"),
        ("/embedding", json!("x"), "embedding"),
        ("/embedding", json!([1, "x"]), "embedding[1]"),
        ("/embedding", json!([1e39]), "embedding[0]"),
        ("/embedding", json!(vec![0; 1025]), "embedding"),
        ("/status", json!("gone"), "status"),
        ("/status", json!(1), "status"),
        ("/created_at", json!("soon"), "created_at"),
        ("/created_at", json!(-1), "created_at"),
        ("/created_at", json!([]), "created_at"),
    ];
    let put: Vec<_> = faults.clone();
    faults.extend(no_ids().into_iter().map(|id| ("/item_id", id, "item_id")));
    for (path, value, field) in faults {
        let body = with(right.clone(), path, value);
        refused(client.post("/api/v1/items/feed", &body), 400, "invalid_field", Some(field));
    }
    refused(
        client.post("/api/v1/items/feed", &without(right.clone(), "/item_id")),
        400,
        "invalid_field",
        Some("item_id"),
    );
    for (path, value, field) in put {
        let body = with(right.clone(), path, value);
        refused(client.put("/api/v1/items/feed/i1", &body), 400, "invalid_field", Some(field));
    }
    refused(client.put("/api/v1/items/feed/i2", &right), 400, "invalid_field", Some("item_id"));
    for (body, field) in [
        (json!({"item_id": "i2"}), "item_id"),
        (json!({"scenario_id": "other"}), "scenario_id"),
        (json!({"metadata": null}), "metadata"),
        (json!({"metadata": {"tags": [1]}}), "metadata.tags[0]"),
        (json!({"metadata": {"category": []}}), "metadata.category"),
        (json!({"embedding": []}), "embedding"),
        (json!({"status": null}), "status"),
        (json!({"created_at": "2026-01-01"}), "created_at"),
        (json!({"x": 1}), "x"),
    ] {
        refused(client.patch("/api/v1/items/feed/i1", &body), 400, "invalid_field", Some(field));
    }
    // Nothing of all this was stored.
    assert_eq!(client.get("/api/v1/items/feed").expect(200).json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(client.get("/api/v1/items/feed/i1").expect(200).header("etag"), "\"1\"");
}

#[test]
fn every_field_of_a_behaviour() {
    let client = tenant("err-behaviours");
    let right = json!({"event_id": "e1", "scenario_id": FEED, "user_id": "ann", "item_id": "i1", "action_type": "click",
                       "timestamp": "2026-01-31T12:00:00Z", "context": {}, "extra": {}});
    let mut faults: Vec<(&str, Value, &str)> = vec![
        ("/action_type", json!(""), "action_type"),
        ("/action_type", json!("Click"), "action_type"),
        ("/action_type", json!("a-b"), "action_type"),
        ("/action_type", json!("x".repeat(65)), "action_type"),
        ("/action_type", json!(3), "action_type"),
        ("/timestamp", json!("yesterday"), "timestamp"),
        ("/timestamp", json!(-5), "timestamp"),
        ("/timestamp", json!("1969-12-31T00:00:00Z"), "timestamp"),
        ("/timestamp", json!("2999-01-01T00:00:00Z"), "timestamp"),
        ("/timestamp", json!({}), "timestamp"),
        ("/context", json!([]), "context"),
        ("/context", json!("x"), "context"),
        ("/context", json!({"x": "y".repeat(9000)}), "context"),
        ("/extra", json!(1), "extra"),
        ("/extra", json!({"x": "y".repeat(9000)}), "extra"),
        ("/extra", json!({"completion_rate": -0.1}), "extra.completion_rate"),
        ("/extra", json!({"completion_rate": "all"}), "extra.completion_rate"),
        ("/extra", json!({"watch_duration": 1e10}), "extra.watch_duration"),
        ("/extra", json!({"watch_duration": []}), "extra.watch_duration"),
        ("/action", json!("click"), "action"),
    ];
    for name in ["scenario_id", "item_id", "user_id", "event_id"] {
        let path: &'static str = match name {
            "scenario_id" => "/scenario_id",
            "item_id" => "/item_id",
            "user_id" => "/user_id",
            _ => "/event_id",
        };
        // An absent one and null are the same; only these two must be there.
        let needed = matches!(name, "scenario_id" | "item_id");
        faults.extend(no_ids().into_iter().filter(|id| needed || !id.is_null()).map(|id| (path, id, name)));
    }
    for (path, value, field) in faults {
        let body = with(right.clone(), path, value);
        refused(client.post("/api/v1/behaviors", &body), 400, "invalid_field", Some(field));
        let list = json!([with(right.clone(), "/event_id", json!("e0")), body]);
        refused(client.post("/api/v1/behaviors", &list), 400, "invalid_field", Some(&format!("[1].{field}")));
    }
    for name in ["scenario_id", "item_id", "action_type"] {
        let body = without(right.clone(), &format!("/{name}"));
        refused(client.post("/api/v1/behaviors", &body), 400, "invalid_field", Some(name));
    }
    let nobody = without(right.clone(), "/user_id");
    refused(client.post("/api/v1/behaviors", &nobody).without("x-user-id"), 400, "invalid_field", Some("user_id"));
    let elsewhere = with(right.clone(), "/scenario_id", json!("none"));
    refused(client.post("/api/v1/behaviors", &elsewhere), 404, "scenario_not_found", Some("scenario_id"));
    let list = json!([right, elsewhere]);
    refused(client.post("/api/v1/behaviors", &list), 404, "scenario_not_found", Some("[1].scenario_id"));
    refused(client.post("/api/v1/behaviors", &json!([])), 400, "invalid_field", None);
    refused(client.post("/api/v1/behaviors", &json!(vec![right.clone(); 1001])), 400, "invalid_field", None);
    refused(client.post("/api/v1/behaviors", &json!([right, 7])), 400, "invalid_field", Some("[1]"));
    refused(client.post("/api/v1/behaviors", &json!(7)), 400, "invalid_field", None);
    // A list with a fault is not taken in part.
    assert_eq!(client.get("/api/v1/behaviors?user_id=ann").expect(200).json()["events"], json!([]));
}

#[test]
fn every_field_of_a_profile() {
    let client = tenant("err-profiles");
    let recent = json!([{"item_id": "i1", "action_type": "click", "at": "2026-01-01"}]);
    let right = json!({"features": {}, "preferences": {"category_scores": {"a": 1.0}}, "recent_items": recent});
    let scores: Map<String, Value> = (0..129).map(|at| (format!("v{at}"), json!(1))).collect();
    let many: Vec<Value> =
        (0..101).map(|at| json!({"item_id": format!("i{at}"), "action_type": "click", "at": 1})).collect();
    let mut faults: Vec<(&str, Value, &str)> = vec![
        ("/user_id", json!("bob"), "user_id"),
        ("/user_id", json!(1), "user_id"),
        ("/scenario_id", json!("other"), "scenario_id"),
        ("/features", json!([]), "features"),
        ("/features", json!({"": 1}), "features"),
        ("/preferences", json!(1), "preferences"),
        ("/preferences", json!({"category": {}}), "preferences.category"),
        ("/preferences", json!({"_scores": {}}), "preferences._scores"),
        ("/preferences", json!({"category_scores": []}), "preferences.category_scores"),
        ("/preferences", json!({"category_scores": {"a": "x"}}), "preferences.category_scores.a"),
        ("/preferences", json!({"category_scores": {"a": 1e7}}), "preferences.category_scores.a"),
        ("/preferences", json!({"category_scores": {"": 1}}), "preferences.category_scores"),
        ("/preferences", json!({"category_scores": scores}), "preferences.category_scores"),
        ("/recent_items", json!({}), "recent_items"),
        ("/recent_items", json!(many), "recent_items"),
        ("/recent_items", json!([recent[0], recent[0]]), "recent_items[1].item_id"),
        ("/recent_items/0", json!({"item_id": "i1", "action_type": "click"}), "recent_items[0].at"),
        ("/recent_items/0/at", json!("later"), "recent_items[0].at"),
        ("/recent_items/0/at", json!("2999-01-01"), "recent_items[0].at"),
        ("/recent_items/0/action_type", json!(""), "recent_items[0].action_type"),
        ("/recent_items/0/more", json!(1), "recent_items[0].more"),
        ("/embedding", json!([]), "embedding"),
        ("/embedding", json!([1, "x"]), "embedding[1]"),
        ("/embedding", json!([1e39]), "embedding[0]"),
        ("/preferences_at_ms", json!(-1), "preferences_at_ms"),
        ("/preferences_at_ms", json!(1.5), "preferences_at_ms"),
        ("/preferences_at_ms", json!(9_000_000_000_000_000_u64), "preferences_at_ms"),
        ("/age", json!(3), "age"),
    ];
    faults.extend(no_ids().into_iter().map(|id| ("/recent_items/0/item_id", id, "recent_items[0].item_id")));
    for (path, value, field) in faults {
        let body = with(right.clone(), path, value);
        refused(client.put("/api/v1/profiles/feed/ann", &body), 400, "invalid_field", Some(field));
    }
    client.get("/api/v1/profiles/feed/ann").expect(404);
}

#[test]
fn every_field_of_a_recommend_request() {
    let client = tenant("err-recommend");
    let right = json!({"scenario_id": FEED, "count": 5, "context": {}, "exclude_items": [], "return_metadata": false});
    client.post("/api/v1/recommend", &right).expect(200);
    let fields: Map<String, Value> = (0..65).map(|at| (format!("f{at}"), json!(1))).collect();
    let mut faults: Vec<(&str, Value, &str)> = vec![
        ("/count", json!(0), "count"),
        ("/count", json!(201), "count"),
        ("/count", json!(-1), "count"),
        ("/count", json!(1.5), "count"),
        ("/count", json!("5"), "count"),
        ("/count", json!(null), "count"),
        ("/count", json!(5_000_000_000_u64), "count"),
        ("/context", json!([]), "context"),
        ("/context", json!("x"), "context"),
        ("/context", json!({"a": {"b": [[1]]}}), "context.a.b"),
        ("/context", json!({"a": [{}]}), "context.a"),
        ("/context", json!({"a": "x".repeat(9000)}), "context"),
        ("/context", json!(fields), "context"),
        ("/exclude_items", json!("i1"), "exclude_items"),
        ("/exclude_items", json!(vec!["i"; 1001]), "exclude_items"),
        ("/return_metadata", json!("yes"), "return_metadata"),
        ("/return_metadata", json!(1), "return_metadata"),
        ("/cuont", json!(5), "cuont"),
    ];
    faults.extend(no_ids().into_iter().map(|id| ("/scenario_id", id, "scenario_id")));
    for (path, value, field) in faults {
        let body = with(right.clone(), path, value);
        refused(client.post("/api/v1/recommend", &body), 400, "invalid_field", Some(field));
    }
    for id in no_ids() {
        let body = with(right.clone(), "/exclude_items", json!(["i1", id]));
        refused(client.post("/api/v1/recommend", &body), 400, "invalid_field", Some("exclude_items[1]"));
    }
    refused(client.post("/api/v1/recommend", &json!({})), 400, "invalid_field", Some("scenario_id"));
    refused(client.post("/api/v1/recommend", &json!([])), 400, "invalid_field", None);
    refused(
        client.post("/api/v1/recommend", &json!({"scenario_id": "none"})),
        404,
        "scenario_not_found",
        Some("scenario_id"),
    );
    refused(client.post("/api/v1/recommend?explain=yes", &right), 400, "invalid_parameter", Some("explain"));
    refused(client.post("/api/v1/recommend?debug=true", &right), 400, "invalid_parameter", Some("debug"));
    client.patch("/api/v1/scenarios/feed", &json!({"status": "inactive"})).expect(200);
    refused(client.post("/api/v1/recommend", &right), 409, "scenario_inactive", Some("scenario_id"));
    client.patch("/api/v1/scenarios/feed", &json!({"status": "active"})).expect(200);
    client.post("/api/v1/recommend", &right).expect(200);
}

#[test]
fn every_field_of_a_scenario() {
    let client = shared().tenant("err-scenarios");
    let mut right = scenario("s1");
    right["name"] = json!("S");
    right["config"]["rank"] = json!({"model": "linear"});
    right["config"]["rerank"] = json!({"rules": [{"name": "diversity", "weight": 0.3}]});
    right["config"]["features"]["user_features"] = json!([{"name": "age", "type": "categorical"}]);
    right["config"]["behaviors"] = json!({"weights": {"click": 1}});
    client.put("/api/v1/scenarios/right", &without(right.clone(), "/scenario_id")).expect(201);

    let long = || json!("x".repeat(300));
    let mut faults: Vec<(&str, Value, &str)> = vec![
        ("/scenario_type", json!(""), "scenario_type"),
        ("/scenario_type", json!(1), "scenario_type"),
        ("/scenario_type", long(), "scenario_type"),
        ("/scenario_type", json!("a\u{0}b"), "scenario_type"),
        ("/name", json!(1), "name"),
        ("/name", long(), "name"),
        ("/status", json!("asleep"), "status"),
        ("/status", json!(0), "status"),
        ("/owner", json!("me"), "owner"),
    ];
    faults.extend(no_ids().into_iter().map(|id| ("/scenario_id", id, "scenario_id")));
    for (path, value, field) in faults {
        let body = with(right.clone(), path, value);
        refused(client.post("/api/v1/scenarios", &body), 400, "invalid_field", Some(field));
    }
    for name in ["scenario_id", "scenario_type"] {
        refused(
            client.post("/api/v1/scenarios", &without(right.clone(), &format!("/{name}"))),
            400,
            "invalid_field",
            Some(name),
        );
    }
    for body in [json!([]), json!(null), json!("x"), json!(1)] {
        refused(client.post("/api/v1/scenarios", &body), 400, "invalid_field", None);
    }
    refused(client.put("/api/v1/scenarios/s2", &right), 400, "invalid_field", Some("scenario_id"));
    refused(
        client.patch("/api/v1/scenarios/right", &json!({"scenario_id": "x"})),
        400,
        "invalid_field",
        Some("scenario_id"),
    );
    refused(
        client.patch("/api/v1/scenarios/right", &json!({"created_at": "x"})),
        400,
        "invalid_field",
        Some("created_at"),
    );
    refused(client.patch("/api/v1/scenarios/right", &json!({"config": null})), 400, "invalid_field", Some("config"));

    let strategies = "/config/recall/strategies";
    let feature = json!({"name": "f", "type": "numeric"});
    let config_faults: Vec<(&str, Value, &str)> = vec![
        ("/config/recal", json!({}), "config.recal"),
        ("/config/recall", json!({}), "config.recall.strategies"),
        ("/config/recall", json!(null), "config.recall"),
        (strategies, json!([]), "config.recall.strategies"),
        (strategies, json!({}), "config.recall.strategies"),
        (strategies, json!(vec![json!({"name": "latest"}); 17]), "config.recall.strategies"),
        ("/config/recall/strategies/1", json!({}), "config.recall.strategies[1].name"),
        ("/config/recall/strategies/1/name", json!(7), "config.recall.strategies[1].name"),
        ("/config/recall/strategies/1/name", json!(""), "config.recall.strategies[1].name"),
        ("/config/recall/strategies/1/name", long(), "config.recall.strategies[1].name"),
        ("/config/recall/strategies/1/weight", json!(-1), "config.recall.strategies[1].weight"),
        ("/config/recall/strategies/1/weight", json!(1001), "config.recall.strategies[1].weight"),
        ("/config/recall/strategies/1/weight", json!("much"), "config.recall.strategies[1].weight"),
        ("/config/recall/strategies/1/limit", json!(0), "config.recall.strategies[1].limit"),
        ("/config/recall/strategies/1/limit", json!(1001), "config.recall.strategies[1].limit"),
        ("/config/recall/strategies/1/limit", json!(-3), "config.recall.strategies[1].limit"),
        ("/config/recall/strategies/1/limits", json!(3), "config.recall.strategies[1].limits"),
        ("/config/recall/strategies/1/params", json!([]), "config.recall.strategies[1].params"),
        ("/config/recall/strategies/1/params", json!({"x": "y".repeat(70_000)}), "config.recall.strategies[1].params"),
        ("/config/features/item_features", json!([feature, feature]), "config.features.item_features[1].name"),
        ("/config/features/item_features", json!([{"name": "f"}]), "config.features.item_features[0].type"),
        ("/config/features/item_features/0/type", json!("text"), "config.features.item_features[0].type"),
        ("/config/features/item_features/0/weight", json!(2000), "config.features.item_features[0].weight"),
        ("/config/features/item_features/0/name", json!(""), "config.features.item_features[0].name"),
        ("/config/features/user_features/0/type", json!(3), "config.features.user_features[0].type"),
        ("/config/features/derived_features", json!(["x:overlap"]), "config.features.derived_features[0]"),
        ("/config/features/derived_features", json!("recall:score"), "config.features.derived_features"),
        ("/config/rank/model", json!(""), "config.rank.model"),
        ("/config/rank/model", json!(7), "config.rank.model"),
        ("/config/rank", json!({}), "config.rank.model"),
        ("/config/rank/version", long(), "config.rank.version"),
        ("/config/rank/objective", json!(1), "config.rank.objective"),
        ("/config/rank/params", json!(3), "config.rank.params"),
        ("/config/rerank/rules/0", json!({"weight": 1}), "config.rerank.rules[0].name"),
        ("/config/rerank/rules/0/weight", json!(1.5), "config.rerank.rules[0].weight"),
        ("/config/rerank/rules/0/weight", json!(-0.5), "config.rerank.rules[0].weight"),
        ("/config/rerank/rules", json!(vec![json!({"name": "diversity"}); 17]), "config.rerank.rules"),
        ("/config/exposure", json!({"ttl_hours": 0}), "config.exposure.ttl_hours"),
        ("/config/exposure", json!({"ttl_hours": 1e6}), "config.exposure.ttl_hours"),
        ("/config/exposure", json!({"enabled": "no"}), "config.exposure.enabled"),
        ("/config/exposure", json!({"ttl": 1}), "config.exposure.ttl"),
        ("/config/behaviors/weights/click", json!(2000), "config.behaviors.weights.click"),
        ("/config/behaviors/weights/click", json!("x"), "config.behaviors.weights.click"),
        ("/config/behaviors/hot_half_life_hours", json!(0), "config.behaviors.hot_half_life_hours"),
        ("/config/behaviors/profile_half_life_days", json!(4000), "config.behaviors.profile_half_life_days"),
    ];
    for (path, value, field) in config_faults {
        let body = with(right.clone(), path, value);
        refused(client.post("/api/v1/scenarios", &body), 422, "invalid_config", Some(field));
    }
    refused(client.get("/api/v1/scenarios/s1"), 404, "scenario_not_found", Some("scenario_id"));
    assert_eq!(client.get("/api/v1/scenarios/right").expect(200).header("etag"), "\"1\"");
}

#[test]
fn a_config_that_names_what_does_not_exist_is_told_what_does() {
    let client = shared().tenant("err-names");
    let config = |path: &str, value: Value| {
        let mut body = scenario("s1");
        body["config"]["rank"] = json!({"model": "linear"});
        body["config"]["rerank"] = json!({"rules": [{"name": "diversity"}]});
        with(body, path, value)
    };
    let message = |path: &str, value: Value, field: &str| {
        let call = client.post("/api/v1/scenarios", &config(path, value));
        refused(call, 422, "invalid_config", Some(field)).json()["error"]["message"].as_str().unwrap().to_owned()
    };
    let said = message("/config/recall/strategies/1/name", json!("hot_itmes"), "config.recall.strategies[1].name");
    let popular = ["hot_itmes", "hot_items", "hot_news", "latest", "content_based"];
    for known in popular.into_iter().chain(["item_cf", "user_cf", "vector_search", "explore", "precomputed"]) {
        assert!(said.contains(known), "{said}");
    }
    let said = message("/config/rank/model", json!("linaer"), "config.rank.model");
    for known in ["linear", "deepfm", "lightgbm"] {
        assert!(said.contains(known), "{said}");
    }
    let said = message("/config/rerank/rules/0/name", json!("latest"), "config.rerank.rules[0].name");
    for known in ["diversity", "freshness", "location_match", "business_rules"] {
        assert!(said.contains(known), "{said}");
    }
    for (path, value, field) in [
        ("/config/recall/strategies/0/params", json!({"min_score": 2}), "config.recall.strategies[0].params.min_score"),
        ("/config/recall/strategies/2/params", json!({"x": 1}), "config.recall.strategies[2].params"),
        (
            "/config/recall/strategies/0",
            json!({"name": "item_cf", "params": {"neighbours": 1001}}),
            "config.recall.strategies[0].params.neighbours",
        ),
        (
            "/config/recall/strategies/0",
            json!({"name": "vector_search", "params": {"vectors": "all"}}),
            "config.recall.strategies[0].params.vectors",
        ),
        (
            "/config/recall/strategies/0",
            json!({"name": "precomputed", "params": {"max_age_hours": 0}}),
            "config.recall.strategies[0].params.max_age_hours",
        ),
        (
            "/config/jobs",
            json!({"precompute": {"params": {"funnel": {"recall": {"strategies": [{"name": "hot_itmes"}]}}}}}),
            "config.jobs.precompute.params.funnel.recall.strategies[0].name",
        ),
        ("/config/recall/merge", json!({"method": "score", "k": 60}), "config.recall.merge.k"),
        ("/config/exploration", json!({"share": 0.1}), "config.exploration.share"),
        ("/config/rank/params", json!({"half_life_hours": 0}), "config.rank.params.half_life_hours"),
        ("/config/rank/params", json!({"weights": {"a": "x"}}), "config.rank.params.weights.a"),
        (
            "/config/rerank/rules/0",
            json!({"name": "freshness", "params": {"decay_days": 1, "decay_hours": 1}}),
            "config.rerank.rules[0].params.decay_hours",
        ),
        (
            "/config/rerank/rules/0",
            json!({"name": "business_rules", "params": {"pin": [{"item_id": "a/b", "position": 1}]}}),
            "config.rerank.rules[0].params.pin[0].item_id",
        ),
        (
            "/config/rerank/rules/0",
            json!({"name": "business_rules", "params": {"pin": [{"item_id": "a", "position": 0}]}}),
            "config.rerank.rules[0].params.pin[0].position",
        ),
        (
            "/config/rerank/rules/0",
            json!({"name": "business_rules", "params": {"quota": [{"field": "f", "max": 9, "window": 3}]}}),
            "config.rerank.rules[0].params.quota[0].max",
        ),
    ] {
        let call = client.post("/api/v1/scenarios", &config(path, value));
        let reply = call.header("x-request-id", "r").send();
        let body = reply.json();
        assert_eq!((reply.status, &body["error"]["code"]), (422, &json!("invalid_config")), "{body}");
        // An unknown param is named in the message or the path.
        assert!(body["error"]["field"].as_str().unwrap().starts_with(field), "{field}: {body}");
    }
    // Stages that need training, and known names whose stage is not built, are no fault.
    for (path, value) in [
        ("/config/recall/strategies/0/name", json!("user_cf")),
        ("/config/recall/strategies/1/name", json!("vector_search")),
        ("/config/rank/model", json!("deepfm")),
        ("/config/rank/model", json!("lightgbm")),
    ] {
        client.put("/api/v1/scenarios/s1", &config(path, value)).send().assert_status(&[200, 201]);
    }
}

#[test]
fn ids_in_paths() {
    let client = tenant("err-paths");
    import(&client, &[item("i1", "a", "t")]);
    let long = "x".repeat(129);
    for bad in ["a%2Fb", "%2e%2e", "a%00", "%C3%A9", "a%20b", "%zz", "a%", long.as_str(), "%ff", "a%0d%0ab"] {
        for (path, field) in [
            (format!("/api/v1/items/{bad}"), "scenario_id"),
            (format!("/api/v1/items/{bad}/i1"), "scenario_id"),
            (format!("/api/v1/items/feed/{bad}"), "item_id"),
            (format!("/api/v1/scenarios/{bad}"), "scenario_id"),
            (format!("/api/v1/profiles/{bad}/ann"), "scenario_id"),
            (format!("/api/v1/profiles/feed/{bad}"), "user_id"),
        ] {
            refused(client.get(&path), 400, "invalid_field", Some(field));
        }
        refused(client.delete(&format!("/api/v1/users/{bad}")), 400, "invalid_field", Some("user_id"));
        refused(client.put(&format!("/api/v1/items/feed/{bad}"), &json!({})), 400, "invalid_field", Some("item_id"));
    }
    for (method, path, code, field) in [
        ("GET", "/api/v1/scenarios/none", "scenario_not_found", "scenario_id"),
        ("DELETE", "/api/v1/scenarios/none", "scenario_not_found", "scenario_id"),
        ("GET", "/api/v1/items/none", "scenario_not_found", "scenario_id"),
        ("GET", "/api/v1/items/none/i1", "scenario_not_found", "scenario_id"),
        ("DELETE", "/api/v1/items/none/i1", "scenario_not_found", "scenario_id"),
        ("GET", "/api/v1/items/feed/none", "item_not_found", "item_id"),
        ("DELETE", "/api/v1/items/feed/none", "item_not_found", "item_id"),
        ("GET", "/api/v1/profiles/none/ann", "scenario_not_found", "scenario_id"),
        ("GET", "/api/v1/profiles/feed/none", "profile_not_found", "user_id"),
        ("DELETE", "/api/v1/profiles/feed/none", "profile_not_found", "user_id"),
    ] {
        refused(client.call(method, path), 404, code, Some(field));
    }
    for (method, path, code) in [
        ("PATCH", "/api/v1/scenarios/none", "scenario_not_found"),
        ("POST", "/api/v1/items/none", "scenario_not_found"),
        ("PUT", "/api/v1/items/none/i1", "scenario_not_found"),
        ("PATCH", "/api/v1/items/none/i1", "scenario_not_found"),
        ("PATCH", "/api/v1/items/feed/none", "item_not_found"),
        ("PUT", "/api/v1/profiles/none/ann", "scenario_not_found"),
    ] {
        let call = client.call(method, path).json(&if method == "POST" { item("i1", "a", "t") } else { json!({}) });
        let reply = call.expect(404);
        assert_eq!(reply.json()["error"]["code"], code, "{method} {path}");
    }
    // An unknown tenant has nothing, and that is no error.
    let nobody = shared().tenant("err-nobody");
    assert_eq!(nobody.get("/api/v1/scenarios").expect(200).json()["scenarios"], json!([]));
    refused(nobody.get("/api/v1/items/feed"), 404, "scenario_not_found", Some("scenario_id"));
}

#[test]
fn unknown_routes_and_methods() {
    let client = shared().tenant("err-routes");
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v2/items/feed",
        "/api/v1/item",
        "/api/v1/recommend/x",
        "/api/v1/items/a/b/c",
        "/api/v1/items",
        "/api/v1/scenarios/a/b",
        "/api/v1/profiles/a",
        "/api/v1/users",
        "/api/v1/behaviors/x",
        "/docs/x",
        "/internal/experiments/feed/exp/stop",
        "/openapi.json/",
        "/../etc/passwd",
    ] {
        refused(client.get(path), 404, "route_not_found", None);
    }
    for (path, bad, allow) in [
        ("/api/v1/scenarios", "DELETE", "GET, POST"),
        ("/api/v1/scenarios/s", "POST", "GET, PUT, PATCH, DELETE"),
        ("/api/v1/items/s", "PUT", "GET, POST"),
        ("/api/v1/items/s/i", "POST", "GET, PUT, PATCH, DELETE"),
        ("/api/v1/behaviors", "PUT", "GET, POST"),
        ("/api/v1/profiles/s/u", "PATCH", "GET, PUT, DELETE"),
        ("/api/v1/users/u", "GET", "DELETE"),
        ("/api/v1/recommend", "GET", "POST"),
        ("/api/v1/recommend/session", "GET", "POST"),
        ("/api/v1/items/s/i/similar", "POST", "GET"),
        ("/api/v1/popular/s", "POST", "GET"),
        ("/openapi.json", "DELETE", "GET"),
        ("/docs", "DELETE", "GET"),
        ("/experiments", "DELETE", "GET"),
    ] {
        let reply = refused(client.call(bad, path), 405, "method_not_allowed", None);
        assert_eq!(reply.header("allow"), allow, "{bad} {path}");
    }
}

#[test]
fn the_gateway_headers_are_required_and_named() {
    let client = tenant("err-headers");
    let names = ["X-Tenant-Id", "X-Request-Id", "Authorization"];
    for path in
        ["/api/v1/scenarios", "/api/v1/items/feed", "/api/v1/behaviors?user_id=ann", "/api/v1/profiles/feed/ann"]
    {
        for name in names {
            let reply = client.get(path).without(name).expect(400);
            let error = &reply.json()["error"];
            assert_eq!((&error["code"], &error["field"]), (&json!("missing_header"), &json!(name)), "{path}");
            assert!(!reply.header("x-request-id").is_empty());
            assert_eq!(error["request_id"], reply.header("x-request-id"));
        }
        client.get(path).without("x-user-id").send().assert_status(&[200, 404]);
    }
    let ask = || client.post("/api/v1/recommend", &json!({"scenario_id": FEED}));
    refused(ask().without("x-user-id"), 400, "missing_header", Some("X-User-Id"));
    let long = "x".repeat(129);
    for (name, value) in [
        ("X-Tenant-Id", "a/b"),
        ("X-Tenant-Id", ".."),
        ("X-Tenant-Id", ""),
        ("X-Tenant-Id", &long),
        ("X-Tenant-Id", "a b"),
        ("X-User-Id", "a/b"),
        ("X-User-Id", ""),
        ("X-User-Id", &long),
        ("X-User-Id", "\u{e9}"),
        ("Authorization", "Basic x"),
        ("Authorization", "Bearer"),
        ("Authorization", "Bearer "),
        ("Authorization", ""),
    ] {
        refused(ask().header(name, value), 400, "invalid_header", Some(name));
    }
    for bad in ["", "a b", "a/b", &long] {
        let reply = ask().header("x-request-id", bad).expect(400);
        assert_eq!(reply.json()["error"]["field"], "X-Request-Id");
        // One that can be answered with is made up.
        assert!(reply.header("x-request-id").starts_with("gen-"), "{bad:?}");
    }
    for tag in ["7", "\"a", "", "\"1\", \"2\"x"] {
        let call = client.patch("/api/v1/scenarios/feed", &json!({})).header("if-match", tag);
        refused(call, 400, "invalid_header", Some("If-Match"));
    }
    let call = client.put("/api/v1/items/feed/i1", &json!({})).header("if-none-match", "\"1\"");
    refused(call, 400, "invalid_header", Some("If-None-Match"));

    let twice = "GET /api/v1/scenarios HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Tenant-Id: a\r\nX-Tenant-Id: b\r\n\
                 X-Request-Id: r\r\nAuthorization: Bearer x\r\n\r\n";
    let answer = shared().raw(twice.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"field\":\"X-Tenant-Id\""), "{answer}");
}

#[test]
fn the_request_s_id_is_on_every_response() {
    let client = tenant("err-request-id");
    import(&client, &[item("i1", "a", "t")]);
    let calls = [
        client.get("/healthz"),
        client.get("/openapi.json"),
        client.get("/docs"),
        client.get("/nowhere"),
        client.get("/api/v1/scenarios"),
        client.get("/api/v1/items/feed/i1"),
        client.get("/api/v1/items/feed/i1").header("if-none-match", "*"),
        client.get("/api/v1/items/feed/i2"),
        client.patch("/api/v1/items/feed/i1", &json!({})),
        client.delete("/api/v1/items/feed/i1"),
        client.call("PUT", "/api/v1/scenarios"),
        client.post("/api/v1/behaviors", &json!({"scenario_id": FEED, "item_id": "i1", "action_type": "view"})),
        client.post("/api/v1/behaviors", &json!(1)),
        client.post("/api/v1/recommend", &json!({"scenario_id": FEED})),
        client.get("/api/v1/scenarios").without("authorization"),
        client.get("/api/v1/scenarios").header("authorization", "x"),
    ];
    for (at, call) in calls.into_iter().enumerate() {
        let id = format!("my.request:{at}");
        assert_eq!(call.header("x-request-id", &id).send().header("x-request-id"), id);
    }
}

#[test]
fn text_that_is_not_json() {
    let client = tenant("err-json");
    // Each with a field that may hold anything.
    let routes = [
        ("POST", "/api/v1/scenarios", "config"),
        ("PUT", "/api/v1/scenarios/feed", "config"),
        ("PATCH", "/api/v1/scenarios/feed", "config"),
        ("POST", "/api/v1/items/feed", "metadata"),
        ("PUT", "/api/v1/items/feed/i1", "metadata"),
        ("PATCH", "/api/v1/items/feed/i1", "metadata"),
        ("POST", "/api/v1/behaviors", "context"),
        ("PUT", "/api/v1/profiles/feed/ann", "features"),
        ("POST", "/api/v1/recommend", "context"),
    ];
    for (method, path, free) in routes {
        let send = |body: &[u8]| client.call(method, path).body("application/json", body);
        // Where it stands, line and column.
        let text = format!("{{\n  \"{free}\":\n  {{\"x\" 2}}}}");
        let reply = refused(send(text.as_bytes()), 400, "invalid_json", None);
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("line 3 column 8"), "{method} {path}: {message}");
        for bad in [&b""[..], b"{", b"\xff\xfe", b"{\"scenario_id\":\"feed\"} {}"] {
            refused(send(bad), 400, "invalid_json", None);
        }
        for bad in [&b"NaN"[..], b"Infinity", b"01", b"\"\xff\"", b"\"\\ud800\"", b"'x'"] {
            let body = [b"{\"scenario_id\":\"feed\",\"", free.as_bytes(), b"\":{\"a\":", bad, b"}}"].concat();
            refused(send(&body), 400, "invalid_json", None);
        }
        // Numbers that no float holds, and nesting that no stack does.
        let reply = send(b"{\"metadata\":{\"x\":1e999},\"context\":{\"x\":1e999},\"features\":{\"x\":1e999},\"config\":{\"x\":1e999}}").send();
        reply.assert_status(&[400, 422]);
        assert!(
            reply.text().contains("number out of range") && reply.json()["error"]["field"].is_string(),
            "{}",
            reply.text()
        );
        let deep = format!("{{\"metadata\":{0},\"context\":{0}}}", nested(40));
        refused(send(deep.as_bytes()), 400, "invalid_field", None);
        let deeper = format!("{{\"{free}\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        send(deeper.as_bytes()).send().assert_status(&[400]);
        let call = client.call(method, path).body("text/plain", "{}");
        refused(call, 415, "unsupported_media_type", Some("Content-Type"));
    }
    refused(
        client.call("POST", "/api/v1/behaviors").body("text/csv", "a\n"),
        415,
        "unsupported_media_type",
        Some("Content-Type"),
    );
    refused(
        client.call("PUT", "/api/v1/items/feed/i1").body("application/x-ndjson", "{}"),
        415,
        "unsupported_media_type",
        Some("Content-Type"),
    );
    // A field that stands twice.
    for (path, body) in [
        ("/api/v1/recommend", "{\"scenario_id\":\"feed\",\"scenario_id\":\"feed\"}"),
        ("/api/v1/items/feed", "{\"item_id\":\"a\",\"item_id\":\"b\"}"),
    ] {
        client.call("POST", path).body("application/json", body).expect(400);
    }
}

#[test]
fn bodies_over_the_limit() {
    let client = tenant("err-large");
    let filler = |bytes: usize| format!("{{\"item_id\":\"i\",\"metadata\":{{\"x\":\"{}\"}}}}", "x".repeat(bytes));
    for (method, path, bytes) in [
        ("POST", "/api/v1/scenarios", 300 << 10),
        ("PUT", "/api/v1/scenarios/feed", 300 << 10),
        ("PATCH", "/api/v1/scenarios/feed", 300 << 10),
        ("POST", "/api/v1/items/feed", 300 << 10),
        ("PUT", "/api/v1/items/feed/i", 300 << 10),
        ("PATCH", "/api/v1/items/feed/i", 300 << 10),
        ("PUT", "/api/v1/profiles/feed/ann", 300 << 10),
        ("POST", "/api/v1/recommend", 1100 << 10),
        ("POST", "/api/v1/behaviors", 9 << 20),
    ] {
        let body = filler(bytes);
        refused(client.call(method, path).body("application/json", body.as_str()), 413, "body_too_large", None);
        // The same when its length is not declared.
        let reply = client.call(method, path).stream("application/json", std::io::Cursor::new(body.into_bytes()));
        assert_eq!((reply.status, reply.json_code().as_str()), (413, "body_too_large"), "{method} {path}");
        // And when it is declared and never sent; but a list of items may be long.
        if path == "/api/v1/items/feed" {
            continue;
        }
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Tenant-Id: {}\r\nX-User-Id: ann\r\nX-Request-Id: r\r\n\
             Authorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            client.name(),
            100 << 20
        );
        let answer = shared().raw(head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413 "), "{method} {path}: {answer}");
    }
    // A line that is too long is that line's fault only.
    let lines = format!("{}\n{{\"item_id\":\"after\"}}\n", filler(2 << 20));
    let report = client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", lines).expect(200).json();
    assert_eq!((&report["created"], &report["errors"][0]["code"]), (&json!(1), &json!("body_too_large")));
    // Headers that are too long.
    let reply = client.get("/api/v1/scenarios").header("x-more", &"x".repeat(40_000)).try_send();
    assert!(reply.is_err() || reply.is_ok_and(|reply| matches!(reply.status, 400 | 431)));
    client.get("/api/v1/scenarios").expect(200);
}

#[test]
fn query_parameters() {
    let client = tenant("err-query");
    for (path, field) in [
        ("/api/v1/scenarios?limit=0", "limit"),
        ("/api/v1/scenarios?limit=1001", "limit"),
        ("/api/v1/scenarios?status=all", "status"),
        ("/api/v1/scenarios?page=2", "page"),
        ("/api/v1/scenarios?cursor=bogus", "cursor"),
        ("/api/v1/scenarios/feed?x=1", "x"),
        ("/api/v1/items/feed?limit=x", "limit"),
        ("/api/v1/items/feed?limit=-1", "limit"),
        ("/api/v1/items/feed?limit=1&limit=2", "limit"),
        ("/api/v1/items/feed?category=", "category"),
        ("/api/v1/items/feed?tag=%ff", "tag"),
        ("/api/v1/items/feed?created_from=soon", "created_from"),
        ("/api/v1/items/feed?created_to=-1", "created_to"),
        ("/api/v1/items/feed?sort=best", "sort"),
        ("/api/v1/items/feed?cursor=%00", "cursor"),
        ("/api/v1/items/feed?cursor=AAAA", "cursor"),
        ("/api/v1/items/feed/i1?x", "x"),
        ("/api/v1/behaviors", "user_id"),
        ("/api/v1/behaviors?user_id=a/b", "user_id"),
        ("/api/v1/behaviors?item_id=..", "item_id"),
        ("/api/v1/behaviors?user_id=ann&scenario_id=a%00", "scenario_id"),
        ("/api/v1/behaviors?user_id=ann&before=x", "before"),
        ("/api/v1/behaviors?user_id=ann&before=-1", "before"),
        ("/api/v1/behaviors?user_id=ann&limit=1001", "limit"),
        ("/api/v1/profiles/feed/ann?x=1", "x"),
        ("/openapi.json?x=1", "x"),
    ] {
        refused(client.get(path), 400, "invalid_parameter", Some(field));
    }
    let one = item("i1", "a", "t");
    refused(client.post("/api/v1/items/feed?on_duplicate=skip", &one), 400, "invalid_parameter", Some("on_duplicate"));
    refused(
        client.post("/api/v1/items/feed?on_duplicate=maybe", &json!([one])),
        400,
        "invalid_parameter",
        Some("on_duplicate"),
    );
    client.get("/api/v1/items/feed?before=1").expect(400);
}

#[test]
fn bodies_that_are_broken_off_or_are_no_http() {
    let server = shared();
    let client = tenant("err-broken");
    let head = format!(
        "POST /api/v1/items/feed HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Tenant-Id: {}\r\nX-Request-Id: r\r\n\
         Authorization: Bearer x\r\n",
        client.name()
    );
    let array =
        format!("{head}Content-Type: application/json\r\nContent-Length: 22\r\n\r\n[{{\"item_id\":\"i1\"}},{{\"it");
    let answer = server.raw(array.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_json"), "{answer}");
    for noise in [
        &b"hello\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        b"POST /api/v1/recommend HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let answer = server.raw(noise);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    client.get("/api/v1/scenarios/feed").expect(200);
}

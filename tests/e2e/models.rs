//! Rankers that are files: uploaded, checked, activated, asked, and what becomes of
//! those that break a rule.

use std::{fs, time::Duration};

use funnelweb_core::limits;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    fixtures::{FEED, configure, feed, import, recommend, slate},
    harness::{Client, Reply, Server, eventually, shared, workspace},
};

/// A model of the ranker's own tests, with its manifest inside.
fn file(name: &str) -> Vec<u8> {
    fs::read(workspace().join("components/ranker/fixtures").join(name).with_extension("onnx")).unwrap()
}

/// The manifest that a model has inside, as it is beside it.
pub fn manifest(onnx: &[u8]) -> Value {
    let begin = onnx.windows(9).position(|bytes| bytes == b"{\"format\"").unwrap();
    let mut values = serde_json::Deserializer::from_slice(&onnx[begin..]).into_iter();
    let mut manifest: Value = values.next().unwrap().unwrap();
    manifest["onnx_sha256"] = json!(format!("{:x}", Sha256::digest(onnx)));
    manifest
}

/// The features that a model reads, as a scenario declares them.
pub fn item_features(manifest: &Value) -> Vec<Value> {
    let columns = manifest["inputs"].as_array().unwrap().iter().flat_map(|input| input["columns"].as_array().unwrap());
    columns
        .map(|column| {
            let name = column["feature"].as_str().unwrap().strip_prefix("item:").unwrap();
            json!({"name": name, "type": column["type"]})
        })
        .collect()
}

/// [`FEED`] with the features of a model and items made of its golden rows.
fn feed_for(client: &Client, manifest: &Value, model: &Value) {
    feed(client);
    let rows = manifest["golden"]["rows"].as_array().unwrap();
    let item = |(at, row): (usize, &Value)| {
        let fields = row.as_object().unwrap().iter();
        let metadata: serde_json::Map<String, Value> =
            fields.map(|(name, value)| (name.strip_prefix("item:").unwrap().to_owned(), value.clone())).collect();
        json!({"item_id": format!("i{at}"), "metadata": metadata})
    };
    import(client, &rows.iter().enumerate().map(item).collect::<Vec<_>>());
    configure(
        client,
        &json!({"features": {"item_features": item_features(manifest)},
                "recall": {"strategies": [{"name": "latest", "limit": 200}]}, "rank": model}),
    );
}

pub fn upload(client: &Client, onnx: &[u8]) -> Reply {
    client.call("POST", "/api/v1/models?scenario_id=feed").body("application/octet-stream", onnx).send()
}

/// With a manifest beside the file.
fn upload_form(client: &Client, onnx: &[u8], manifest: &Value) -> Reply {
    let mut body = format!(
        "--limit\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\n{manifest}\r\n\
         --limit\r\nContent-Disposition: form-data; name=\"model\"; filename=\"m.onnx\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(onnx);
    body.extend_from_slice(b"\r\n--limit--\r\n");
    client.call("POST", "/api/v1/models?scenario_id=feed").body("multipart/form-data; boundary=limit", body).send()
}

pub fn activate(client: &Client, name: &str, version: &str) -> Reply {
    client.call("POST", &format!("/api/v1/models/{name}/versions/{version}/activate?scenario_id=feed")).send()
}

/// Whether a slate has the items of the golden rows in the order of the golden scores.
fn assert_golden_order(slate: &[String], manifest: &Value) {
    let golden = manifest["golden"]["scores"].as_array().unwrap();
    let mut scores: Vec<f64> = golden.iter().map(|score| score.as_f64().unwrap()).collect();
    let given: Vec<f64> = slate.iter().map(|item| scores[item[1..].parse::<usize>().unwrap()]).collect();
    scores.sort_by(|one, other| other.total_cmp(one));
    // Items of the same score may stand in any order.
    assert_eq!(given, scores[..slate.len()], "{slate:?}");
}

fn rank_stage(reply: &Reply) -> Value {
    let reply = reply.json();
    let stages = reply["explain"]["stages"].as_array().unwrap().clone();
    stages.into_iter().find(|stage| stage["component"] == "rank-onnx").unwrap_or_default()
}

#[test]
fn the_next_request_is_ranked_by_what_was_activated() {
    for name in ["deepfm", "wide_deep", "lightgbm"] {
        let client = shared().tenant(&format!("models-{name}"));
        let (onnx, model) = (file(name), json!({"model": name}));
        let manifest = manifest(&onnx);
        feed_for(&client, &manifest, &model);
        // Nothing is uploaded yet: the linear ranker stands in, and the answer says so.
        let degraded = recommend(&client, "ann", 5).json()["degraded"].clone();
        assert!(degraded.to_string().contains(name), "{degraded}");

        let added = upload(&client, &onnx);
        added.assert_status(&[201]);
        assert_eq!(added.header("location"), format!("/api/v1/models/{name}/versions/v1?scenario_id=feed"));
        let version = added.json();
        assert_eq!((&version["status"], &version["model_name"]), (&json!("ready"), &json!(name)));
        assert_eq!(version["config"]["kind"], name);
        assert!(version["config"]["trial"]["p50_us"].as_u64().unwrap() > 0, "{version}");
        let degraded = recommend(&client, "ann", 5).json()["degraded"].clone();
        assert!(degraded.to_string().contains("no version"), "{degraded}");

        let active = activate(&client, name, "v1");
        active.assert_status(&[200]);
        assert_eq!(active.json()["status"], "active");
        let body = json!({"scenario_id": FEED, "count": 20});
        let reply = client.post("/api/v1/recommend?explain=true", &body).expect(200);
        assert_eq!(reply.json()["degraded"], json!([]), "{name}");
        assert_eq!(rank_stage(&reply)["status"], "ok", "{}", reply.text());
        assert_golden_order(&slate(&reply), &manifest);
        let known = client.get(&format!("/api/v1/models/{name}/versions/v1?scenario_id=feed")).expect(200).json();
        assert!(known["usage"]["calls"].as_u64().unwrap() > 0, "{known}");

        // What it reads is no longer declared: it would take that for missing.
        let mut features = item_features(&manifest);
        let gone = features.remove(0)["name"].as_str().unwrap().to_owned();
        configure(&client, &json!({"features": {"item_features": features}}));
        let degraded = recommend(&client, "ann", 5).json()["degraded"].to_string();
        assert!(degraded.contains(&format!("reads `item:{gone}`")), "{degraded}");
    }
}

#[test]
fn rows_are_scored_as_by_who_trained_the_model() {
    let client = shared().tenant("models-predict");
    let onnx = file("wide_deep");
    let manifest = manifest(&onnx);
    feed_for(&client, &manifest, &json!({"model": "wide_deep"}));
    upload(&client, &onnx).assert_status(&[201]);
    let predict = |query: &str, rows: &Value| {
        client.post(&format!("/api/v1/models/wide_deep:predict?scenario_id=feed{query}"), &json!({"rows": rows}))
    };
    let rows = &manifest["golden"]["rows"];
    assert_eq!(predict("", rows).expect(404).json_code(), "model_not_found");
    let unknown = |path: &str| {
        let error = client.get(&format!("/api/v1/models/{path}?scenario_id=feed")).expect(404).json()["error"].clone();
        assert_eq!(error["code"], "model_not_found");
        error["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(unknown("nobody_s"), "no model `nobody_s`");
    assert_eq!(unknown("nobody_s/versions/v1"), "no model `nobody_s`");
    assert_eq!(unknown("wide_deep/versions/v2"), "no version `v2` of the model `wide_deep`");
    let predicted = predict("&version=v1", rows).expect(200).json();
    assert_eq!((&predicted["model"], &predicted["version"]), (&json!("wide_deep"), &json!("v1")));
    let scores = predicted["scores"].as_array().unwrap();
    assert_eq!(scores.len(), rows.as_array().unwrap().len());
    for (score, golden) in scores.iter().zip(manifest["golden"]["scores"].as_array().unwrap()) {
        let (score, golden) = (score.as_f64().unwrap(), golden.as_f64().unwrap());
        assert!((score - golden).abs() < 1e-5, "{score} {golden}");
    }
    let again = predict("&version=v1", rows).expect(200).json();
    assert_eq!(again["scores"], predicted["scores"], "the same bits");
    let wrong = predict("&version=v1", &json!([{"item:c0": "c0-1"}, {"item:colour": 1}])).expect(400);
    assert_eq!(wrong.json()["error"]["field"], "rows[1].item:colour");
    assert_eq!(predict("&version=v1", &json!([])).expect(400).json()["error"]["field"], "rows");
    let many = |count: usize| predict("&version=v1", &json!(vec![rows[0].clone(); count]));
    assert_eq!(many(limits::PREDICT_ROWS).expect(200).json()["scores"][limits::PREDICT_ROWS - 1], scores[0]);
    let error = many(limits::PREDICT_ROWS + 1).expect(400).json()["error"].clone();
    assert_eq!(error["field"], "rows");
    assert!(error["message"].as_str().unwrap().contains(&limits::PREDICT_ROWS.to_string()), "{error}");
}

#[test]
fn versions_are_switched_back_and_forth_and_never_changed() {
    let client = shared().tenant("models-versions");
    let onnx = file("deepfm");
    let mut manifest = manifest(&onnx);
    feed_for(&client, &manifest, &json!({"model": "deepfm"}));
    upload(&client, &onnx).assert_status(&[201]);
    let same = upload(&client, &onnx);
    same.assert_status(&[201]);
    manifest["version"] = json!("v2");
    upload_form(&client, &onnx, &manifest).assert_status(&[201]);
    manifest["metrics"] = json!({"auc": 0.7});
    assert_eq!(upload_form(&client, &onnx, &manifest).json_code(), "already_exists");

    let of = |reply: Reply| {
        let models = reply.json()["models"].as_array().unwrap().clone();
        models.iter().map(|model| format!("{} {}", model["model_version"], model["status"])).collect::<Vec<_>>()
    };
    let versions = || of(client.get("/api/v1/models?scenario_id=feed").expect(200));
    assert_eq!(versions(), [r#""v2" "ready""#, r#""v1" "ready""#]);
    let roll_back = || client.call("POST", "/api/v1/models/deepfm/rollback?scenario_id=feed").send();
    assert_eq!(roll_back().json_code(), "model_in_use");
    activate(&client, "deepfm", "v1").assert_status(&[200]);
    activate(&client, "deepfm", "v2").assert_status(&[200]);
    assert_eq!(versions(), [r#""v2" "active""#, r#""v1" "ready""#]);
    roll_back().assert_status(&[200]);
    assert_eq!(versions(), [r#""v2" "ready""#, r#""v1" "active""#]);
    assert_eq!(roll_back().json_code(), "model_in_use");

    let delete =
        |version: &str| client.delete(&format!("/api/v1/models/deepfm/versions/{version}?scenario_id=feed")).send();
    assert_eq!(delete("v1").json_code(), "model_in_use");
    // A config that names a version has it, active or not.
    configure(&client, &json!({"rank": {"model": "deepfm", "version": "v2"}}));
    assert_eq!(recommend(&client, "ann", 5).json()["degraded"], json!([]));
    delete("v2").assert_status(&[204]);
    let degraded = recommend(&client, "ann", 5).json()["degraded"].clone();
    assert!(degraded.to_string().contains("v2"), "{degraded}");
    assert_eq!(delete("v2").json_code(), "model_not_found");
    assert_eq!(of(client.get("/api/v1/models/deepfm?scenario_id=feed").expect(200)), [r#""v1" "active""#]);
}

/// A model with a constant of so many bytes that nothing reads. (A message that stands in
/// a file twice is one with the fields of both.)
fn padded(onnx: &[u8], bytes: usize) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let mut length = content.len();
        let mut field = vec![number << 3 | 2];
        while length > 127 {
            field.push((length & 127) as u8 | 128);
            length >>= 7;
        }
        [field, vec![length as u8], content.to_vec()].concat()
    };
    // A tensor: dimensions (1), type float (2), name (8), bytes (9).
    let mut dimensions = Vec::new();
    let mut rest = bytes / 4;
    while rest > 127 {
        dimensions.push((rest & 127) as u8 | 128);
        rest >>= 7;
    }
    dimensions.push(rest as u8);
    let tensor =
        [field(1, &dimensions), vec![2 << 3, 1], field(8, b"padding"), field(9, &vec![0; bytes / 4 * 4])].concat();
    // A graph's constants are its field 5, a model's graph its field 7.
    [onnx.to_vec(), field(7, &field(5, &tensor))].concat()
}

#[test]
fn large_files_are_taken_and_too_large_ones_are_not() {
    let client = shared().tenant("models-large");
    let onnx = file("deepfm");
    let manifest = manifest(&onnx);
    feed_for(&client, &manifest, &json!({"model": "deepfm"}));
    // With all of a file's limit as one constant, memory would be the limit.
    upload(&client, &padded(&onnx, limits::MODEL_BYTES / 2)).assert_status(&[201]);
    activate(&client, "deepfm", "v1").assert_status(&[200]);
    let reply = recommend(&client, "ann", 20);
    assert_eq!(reply.json()["degraded"], json!([]));
    assert_golden_order(&slate(&reply), &manifest);
    let refused = upload(&client, &padded(&onnx, limits::MODEL_BYTES));
    refused.assert_status(&[422]);
    let error = refused.json()["error"].clone();
    assert_eq!((&error["code"], &error["field"]), (&json!("invalid_model"), &json!("onnx")), "{error}");
    assert!(error["message"].as_str().unwrap().contains(&limits::MODEL_BYTES.to_string()), "{error}");
}

#[test]
fn what_breaks_a_rule_is_refused_and_says_which() {
    let client = shared().tenant("models-refused");
    let onnx = file("wide_deep");
    let sound = manifest(&onnx);
    feed_for(&client, &sound, &json!({"model": "wide_deep"}));
    let refused = |reply: Reply, field: &str, said: &str| {
        reply.assert_status(&[422]);
        let error = reply.json()["error"].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!("invalid_model"), &json!(field)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    };
    refused(upload(&client, b""), "onnx", "");
    refused(upload(&client, b"certainly no model"), "onnx", "");
    refused(upload(&client, &onnx[..onnx.len() / 2]), "onnx", "");
    let with = |pointer: &str, value: Value| {
        let mut manifest = sound.clone();
        *manifest.pointer_mut(pointer).unwrap() = value;
        upload_form(&client, &onnx, &manifest)
    };
    refused(with("/format", json!(2)), "manifest.format", "");
    refused(with("/name", json!("a:b")), "manifest.name", "");
    refused(with("/golden/scores/3", json!(0.99)), "manifest.golden", "3");
    refused(with("/inputs/0/columns/0/feature", json!("item:unheard")), "manifest.schema_hash", "");
    // The scenario does not declare what the model reads.
    let mut features = item_features(&sound);
    let gone = features.pop().unwrap();
    configure(&client, &json!({"features": {"item_features": features}}));
    refused(upload(&client, &onnx), "manifest.inputs", gone["name"].as_str().unwrap());

    let no_scenario =
        client.call("POST", "/api/v1/models?scenario_id=none").body("application/octet-stream", onnx.clone());
    assert_eq!(no_scenario.expect(404).json_code(), "scenario_not_found");
    let as_json = client.post("/api/v1/models?scenario_id=feed", &json!({}));
    assert_eq!(as_json.expect(415).json_code(), "unsupported_media_type");
    let unknown = client.patch("/api/v1/scenarios/feed", &json!({"config": {"rank": {"model": "nobody_s"}}}));
    assert_eq!(unknown.expect(422).json()["error"]["field"], "config.rank.model");
    assert!(client.get("/api/v1/models?scenario_id=feed").expect(200).json()["models"].as_array().unwrap().is_empty());
}

#[test]
fn a_model_is_its_tenant_s_and_outlives_the_process() {
    let mut server = Server::start();
    let (client, other) = (server.tenant("models-mine"), server.tenant("models-theirs"));
    let onnx = file("deepfm");
    let manifest = manifest(&onnx);
    feed_for(&client, &manifest, &json!({"model": "deepfm"}));
    feed_for(&other, &manifest, &json!({"model": "deepfm"}));
    upload(&client, &onnx).assert_status(&[201]);
    activate(&client, "deepfm", "v1").assert_status(&[200]);
    assert!(other.get("/api/v1/models?scenario_id=feed").expect(200).json()["models"].as_array().unwrap().is_empty());
    assert_eq!(activate(&other, "deepfm", "v1").json_code(), "model_not_found");
    assert!(!recommend(&other, "ann", 5).json()["degraded"].as_array().unwrap().is_empty());

    server.kill9();
    server.restart();
    let client = server.tenant("models-mine");
    // Beside other suites a first answer may be late.
    let reply = eventually("the model ranks", Duration::from_secs(20), || {
        let reply = recommend(&client, "ann", 20);
        (reply.json()["degraded"] == json!([])).then_some(reply)
    });
    assert_golden_order(&slate(&reply), &manifest);

    // Where its image is gone it is made again, beside the requests.
    server.kill9();
    for entry in fs::read_dir(server.data_dir().join("components")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("models-") {
            // Other servers share the folder: theirs is read already, or made again as well.
            fs::remove_file(path).unwrap();
        }
    }
    server.restart();
    let client = server.tenant("models-mine");
    recommend(&client, "ann", 5);
    eventually("the model ranks again", Duration::from_secs(60), || {
        (recommend(&client, "ann", 5).json()["degraded"] == json!([])).then_some(())
    });
    client.delete("/api/v1/scenarios/feed").expect(204);
    feed(&client);
    assert!(client.get("/api/v1/models?scenario_id=feed").expect(200).json()["models"].as_array().unwrap().is_empty());
}

//! Components that tenants upload: admitted, certified, activated, tried on a part of the
//! requests, gone back from; and what becomes of those that do harm.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use funnelweb_admission::Manifest;
use funnelweb_core::limits;
use serde_json::{Value, json};

use crate::{
    guests::{put, recommend, scenario, tenant},
    harness::{Call, Client, Options, Server, eventually, workspace},
};

mod corpus;
mod operators;

const TOKEN: &str = "what-only-an-operator-knows";

/// A server with an operator.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<(Server, tempfile::TempDir)> = OnceLock::new();
    &SERVER.get_or_init(with_operator).0
}

fn with_operator() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("runtime.toml");
    // Many hostile calls of one tenant are made on purpose.
    let text = format!("[components]\noperator_token = '{TOKEN}'\nprocessor_ms_a_second = 10000\n");
    fs::write(&config, text).unwrap();
    let args = vec!["--runtime-config".into(), config.into_os_string()];
    (Server::with(Options { args, ..Options::default() }), folder)
}

/// A stage of the product's own, as an upload.
fn upload_of(component: &str, manifest: &Value) -> Vec<u8> {
    let folder = std::env::var_os("FUNNELWEB_GUESTS")
        .map_or_else(|| workspace().join("target/wasm32-wasip2/guest"), PathBuf::from);
    let wasm = fs::read(folder.join(component).with_extension("wasm")).unwrap();
    Manifest::embed(&wasm, &manifest.to_string()).unwrap()
}

fn spread(version: &str) -> Vec<u8> {
    let column = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let columns =
        [column("category", "categorical"), column("tags", "multi_categorical"), column("embedding", "embedding")];
    let reads = json!({"columns": columns});
    upload_of(
        "rerank_diversity",
        &json!({"name": "spread", "version": version, "world": "rerank", "reads": reads, "description": "No two alike.",
                "params": {"type": "object", "properties": {"window": {"type": "integer", "minimum": 1}}}}),
    )
}

fn push<'a>(client: &'a Client, wasm: &[u8]) -> Call<'a> {
    client.call("POST", "/api/v1/components").body("application/wasm", wasm)
}

fn post<'a>(client: &'a Client, path: &str) -> Call<'a> {
    client.call("POST", &format!("/api/v1/components/{path}"))
}

fn certify(client: &Client, path: &str) -> Value {
    let body = json!({"scenario_id": "feed"});
    client.post(&format!("/api/v1/components/{path}/certify"), &body).expect(200).json()["certificate"].clone()
}

/// Uploads a stage of the product's own as a rule, and has it certified.
pub fn add(client: &Client, name: &str, version: &str, stage: &str) {
    let column = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let columns = [
        column("category", "categorical"),
        column("tags", "multi_categorical"),
        column("embedding", "embedding"),
        column("created_at", "timestamp"),
    ];
    let manifest = json!({"name": name, "version": version, "world": "rerank", "reads": {"columns": columns}});
    push(client, &upload_of(stage, &manifest)).expect(201);
    let certificate = certify(client, &format!("{name}/versions/{version}"));
    assert_eq!(certificate["passed"], true, "{certificate}");
}

/// Has a version run that was certified.
pub fn activate(client: &Client, name: &str, version: &str) {
    post(client, &format!("{name}/versions/{version}/activate")).expect(200);
}

fn with_rule<'a>(client: &'a Client, name: &str) -> Call<'a> {
    let rule = json!({"name": name, "params": {}});
    client.put("/api/v1/scenarios/feed", &scenario(|config| config["rerank"]["rules"] = json!([rule])))
}

/// The uploaded component that a request of the user ran, and how it ended.
fn ran(client: &Client, user: &str) -> (String, String) {
    let body = json!({"scenario_id": "feed", "count": 10});
    let reply = client.post("/api/v1/recommend?explain=true", &body).user(user).expect(200).json();
    let stages = reply["explain"]["stages"].as_array().unwrap();
    let own = stages.iter().find(|stage| stage["stage"].as_str().unwrap().contains('/')).unwrap();
    (own["component"].as_str().unwrap().to_owned(), own["status"].as_str().unwrap().to_owned())
}

#[test]
fn what_is_activated_runs_in_the_next_request() {
    let client = tenant(server(), "own");
    put(&client, &scenario(|config| config["rerank"]["rules"] = json!([])));
    let plain = recommend(&client).items;
    assert!(with_rule(&client, "own/spread").expect(422).text().contains("no rerank rule is called `own/spread`"));

    let added = push(&client, &spread("1.0.0")).expect(201);
    assert_eq!(added.header("location"), "/api/v1/components/spread/versions/1.0.0");
    let version = added.json();
    assert_eq!((&version["status"], &version["certificate"]), (&json!("ready"), &Value::Null));
    let imports = version["admission"]["imports"].as_array().unwrap();
    let own = imports.iter().filter(|name| !name.as_str().unwrap().starts_with("wasi:"));
    assert_eq!(own.collect::<Vec<_>>(), ["funnelweb:pipeline/types@0.1.0"], "{version}");
    // The same again is what is there; another one of that version is refused.
    assert_eq!(push(&client, &spread("1.0.0")).expect(201).json()["sha256"], version["sha256"]);
    let other = upload_of("rerank_freshness", &json!({"name": "spread", "version": "1.0.0", "world": "rerank"}));
    push(&client, &other).expect(409);

    let refused = with_rule(&client, "own/spread");
    assert!(refused.expect(422).text().contains("no version of the component `spread` is active"));
    let refused = post(&client, "spread/versions/1.0.0/activate");
    assert!(refused.expect(409).text().contains("is not certified yet"));
    let certificate = certify(&client, "spread/versions/1.0.0");
    assert_eq!(certificate["passed"], true, "{certificate}");
    assert!(
        certificate["requests"].as_u64().unwrap() >= 10 && certificate["fuel"]["p99"].as_u64().unwrap() > 0,
        "{certificate}"
    );
    assert_eq!(post(&client, "spread/versions/1.0.0/activate").expect(200).json()["active"], "1.0.0");

    with_rule(&client, "own/spread").expect(200);
    let spread_out = recommend(&client);
    assert_eq!((spread_out.degraded.clone(), spread_out.items.len()), (Vec::new(), 10));
    assert_ne!(spread_out.items, plain);
    assert_eq!(ran(&client, "ann"), ("own/spread@1.0.0".to_owned(), "ok".to_owned()));
    let usage = client.get("/api/v1/components/spread/versions/1.0.0/usage").expect(200).json();
    assert!(usage["ok"].as_u64().unwrap() >= 2 && usage["time_us"]["p50"].as_u64().unwrap() > 0, "{usage}");
    assert_eq!(client.get("/api/v1/components/spread/versions/1.0.0/logs").expect(200).text(), "");
    let metrics = client.get("/metrics").expect(200).text();
    assert!(metrics.contains("funnelweb_component_calls_total{tenant=\"own\",outcome=\"ok\"}"), "{metrics}");

    // What passed stays in service, whatever it is certified with later.
    let body = json!({"scenario_id": "feed", "params": {"window": "wide"}});
    let again = client.post("/api/v1/components/spread/versions/1.0.0/certify", &body).expect(200).json();
    assert_eq!((&again["certificate"]["passed"], &again["passed"]), (&json!(false), &json!(true)), "{again}");
    assert_eq!(recommend(&client).degraded, []);

    // Params are checked by the schema that it ships.
    let wrong = json!({"name": "own/spread", "params": {"window": "wide"}});
    let refused = client.put("/api/v1/scenarios/feed", &scenario(|config| config["rerank"]["rules"] = json!([wrong])));
    assert!(refused.expect(422).text().contains("config.rerank.rules[0].params.window"));
}

#[test]
fn a_canary_takes_its_part_and_is_gone_back_from() {
    let client = tenant(server(), "canary");
    for version in ["1", "2"] {
        push(&client, &spread(version)).expect(201);
        assert_eq!(certify(&client, &format!("spread/versions/{version}"))["passed"], true);
    }
    let canary = |percent: f64, of: &str| {
        client.put("/api/v1/components/spread/canary", &json!({"version": "2", "percent": percent, "of": of}))
    };
    assert!(canary(50.0, "users").expect(409).text().contains("no version of `spread` is active"));
    post(&client, "spread/versions/1/activate").expect(200);
    with_rule(&client, "canary/spread").expect(200);
    assert!(canary(0.0, "users").expect(400).text().contains("percent"));
    canary(50.0, "users").expect(200);
    let users: Vec<String> = (0..40).map(|at| format!("user{at}")).collect();
    let once = || users.iter().map(|user| ran(&client, user).0).collect::<Vec<_>>();
    let first = once();
    let mut counts = BTreeMap::new();
    first.iter().for_each(|component| *counts.entry(component.as_str()).or_insert(0) += 1);
    assert!(counts.get("canary/spread@2").is_some_and(|count| (8..=32).contains(count)), "{counts:?}");
    assert_eq!(once(), first, "a user stays");
    canary(100.0, "requests").expect(200);
    assert_eq!(ran(&client, "ann").0, "canary/spread@2");

    post(&client, "spread/versions/2/activate").expect(200);
    let component = client.get("/api/v1/components/spread").expect(200).json();
    assert_eq!(
        (&component["active"], &component["previous"], &component["canary"]),
        (&json!("2"), &json!("1"), &Value::Null)
    );
    assert_eq!(post(&client, "spread/rollback").expect(200).json()["active"], "1");
    assert_eq!(ran(&client, "ann").0, "canary/spread@1");
    assert!(post(&client, "spread/rollback").expect(409).text().contains("was active before"));

    post(&client, "spread/disable").expect(200);
    let slate = recommend(&client);
    assert_eq!(slate.degraded, [("canary/spread".to_owned(), "the component `spread` is disabled".to_owned())]);
    post(&client, "spread/enable").expect(200);
    assert_eq!(recommend(&client).degraded, []);
    assert!(client.delete("/api/v1/components/spread").expect(409).text().contains("is active"));
    client.delete("/api/v1/components/spread/versions/2").expect(204);
    post(&client, "spread/disable").expect(200);
    client.delete("/api/v1/components/spread").expect(204);
    client.get("/api/v1/components/spread").expect(404);
    assert_eq!(client.get("/api/v1/components").expect(200).json()["components"], json!([]));
}

#[test]
fn a_canary_that_fails_takes_nothing_from_the_active_version() {
    let client = tenant(server(), "cautious");
    let strict = |version: &str, most: u32| {
        let columns = json!([{"name": "category", "type": "categorical"}, {"name": "tags", "type": "multi_categorical"},
                             {"name": "embedding", "type": "embedding"}]);
        let params = json!({"type": "object", "properties": {"window": {"type": "integer", "maximum": most}}});
        let manifest = json!({"name": "spread", "version": version, "world": "rerank", "reads": {"columns": columns},
                              "params": params});
        upload_of("rerank_diversity", &manifest)
    };
    for (version, most) in [("1", 100), ("2", 1)] {
        push(&client, &strict(version, most)).expect(201);
        assert_eq!(certify(&client, &format!("spread/versions/{version}"))["passed"], true);
    }
    post(&client, "spread/versions/1/activate").expect(200);
    put(
        &client,
        &scenario(|config| config["rerank"]["rules"] = json!([{"name": "cautious/spread", "params": {"window": 5}}])),
    );
    let before = recommend(&client);
    assert_eq!(before.degraded, []);
    // It does not take the scenario's params.
    client
        .put("/api/v1/components/spread/canary", &json!({"version": "2", "percent": 0.001, "of": "users"}))
        .expect(200);
    let slate = recommend(&client);
    assert_eq!((&slate.degraded, &slate.items), (&before.degraded, &before.items), "the active one has its columns");
}

#[test]
fn versions_change_under_load_and_no_request_does_without() {
    let client = tenant(server(), "flipping");
    for version in ["1", "2"] {
        push(&client, &spread(version)).expect(201);
        assert_eq!(certify(&client, &format!("spread/versions/{version}"))["passed"], true);
    }
    post(&client, "spread/versions/1/activate").expect(200);
    with_rule(&client, "flipping/spread").expect(200);
    let over = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut asked = BTreeMap::new();
            while !over.load(Ordering::Relaxed) {
                let (component, status) = ran(&client, "ann");
                assert_eq!(status, "ok", "{component}");
                *asked.entry(component).or_insert(0) += 1;
            }
            asked
        });
        for version in ["2", "1"].iter().cycle().take(30) {
            post(&client, &format!("spread/versions/{version}/activate")).expect(200);
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        asks.join().unwrap()
    });
    assert_eq!(asked.len(), 2, "both ran: {asked:?}");
}

#[test]
fn what_it_prints_is_kept_by_version() {
    let client = tenant(server(), "printing");
    let wasm = corpus::upload("print-blame");
    let name = push(&client, &wasm).expect(201).json()["name"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/components/{name}/versions/1.0.0");
    let activate = client.post(&format!("{path}/activate"), &json!({"override": true}));
    activate.header("x-operator-token", TOKEN).expect(200);
    with_rule(&client, &format!("printing/{name}")).expect(200);
    recommend(&client);
    let logs = client.get(&format!("{path}/logs")).expect(200);
    assert_eq!(logs.header("content-type"), "text/plain; charset=utf-8");
    let text = logs.text();
    // Each time with the moment, in lines that no terminal takes for commands.
    assert!(
        text.starts_with("20") && text.len() <= limits::COMPONENT_LOG_BYTES && !text.contains('\u{1b}'),
        "{text:?}"
    );
    let usage = client.get(&format!("{path}/usage")).expect(200).json();
    assert!(usage["failures"]["trap"].as_u64().unwrap() > 0, "{usage}");
}

#[test]
fn nobody_names_or_sees_another_tenants_component() {
    let (one, other) = (tenant(server(), "mine"), tenant(server(), "yours"));
    push(&one, &spread("1")).expect(201);
    assert_eq!(certify(&one, "spread/versions/1")["passed"], true);
    post(&one, "spread/versions/1/activate").expect(200);
    let refused = with_rule(&other, "mine/spread").expect(422).text();
    assert!(refused.contains("no rerank rule is called `mine/spread`") && !refused.contains("own/"), "{refused}");
    for path in ["spread", "spread/versions/1", "spread/versions/1/logs", "spread/versions/1/usage"] {
        other.get(&format!("/api/v1/components/{path}")).expect(404);
    }
    post(&other, "spread/versions/1/activate").expect(404);
    other.delete("/api/v1/components/spread").expect(404);
    with_rule(&one, "mine/spread").expect(200);
    assert_eq!(recommend(&one).degraded, []);
}

#[test]
fn it_sees_of_the_user_what_the_scenario_lets_it_see() {
    let client = tenant(server(), "private");
    push(&client, &spread("1")).expect(201);
    assert_eq!(certify(&client, "spread/versions/1")["passed"], true);
    post(&client, "spread/versions/1/activate").expect(200);
    with_rule(&client, "private/spread").expect(200);
    let ask = |user: &str| {
        let body = json!({"scenario_id": "feed", "count": 3});
        client.post("/api/v1/recommend", &body).user(user).expect(200).json()["degraded"].clone()
    };
    assert_eq!(ask("somebody"), json!([]));
    // Whose requests it is certified with: too few were recorded, so those of the demo.
    let certified = "user_01";
    // What the scenario was written with asked for nothing; the version after it does.
    push(&client, &funnelweb_corpus::seer("spread", "2")).expect(201);
    let certificate = certify(&client, "spread/versions/2");
    assert_eq!(certificate["passed"], false, "{certificate}");
    assert!(!certificate.to_string().contains(certified), "{certificate}");
    let activate = client.post("/api/v1/components/spread/versions/2/activate", &json!({"override": true}));
    activate.header("x-operator-token", TOKEN).expect(200);
    let said = ask("somebody-else");
    assert_eq!(said[0]["stage"], "private/spread", "{said}");
    assert!(!said.to_string().contains("somebody"), "{said}");
    let refused = with_rule(&client, "private/spread").expect(422).text();
    assert!(refused.contains("reads `id` of the user"), "{refused}");
    put(
        &client,
        &scenario(|config| {
            config["components"] = json!({"user": ["id"]});
            config["rerank"]["rules"] = json!([{"name": "private/spread"}]);
        }),
    );
    assert_eq!(ask("somebody-else")[0]["reason"], "somebody-else");
    let certificate = certify(&client, "spread/versions/2").to_string();
    assert!(certificate.contains(certified), "now it may see who it is: {certificate}");

    let curious = upload_of("recall_content", &json!({"name": "curious", "version": "1", "world": "recall"}));
    // It imports documents.
    let refused = push(&client, &curious).expect(422).text();
    assert!(refused.contains("funnelweb:capabilities/documents") && refused.contains("imports"), "{refused}");
}

#[test]
fn components_are_there_after_a_crash_and_compiled_again_if_need_be() {
    let (mut server, _folder) = with_operator();
    let client = tenant(&server, "acme");
    let sha256 = push(&client, &spread("crash")).expect(201).json()["sha256"].as_str().unwrap().to_owned();
    assert_eq!(certify(&client, "spread/versions/crash")["passed"], true);
    post(&client, "spread/versions/crash/activate").expect(200);
    with_rule(&client, "acme/spread").expect(200);
    assert_eq!(recommend(&client).degraded, []);
    server.kill9();
    server.restart();
    let client = server.tenant("acme");
    // The first request after it runs it.
    assert_eq!(recommend(&client).degraded, []);

    server.kill9();
    // Other servers keep theirs in the same folder.
    let compiled = fs::read_dir(server.data_dir().join("components")).unwrap().map(|entry| entry.unwrap().path());
    let own =
        |path: &PathBuf| path.extension().is_some_and(|of| of == "cwasm") && path.to_string_lossy().contains(&sha256);
    let compiled: Vec<PathBuf> = compiled.filter(own).collect();
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    fs::remove_file(&compiled[0]).unwrap();
    server.restart();
    let client = server.tenant("acme");
    let said = &recommend(&client).degraded;
    assert!(said.iter().all(|(_, reason)| reason.contains("it is being made ready")), "{said:?}");
    eventually("the component is compiled again", Duration::from_secs(60), || {
        recommend(&client).degraded.is_empty().then_some(())
    });
}

#[test]
fn one_that_fails_again_and_again_rests() {
    let client = tenant(server(), "restless");
    let wasm = corpus::upload("loop-plain");
    let name = push(&client, &wasm).expect(201).json()["name"].as_str().unwrap().to_owned();
    let version = format!("{name}/versions/1.0.0");
    let certificate = certify(&client, &version);
    assert_eq!(certificate["passed"], false, "{certificate}");
    let said = post(&client, &format!("{version}/activate")).expect(409).text();
    assert!(said.contains("did not pass certification") && said.contains("answers"), "{said}");
    let with_token = |token: &str| {
        let call = client.post(&format!("/api/v1/components/{version}/activate"), &json!({"override": true}));
        if token.is_empty() { call } else { call.header("x-operator-token", token) }
    };
    with_token("").expect(403);
    with_token("not the operator's").expect(403);
    assert_eq!(with_token(TOKEN).expect(200).json()["active"], "1.0.0");

    let plain = recommend(&client).items;
    put(&client, &scenario(|config| config["rerank"]["rules"] = json!([{"name": format!("restless/{name}")}])));
    let expected = {
        put(&client, &scenario(|config| config["rerank"]["rules"] = json!([])));
        let without = recommend(&client).items;
        put(&client, &scenario(|config| config["rerank"]["rules"] = json!([{"name": format!("restless/{name}")}])));
        without
    };
    assert_eq!(plain.len(), expected.len());
    let reasons: Vec<String> = (0..=limits::COMPONENT_FAILURES)
        .map(|_| {
            let slate = recommend(&client);
            assert_eq!(slate.items, expected, "the list before it stands");
            slate.degraded[0].1.clone()
        })
        .collect();
    assert!(reasons[0].contains("fuel") || reasons[0].contains("no answer within"), "{reasons:?}");
    assert!(reasons.last().unwrap().contains("it rests, since it failed again and again"), "{reasons:?}");
    let usage = client.get(&format!("/api/v1/components/{version}/usage")).expect(200).json();
    assert_eq!(usage["state"], "resting", "{usage}");
    assert!(usage["skipped"]["resting"].as_u64().unwrap() > 0, "{usage}");
    // It is probed, and rests again.
    eventually("a probe", limits::COMPONENT_REST * 4, || {
        let usage = client.get(&format!("/api/v1/components/{version}/usage")).expect(200).json();
        recommend(&client);
        (usage["calls"].as_u64().unwrap() > u64::from(limits::COMPONENT_FAILURES)).then_some(())
    });
}

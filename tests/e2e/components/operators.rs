//! Stream operators that tenants upload: they follow the tenant's log, each event once, from
//! their activation on, and hold up nobody.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::json;

use super::{TOKEN, certify, corpus, post, push, server, upload_of, with_operator};
use crate::{
    guests::{put, scenario, tenant},
    harness::{Client, eventually},
    streams::counters,
};

/// Time in which whatever is wrong would have happened.
const A_WHILE: Duration = Duration::from_secs(3);

/// The product's own operator for metrics, as a tenant's.
fn tally(version: &str) -> Vec<u8> {
    upload_of("stream_metrics", &json!({"name": "tally", "version": version, "world": "aggregate"}))
}

fn watch(client: &Client, count: usize) {
    let event = json!({"scenario_id": "feed", "user_id": "ann", "item_id": "i1", "action_type": "watch"});
    client.post("/api/v1/behaviors", &json!(vec![event; count])).expect(202);
}

/// What was counted of `watch` under a name.
fn watched(counters: &BTreeMap<String, f64>, name: &str) -> f64 {
    let series = format!("{name}{{action=\"watch\",scenario=\"feed\"}}");
    counters.get(&series).copied().unwrap_or_default()
}

/// Waits until the tenant's operator has counted so many, and the application's so many.
fn counted(client: &Client, own: f64, all: f64) {
    let what = format!("{own} and {all} events");
    eventually(&what, Duration::from_secs(30), || {
        let counters = counters(client);
        let counted = (watched(&counters, "own_behaviors_total"), watched(&counters, "behaviors_total"));
        (counted == (own, all)).then_some(())
    });
}

#[test]
fn an_operator_counts_from_its_activation_on_whatever_happens() {
    let (mut server, _folder) = with_operator();
    let client = tenant(&server, "acme");
    put(&client, &scenario(|_| {}));
    watch(&client, 2);
    for version in ["1", "2"] {
        push(&client, &tally(version)).expect(201);
        let certificate = certify(&client, &format!("tally/versions/{version}"));
        assert_eq!((&certificate["passed"], &certificate["effect"]), (&json!(true), &json!(null)), "{certificate}");
        let checks: Vec<&str> =
            certificate["checks"].as_array().unwrap().iter().map(|check| check["check"].as_str().unwrap()).collect();
        assert_eq!(checks, ["events", "answers", "contract", "deterministic", "sums", "time"]);
    }
    let params = json!({"scenario_id": "feed", "params": {"a": 1}});
    let refused = client.post("/api/v1/components/tally/versions/1/certify", &params).expect(400).text();
    assert!(refused.contains("a stream operator takes none"), "{refused}");
    let active = post(&client, "tally/versions/1/activate").expect(200).json();
    assert_eq!(active["follows"]["begins"], 3, "{active}");
    let declared = json!({"key": ["scenario", "group"], "window_ms": 60_000, "slide_ms": 60_000,
                          "allowed_lateness_ms": 300_000});
    assert_eq!(active["follows"]["declared"], declared);
    watch(&client, 3);
    counted(&client, 3.0, 5.0);

    // Another version goes on; whoever was away catches up.
    assert_eq!(post(&client, "tally/versions/2/activate").expect(200).json()["follows"], active["follows"]);
    watch(&client, 4);
    counted(&client, 7.0, 9.0);
    post(&client, "tally/disable").expect(200);
    watch(&client, 1);
    thread::sleep(A_WHILE);
    counted(&client, 7.0, 10.0);
    post(&client, "tally/enable").expect(200);
    counted(&client, 8.0, 10.0);
    watch(&client, 1);
    counted(&client, 9.0, 11.0);
    server.kill9();
    server.restart();
    let client = server.tenant("acme");
    watch(&client, 2);
    counted(&client, 11.0, 13.0);
    assert_eq!(post(&client, "tally/rollback").expect(200).json()["active"], "1");
    let usage = client.get("/api/v1/components/tally/versions/2/usage").expect(200).json();
    assert!(usage["ok"].as_u64().unwrap() > 0 && usage["last_failure"].is_null(), "{usage}");

    let canary = json!({"version": "2", "percent": 5.0, "of": "users"});
    client.put("/api/v1/components/tally/canary", &canary).expect(400);
    // No rule of a scenario is called so.
    let rule = scenario(|config| config["rerank"]["rules"] = json!([{"name": "acme/tally"}]));
    assert!(client.put("/api/v1/scenarios/feed", &rule).expect(422).text().contains("is for aggregate"));
    post(&client, "tally/disable").expect(200);
    client.delete("/api/v1/components/tally").expect(204);
    watch(&client, 1);
    thread::sleep(A_WHILE);
    counted(&client, 11.0, 14.0);
}

#[test]
fn one_that_never_answers_holds_up_nobody() {
    let (hostile, other) = (tenant(server(), "looping"), tenant(server(), "counting"));
    for client in [&hostile, &other] {
        put(client, &scenario(|_| {}));
    }
    let name = push(&hostile, &corpus::upload("loop-aggregate")).expect(201).json()["name"].clone();
    let version = format!("{}/versions/1.0.0", name.as_str().unwrap());
    assert_eq!(certify(&hostile, &version)["passed"], false);
    post(&hostile, &format!("{version}/activate")).expect(409);
    let activate = hostile.post(&format!("/api/v1/components/{version}/activate"), &json!({"override": true}));
    activate.header("x-operator-token", TOKEN).expect(200);
    push(&other, &tally("1")).expect(201);
    assert_eq!(certify(&other, "tally/versions/1")["passed"], true);
    post(&other, "tally/versions/1/activate").expect(200);
    for round in 1..=5 {
        watch(&hostile, 10);
        watch(&other, 10);
        counted(&hostile, 0.0, 10.0 * f64::from(round));
        counted(&other, 10.0 * f64::from(round), 10.0 * f64::from(round));
    }
    let usage = hostile.get(&format!("/api/v1/components/{version}/usage")).expect(200).json();
    assert!(usage["calls"].as_u64().unwrap() > 0 && usage["ok"] == 0, "{usage}");
    assert!(usage["last_failure"].as_str().unwrap().contains("fuel") || usage["failures"]["timeout"] != 0, "{usage}");
}

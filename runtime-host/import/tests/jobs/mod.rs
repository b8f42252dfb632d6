//! Jobs of a stand-in server.

use funnelweb_core::job::{Kind, State};
use funnelweb_import::{Error, follow};
use serde_json::{Map, Value, json};

use crate::server::{Fault, Server};

fn run(state: &str, percent: f32) -> Value {
    json!({
        "run_id": "run-1", "scenario_id": "films", "kind": "similarity", "state": state, "trigger": "api",
        "percent": percent, "attempts": 1, "created_at": "2026-01-31T12:00:00.000Z",
    })
}

fn script(server: &Server, answers: Vec<(u16, Value)>) {
    server.seen.lock().unwrap().scripted = answers.into();
}

/// Method and path of each request.
fn asked(server: &Server) -> Vec<String> {
    let seen = server.seen.lock().unwrap();
    seen.requests.iter().map(|(method, path, _, _)| format!("{method} {path}")).collect()
}

#[test]
fn a_run_is_begun_and_followed_to_its_end() {
    let server = Server::start();
    let mut over = run("succeeded", 100.0);
    over["outcome"] = json!({"items": 3});
    script(&server, vec![(202, run("queued", 0.0)), (200, run("running", 40.5)), (200, over)]);
    server.faults(&[Some(Fault::Busy)]);
    let client = server.client();
    let begun = client.start_job("films", Kind::Similarity, &Map::new()).unwrap();
    let mut told = Vec::new();
    let over = follow(&client, begun, &mut |run| told.push((run.state, run.percent))).unwrap();
    assert_eq!(told, [(State::Queued, 0.0), (State::Running, 40.5), (State::Succeeded, 100.0)]);
    assert_eq!(over.outcome, Some(json!({"items": 3})));
    assert_eq!(asked(&server)[1..], ["POST /api/v1/jobs", "GET /api/v1/jobs/run-1", "GET /api/v1/jobs/run-1"]);
}

#[test]
fn one_that_is_open_is_taken() {
    let server = Server::start();
    let active = json!({"error": {"code": "job_active", "message": "the run `run-1` waits", "field": "kind", "request_id": "r"}});
    script(&server, vec![(409, active), (200, json!({"jobs": [run("running", 7.0)], "next_cursor": "run-1"}))]);
    let begun = server.client().start_job("films", Kind::Similarity, &Map::new()).unwrap();
    assert_eq!((begun.run_id.as_str(), begun.state), ("run-1", State::Running));
    let newest = "GET /api/v1/jobs?limit=1&scenario_id=films&kind=similarity";
    assert_eq!(asked(&server), ["POST /api/v1/jobs", newest]);
}

#[test]
fn what_the_server_refuses_is_an_error() {
    let server = Server::start();
    let client = server.client();
    let inactive = json!({"error": {"code": "scenario_inactive", "message": "no", "request_id": "r"}});
    script(&server, vec![(409, inactive), (202, run("running", 1.0))]);
    let error = client.start_job("films", Kind::Sync, &Map::new()).unwrap_err();
    assert!(matches!(error, Error::Refused { status: 409, .. }), "{error}");
    assert_eq!(client.cancel_job("run-1").unwrap().state, State::Running);
    assert_eq!(asked(&server), ["POST /api/v1/jobs", "DELETE /api/v1/jobs/run-1"]);
    assert!(matches!(client.job("a/b"), Err(Error::Identity { .. })));
    assert!(matches!(client.start_job("a/b", Kind::Sync, &Map::new()), Err(Error::Identity { .. })));
    server.faults(&[Some(Fault::NotFound)]);
    assert!(matches!(client.job("run-2"), Err(Error::Refused { status: 404, .. })));
}

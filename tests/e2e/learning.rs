//! From behaviours to recommendations that were learned from them: jobs, and the
//! channels that stand on what they make.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, configure, feed, import, item, job, ndjson, recommend, settle, slate},
    harness::{Client, Server, eventually, shared},
};

/// Two circles of users, each with ten items of its own; nothing but behaviours tells
/// the items apart. Item `i<n>` is of circle `n % 2`.
fn circles(client: &Client) {
    feed(client);
    import(client, &(0..20).map(|at| item(&format!("i{at}"), "c", "t")).collect::<Vec<_>>());
    let events: Vec<Value> = (0..40)
        .flat_map(|user| {
            (0..10)
                .filter(move |at| at % 5 != user / 2 % 5)
                .map(move |at| event(&format!("u{user}"), 2 * at + user % 2))
        })
        .collect();
    behave(client, &events);
}

fn event(user: &str, item: usize) -> Value {
    json!({"event_id": format!("{user}-{item}"), "scenario_id": FEED, "user_id": user, "item_id": format!("i{item}"),
           "action_type": "click"})
}

fn behave(client: &Client, events: &[Value]) {
    client.call("POST", "/api/v1/behaviors").body("application/x-ndjson", ndjson(events)).expect(202);
    settle(client);
}

/// Has a job run to its end, which is a good one.
fn run(client: &Client, kind: &str, params: &Value) -> Value {
    let over = job(client, kind, params);
    assert_eq!(over["state"], "succeeded", "{over}");
    over
}

/// What one channel alone recommends.
fn by(client: &Client, channel: &str, user: &str) -> Vec<String> {
    let params = if channel == "vector_search" { json!({"vectors": "factors"}) } else { json!({}) };
    let strategies = json!([{"name": channel, "limit": 50, "params": params}]);
    configure(client, &json!({"recall": {"strategies": strategies}, "exposure": {"enabled": false}}));
    let reply = recommend(client, user, 20);
    assert_eq!(reply.json()["degraded"], json!([]), "{channel}");
    slate(&reply)
}

const CHANNELS: [&str; 3] = ["item_cf", "user_cf", "vector_search"];

fn of_circle(ids: &[String], circle: usize) -> usize {
    ids.iter().filter(|id| id[1..].parse::<usize>().unwrap() % 2 == circle).count()
}

#[test]
fn what_is_learned_recommends_to_old_users_and_new_ones() {
    let client = shared().tenant("learning");
    circles(&client);
    for channel in CHANNELS {
        assert!(by(&client, channel, "u1").is_empty(), "{channel} has learned nothing yet");
    }
    let similarity = run(&client, "similarity", &json!({}));
    assert_eq!((&similarity["outcome"]["users"], &similarity["outcome"]["items"]), (&json!(40), &json!(20)));
    run(&client, "embeddings", &json!({"dimensions": 8}));
    // Somebody who came afterwards; one behaviour says where they belong.
    behave(&client, &[event("late", 3)]);
    for (channel, user) in CHANNELS.into_iter().flat_map(|channel| [(channel, "u1"), (channel, "late")]) {
        let ids = by(&client, channel, user);
        assert!(ids.len() >= 2 && of_circle(&ids[..2], 1) == 2, "{channel} for {user}: {ids:?}");
        assert!(!ids.contains(&"i3".to_owned()) || user == "u1", "{channel}: {ids:?} has what {user} knows");
    }
    assert!(CHANNELS.iter().all(|channel| by(&client, channel, "nobody").is_empty()));

    // Another tenant's scenario of the same name, with the same items, has none of it.
    let other = shared().tenant("learning-other");
    feed(&other);
    import(&other, &(0..20).map(|at| item(&format!("i{at}"), "c", "t")).collect::<Vec<_>>());
    behave(&other, &[event("u1", 3)]);
    assert!(CHANNELS.iter().all(|channel| by(&other, channel, "u1").is_empty()));
    assert_eq!(other.get("/api/v1/jobs").expect(200).json()["jobs"], json!([]));
    let id = similarity["run_id"].as_str().unwrap();
    other.get(&format!("/api/v1/jobs/{id}")).expect(404);

    // What is deleted is forgotten, and does not come back with the name.
    client.delete("/api/v1/scenarios/feed").expect(204);
    assert_eq!(client.get("/api/v1/jobs").expect(200).json()["jobs"], json!([]));
    feed(&client);
    import(&client, &(0..20).map(|at| item(&format!("i{at}"), "c", "t")).collect::<Vec<_>>());
    behave(
        &client,
        &[json!({"event_id": "again", "scenario_id": FEED, "user_id": "u1", "item_id": "i3",
                             "action_type": "click"})],
    );
    assert!(CHANNELS.iter().all(|channel| by(&client, channel, "u1").is_empty()));
}

#[test]
fn the_last_good_model_outlives_a_crash_in_training() {
    let mut server = Server::start();
    let client = server.tenant("learning-crash");
    circles(&client);
    run(&client, "similarity", &json!({}));
    run(&client, "embeddings", &json!({"dimensions": 8}));
    let before: Vec<_> = CHANNELS.map(|channel| by(&client, channel, "u1")).into();
    assert!(before.iter().all(|ids| !ids.is_empty()));
    let long = json!({"scenario_id": FEED, "kind": "embeddings", "params": {"dimensions": 256, "epochs": 1000}});
    let id = client.post("/api/v1/jobs", &long).expect(202).json()["run_id"].as_str().unwrap().to_owned();
    let state = |client: &Client| client.get(&format!("/api/v1/jobs/{id}")).expect(200).json();
    eventually("it is at work", Duration::from_secs(10), || (state(&client)["state"] == "running").then_some(()));
    // One of a kind at a time.
    let second = client.post("/api/v1/jobs", &long).expect(409);
    assert!(second.text().contains(&id), "{}", second.text());
    server.kill9();
    server.restart();
    let client = server.tenant("learning-crash");
    for (channel, ids) in CHANNELS.iter().zip(&before) {
        assert_eq!(by(&client, channel, "u1"), *ids, "{channel}");
    }
    assert_eq!(state(&client)["state"], "running", "it is taken up when its lease has run out");
}

#[test]
fn a_job_says_what_is_wrong_with_it() {
    let client = shared().tenant("learning-refused");
    feed(&client);
    let refused = |body: &Value, status: u16, field: &str| {
        let reply = client.post("/api/v1/jobs", body).expect(status);
        assert_eq!(reply.json()["error"]["field"], field, "{}", reply.text());
    };
    refused(&json!({"scenario_id": FEED, "kind": "similarities"}), 400, "kind");
    refused(&json!({"scenario_id": FEED, "kind": "similarity", "params": {"neighbours": 0}}), 400, "params.neighbours");
    refused(&json!({"scenario_id": FEED, "kind": "similarity", "params": {"neighbors": 5}}), 400, "params.neighbors");
    client.post("/api/v1/jobs", &json!({"scenario_id": "none", "kind": "similarity"})).expect(404);
    client.get("/api/v1/jobs/none").expect(404);
    client.delete("/api/v1/jobs/none").expect(404);
    let patch = json!({"config": {"jobs": {"similarity": {"schedule": "61 * * * *"}}}});
    let reply = client.patch("/api/v1/scenarios/feed", &patch).expect(422);
    assert_eq!(reply.json()["error"]["field"], "config.jobs.similarity.schedule", "{}", reply.text());
    // Nothing to learn from is no failure, and says so.
    let run = run(&client, "similarity", &json!({}));
    assert!(run["outcome"]["note"].is_string(), "{run}");
}

#[test]
fn who_is_deleted_is_in_nothing_that_was_learned() {
    let mut server = Server::start();
    let client = server.tenant("learning-deleted");
    circles(&client);
    run(&client, "similarity", &json!({}));
    run(&client, "embeddings", &json!({"dimensions": 8}));
    let picks = |client: &Client, user: &str| {
        let path = format!("/api/v1/profiles/feed/{user}/similar-users/items?count=20");
        slate(&client.get(&path).expect(200))
    };
    assert!(CHANNELS.iter().all(|channel| !by(&client, channel, "u1").is_empty()) && !picks(&client, "u1").is_empty());
    let other: Vec<_> = CHANNELS.map(|channel| by(&client, channel, "u3")).into();

    client.delete("/api/v1/users/u1").expect(200);
    let is_forgotten = |client: &Client| {
        for channel in CHANNELS {
            assert!(by(client, channel, "u1").is_empty(), "{channel}");
        }
        assert!(picks(client, "u1").is_empty());
    };
    is_forgotten(&client);
    server.kill9();
    server.restart();
    let client = server.tenant("learning-deleted");
    is_forgotten(&client);
    // Others lose a neighbour, and nothing else.
    for (channel, before) in CHANNELS.iter().zip(&other) {
        let ids = by(&client, channel, "u3");
        assert!(of_circle(&ids[..2], 1) == 2 && ids.len() + 1 >= before.len(), "{channel}: {before:?} {ids:?}");
    }
    // Nor does the next training know them.
    run(&client, "similarity", &json!({}));
    is_forgotten(&client);
}

//! Slates made ahead of time: what the job makes, and what the channel `precomputed`
//! makes of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, act, configure, feed, import, item, job, ndjson, recommend, scenario, slate, strings},
    harness::{Client, Reply, Server, eventually, shared},
};

const COUNT: usize = 20;

/// Forty items of four categories, and three users who like one each.
fn visitors(server: &Server, name: &str) -> Client {
    let client = server.tenant(name);
    feed(&client);
    let items: Vec<Value> = (0..40).map(|at| item(&format!("i{at:02}"), &format!("c{}", at % 4), "t")).collect();
    import(&client, &items);
    for (at, user) in ["ann", "bob", "cid"].into_iter().enumerate() {
        act(&client, user, "like", &format!("i{at:02}"));
    }
    client
}

fn precompute(client: &Client, params: &Value) -> Value {
    let run = job(client, "precompute", params);
    assert_eq!(run["state"], "succeeded", "{run}");
    run["outcome"].clone()
}

/// Serves with these channels alone.
fn serve_by(client: &Client, strategies: &Value) {
    configure(client, &json!({"recall": {"strategies": strategies}}));
}

/// What the channel offers a user, in its order.
fn offered(client: &Client, user: &str) -> Vec<String> {
    let body = json!({"scenario_id": FEED, "count": COUNT});
    let reply = client.post("/api/v1/recommend?explain=true", &body).user(user).expect(200).json();
    assert_eq!(reply["degraded"], json!([]));
    let recall = reply["explain"]["recall"].as_array().unwrap();
    let channel = recall.iter().find(|channel| channel["stage"] == "precomputed").unwrap();
    strings(&channel["items"], "item_id")
}

/// That these are what the funnel recommended, in its order but for scores that the
/// time between the two has brought level.
fn assert_recommended(offered: &[String], full: &Reply) {
    let items = full.json()["items"].clone();
    let score = |id: &String| {
        let found = items.as_array().unwrap().iter().find(|item| item["item_id"] == **id);
        found.unwrap_or_else(|| panic!("{id} is not in {items}"))["score"].as_f64().unwrap()
    };
    let scores: Vec<f64> = offered.iter().map(score).collect();
    assert!(scores.is_sorted_by(|one, next| *one >= next - 1e-2), "{offered:?} {scores:?}");
    let (mut one, mut other) = (offered.to_vec(), slate(full));
    one.sort_unstable();
    other.sort_unstable();
    assert_eq!(one, other);
}

#[test]
fn a_slate_is_what_the_whole_funnel_recommends() {
    let client = visitors(shared(), "precompute");
    let full = ["ann", "bob"].map(|user| recommend(&client, user, COUNT));
    assert_ne!(slate(&full[0]), slate(&full[1]));
    let outcome = precompute(&client, &json!({"count": COUNT}));
    assert_eq!((&outcome["users"], &outcome["slates"]), (&json!(3), &json!(3)), "{outcome}");
    serve_by(&client, &json!([{"name": "precomputed"}]));
    for (user, full) in ["ann", "bob"].into_iter().zip(&full) {
        assert_recommended(&offered(&client, user), full);
        let mut served = slate(&recommend(&client, user, COUNT));
        served.sort_unstable();
        let mut full = slate(full);
        full.sort_unstable();
        assert_eq!(served, full, "{user}");
    }
    let first = &offered(&client, "ann")[0];
    let without = json!({"scenario_id": FEED, "count": COUNT, "exclude_items": [first]});
    let reply = client.post("/api/v1/recommend", &without).user("ann").expect(200);
    assert_eq!(slate(&reply).len(), COUNT - 1);
    assert!(!slate(&reply).contains(first));

    // Who was not there is served by the others.
    assert!(offered(&client, "new").is_empty());
    serve_by(&client, &json!([{"name": "precomputed"}, {"name": "latest", "weight": 0.1}]));
    assert_eq!(slate(&recommend(&client, "new", COUNT)).len(), COUNT);
    assert_eq!(slate(&recommend(&client, "ann", 40)).len(), 40);

    // Who is deleted has no slate, nor has who comes after them.
    client.delete("/api/v1/users/bob").expect(200);
    assert!(offered(&client, "bob").is_empty());
    act(&client, "bob", "like", "i07");
    assert!(offered(&client, "bob").is_empty());
    assert_recommended(&offered(&client, "ann"), &full[0]);

    let other = visitors(shared(), "precompute-other");
    serve_by(&other, &json!([{"name": "precomputed"}]));
    assert!(offered(&other, "ann").is_empty());
    // The way to the slates is the host's own.
    let body = json!({"scenario_id": FEED, "count": 3, "config": scenario(FEED)["config"]});
    client.post("/internal/slate", &body).user("ann").expect(404);
}

#[test]
fn a_slate_is_not_shown_before_it_is_served() {
    let client = visitors(shared(), "precompute-exposure");
    configure(&client, &json!({"exposure": {"enabled": true}}));
    let shown = slate(&recommend(&client, "ann", 5));
    precompute(&client, &json!({"count": COUNT}));
    serve_by(&client, &json!([{"name": "precomputed"}]));
    let served = slate(&recommend(&client, "ann", COUNT));
    assert_eq!(served.len(), COUNT);
    assert!(served.iter().all(|item| !shown.contains(item)), "what was shown lately is not in it");
    assert!(slate(&recommend(&client, "ann", COUNT)).is_empty());
}

#[test]
fn a_heavy_funnel_ahead_and_a_light_one_live() {
    let client = visitors(shared(), "precompute-heavy");
    let full = recommend(&client, "ann", COUNT);
    let heavy = &scenario(FEED)["config"]["recall"];
    let params = json!({"count": COUNT, "funnel": {"recall": heavy}});
    configure(&client, &json!({"jobs": {"precompute": {"params": params}}}));
    serve_by(&client, &json!([{"name": "precomputed"}, {"name": "latest"}]));
    precompute(&client, &json!({}));
    assert_recommended(&offered(&client, "ann"), &full);
    let unknown = json!({"funnel": {"recall": {"strategies": [{"name": "hot_itmes"}]}}});
    let refused = json!({"scenario_id": FEED, "kind": "precompute", "params": unknown});
    let error = client.post("/api/v1/jobs", &refused).expect(400).json()["error"].clone();
    assert_eq!(error["field"], "params.funnel.recall.strategies[0].name");
    assert!(error["message"].as_str().unwrap().contains("hot_items"), "{error}");
}

#[test]
fn a_run_that_fails_leaves_the_last_good_slates() {
    let client = visitors(shared(), "precompute-fails");
    precompute(&client, &json!({}));
    serve_by(&client, &json!([{"name": "precomputed"}]));
    let before = offered(&client, "ann");
    assert_eq!(before.len(), 40);
    let failed = |params: &Value| {
        let run = job(&client, "precompute", params);
        assert_eq!(run["state"], "failed", "{run}");
        run["error"].as_str().unwrap().to_owned()
    };
    let said = failed(&json!({}));
    assert!(said.contains("`precomputed`") && said.contains("params.funnel.recall"), "{said}");
    // A stage that does not do its part.
    let said = failed(&json!({"funnel": {"recall": {"strategies": [{"name": "latest", "params": {"x": 1}}]}}}));
    assert!(said.contains("latest") && said.contains("3 of 3"), "{said}");
    assert_eq!(offered(&client, "ann"), before);
}

/// Has slates made for the three, and begins to make them for four thousand more; the
/// path of the run that is at work.
fn crowd(client: &Client) -> String {
    precompute(client, &json!({}));
    serve_by(client, &json!([{"name": "precomputed"}]));
    let events: Vec<Value> = (0..4000)
        .map(|user| {
            json!({"event_id": format!("e{user}"), "scenario_id": FEED, "user_id": format!("u{user}"),
                   "item_id": format!("i{:02}", user % 40), "action_type": "click"})
        })
        .collect();
    for events in events.chunks(1000) {
        client.call("POST", "/api/v1/behaviors").body("application/x-ndjson", ndjson(events)).expect(202);
    }
    let funnel = json!({"recall": scenario(FEED)["config"]["recall"]});
    let body = json!({"scenario_id": FEED, "kind": "precompute", "params": {"funnel": funnel}});
    let begun = client.post("/api/v1/jobs", &body).expect(202);
    let path = format!("/api/v1/jobs/{}", begun.json()["run_id"].as_str().unwrap());
    eventually("it is at work", Duration::from_secs(10), || {
        (client.get(&path).expect(200).json()["state"] == "running").then_some(())
    });
    path
}

#[test]
fn a_run_that_is_cancelled_leaves_the_last_good_slates() {
    let client = visitors(shared(), "precompute-cancelled");
    let path = crowd(&client);
    client.delete(&path).send().assert_status(&[200, 202]);
    let over = eventually("it is over", Duration::from_secs(10), || {
        let run = client.get(&path).expect(200).json();
        (run["state"] != "running").then_some(run)
    });
    assert_eq!(over["state"], "cancelled", "{over}");
    assert_eq!(offered(&client, "ann").len(), 40);
    assert!(offered(&client, "u7").is_empty());
}

#[test]
fn a_crash_leaves_the_last_good_slates() {
    let mut server = Server::start();
    let path = crowd(&visitors(&server, "precompute-crash"));
    server.kill9();
    server.restart();
    let client = server.tenant("precompute-crash");
    assert_eq!(offered(&client, "ann").len(), 40);
    assert!(offered(&client, "u7").is_empty());
    assert_eq!(client.get(&path).expect(200).json()["state"], "running", "it begins again when its lease has run out");
}

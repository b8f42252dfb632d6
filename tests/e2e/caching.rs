//! Answers that are given again, and feeds of many pages.

use std::{collections::HashSet, fs, thread};

use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, act, configure, dated, feed, import, item, recommend, slate},
    harness::{Client, Reply, shared, workspace},
};

/// A tenant with `count` items, the newest of which has the greatest number, and a cache.
fn tenant(name: &str, count: usize) -> Client {
    let client = shared().tenant(name);
    feed(&client);
    configure(&client, &json!({"cache": {"enabled": true}, "recall": {"strategies": [{"name": "latest"}]}}));
    let items = dated(count, |at| format!("i{at:04}"));
    items.chunks(1000).for_each(|items| import(&client, items));
    client
}

/// What an answer says that the cache did.
fn cache(reply: &Reply) -> &str {
    let said = reply.header("cache-status").strip_prefix("funnelweb; ").unwrap();
    said.split("; ttl").next().unwrap()
}

const STORED: &str = "fwd=miss; stored";

/// A counter of looks for results, of all tenants.
fn counted(client: &Client, series: &str) -> f64 {
    let text = client.get("/metrics").expect(200).text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    line.unwrap_or_default()
}

#[test]
fn the_same_is_answered_again_until_something_changes() {
    let client = tenant("caching", 30);
    let hits = || counted(&client, "funnelweb_results_lookups_total{outcome=\"hit\"}");
    let before = hits();
    let first = recommend(&client, "ann", 5);
    assert_eq!(cache(&first), STORED);
    let again = recommend(&client, "ann", 5);
    assert_eq!(cache(&again), "hit", "{}", again.header("cache-status"));
    assert_eq!((slate(&again), again.json()["user_id"].as_str()), (slate(&first), Some("ann")));
    assert_ne!(again.json()["request_id"], first.json()["request_id"]);
    assert!(hits() > before);
    let explained =
        client.post("/api/v1/recommend?explain=true", &json!({"scenario_id": FEED, "count": 5})).user("ann");
    assert_eq!(cache(&explained.expect(200)), "fwd=bypass");
    // Somebody else, another body, what the user does, and the config.
    assert_eq!(cache(&recommend(&client, "bob", 5)), STORED);
    assert_eq!(cache(&recommend(&client, "ann", 6)), STORED);
    act(&client, "ann", "like", "i0007");
    assert_eq!(cache(&recommend(&client, "ann", 5)), STORED);
    assert_eq!(cache(&recommend(&client, "ann", 5)), "hit");
    configure(&client, &json!({"cache": {"ttl_seconds": 60}}));
    assert_eq!(cache(&recommend(&client, "ann", 5)), STORED);
    let fresh = recommend(&client, "ann", 5);
    assert!(["funnelweb; hit; ttl=60", "funnelweb; hit; ttl=59"].contains(&fresh.header("cache-status")));
    // An item that is gone, or inactive, is in no answer.
    client.delete("/api/v1/items/feed/i0029").expect(204);
    let without = recommend(&client, "ann", 5);
    assert_eq!((cache(&without), &*slate(&without)[0]), (STORED, "i0028"));
    client.patch("/api/v1/items/feed/i0028", &json!({"status": "inactive"})).expect(200);
    assert_eq!(slate(&recommend(&client, "ann", 5))[0], "i0027");
    assert_eq!(cache(&recommend(&client, "ann", 5)), "hit");
    client.delete("/api/v1/users/ann").send().assert_status(&[200, 204]);
    assert_eq!(cache(&recommend(&client, "ann", 5)), STORED, "it went with the user");
    configure(&client, &json!({"cache": {"enabled": false}}));
    assert_eq!(cache(&recommend(&client, "ann", 5)), "fwd=bypass");
}

#[test]
fn a_hit_counts_the_places_that_it_gives() {
    let client = tenant("caching-places", 3);
    configure(&client, &json!({"exposure": {"enabled": true}}));
    for expected in [STORED, "hit", "hit"] {
        let reply = recommend(&client, "ann", 3);
        assert_eq!((cache(&reply), slate(&reply).len()), (expected, 3));
    }
    // What was shown is known, for when the cache is not asked.
    configure(&client, &json!({"cache": {"enabled": null}}));
    let reply = recommend(&client, "ann", 3);
    assert_eq!((cache(&reply), slate(&reply).len()), ("fwd=bypass", 0));
}

#[test]
fn a_stampede_is_computed_once() {
    let client = tenant("caching-stampede", 50);
    let calls = || counted(&client, "funnelweb_results_lookups_total{outcome=\"miss\"}");
    let before = calls();
    let replies: Vec<Reply> = thread::scope(|scope| {
        let all: Vec<_> = (0..32).map(|_| scope.spawn(|| recommend(&client, "ann", 20))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let stored = replies.iter().filter(|reply| cache(reply) == STORED).count();
    assert_eq!(stored, 1, "{:?}", replies.iter().map(cache).collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| slate(reply) == slate(&replies[0])));
    // Other tests look for others meanwhile.
    assert!(calls() > before);
}

#[test]
fn what_is_stale_is_given_once_more_and_computed_anew() {
    let client = tenant("caching-stale", 10);
    configure(&client, &json!({"cache": {"ttl_seconds": 1, "stale_seconds": 600}}));
    recommend(&client, "ann", 2);
    import(&client, &[item("new", "c", "t")]);
    thread::sleep(std::time::Duration::from_millis(1100));
    let stale = recommend(&client, "ann", 2);
    assert_eq!((cache(&stale), &*slate(&stale)[0]), ("hit", "i0009"), "{}", stale.header("cache-status"));
    crate::harness::eventually("it is computed anew", std::time::Duration::from_secs(10), || {
        (slate(&recommend(&client, "ann", 2))[0] == "new").then_some(())
    });
    // It was for nobody in particular.
    let metrics = counted(&client, "funnelweb_results_revalidations_total{outcome=\"done\"}");
    assert!(metrics >= 1.0);
}

#[test]
fn a_model_that_is_activated_ends_what_was_answered() {
    let client = shared().tenant("caching-models");
    let onnx = fs::read(workspace().join("components/ranker/fixtures/lightgbm.onnx")).unwrap();
    feed(&client);
    import(&client, &(0..10).map(|at| item(&format!("i{at}"), "c", "t")).collect::<Vec<_>>());
    configure(&client, &json!({"cache": {"enabled": true}, "recall": {"strategies": [{"name": "latest"}]}}));
    let features = crate::models::item_features(&crate::models::manifest(&onnx));
    configure(&client, &json!({"features": {"item_features": features}, "rank": {"model": "lightgbm"}}));
    crate::models::upload(&client, &onnx).assert_status(&[201]);
    // The linear ranker stands in: that is worth a moment and no more.
    let degraded = recommend(&client, "ann", 5);
    assert_ne!(degraded.json()["degraded"], json!([]));
    crate::models::activate(&client, "lightgbm", "v1").assert_status(&[200]);
    let ranked = recommend(&client, "ann", 5);
    assert_eq!((cache(&ranked), &ranked.json()["degraded"]), (STORED, &json!([])));
    assert_eq!(cache(&recommend(&client, "ann", 5)), "hit");
}

/// A page of [`FEED`].
fn page(client: &Client, path: &str, mut request: Value, cursor: &Value) -> (Vec<String>, Value) {
    request["scenario_id"] = json!(FEED);
    if !cursor.is_null() {
        request["cursor"] = cursor.clone();
    }
    let reply = client.post(path, &request).user("ann").expect(200);
    (slate(&reply), reply.json()["next_cursor"].clone())
}

#[test]
fn a_feed_of_fifty_pages_serves_everything_once() {
    let client = tenant("feeds", 1010);
    for exposure in [false, true] {
        configure(&client, &json!({"cache": {"enabled": null}, "exposure": {"enabled": exposure}}));
        let ask = |cursor: &Value| page(&client, "/api/v1/recommend", json!({"count": 20}), cursor);
        let (mut served, mut cursor) = ask(&Value::Null);
        let (mut pages, mut second) = (1, None);
        while !cursor.is_null() {
            let (items, next) = ask(&cursor);
            if pages == 1 {
                second = Some((cursor.clone(), items.clone()));
            }
            served.extend(items);
            (pages, cursor) = (pages + 1, next);
        }
        let expected: Vec<String> = (0..1010).rev().map(|at| format!("i{at:04}")).collect();
        assert_eq!((pages, served.len()), (51, 1010));
        assert_eq!(served, expected, "exposure {exposure}");
        let (cursor, items) = second.unwrap();
        assert_eq!(ask(&cursor).0, items, "a page that is asked for again, exposure {exposure}");
    }
}

#[test]
fn a_feed_is_of_one_user_and_scenario() {
    let client = tenant("feeds-cursors", 30);
    let (_, cursor) = page(&client, "/api/v1/recommend", json!({"count": 10}), &Value::Null);
    let refused = |user: &str, body: Value| {
        let reply = client.post("/api/v1/recommend", &body).user(user).expect(400).json();
        assert_eq!((&reply["error"]["code"], &reply["error"]["field"]), (&json!("invalid_field"), &json!("cursor")));
        reply["error"]["message"].as_str().unwrap().to_owned()
    };
    let body = |cursor: Value| json!({"scenario_id": FEED, "cursor": cursor});
    assert!(refused("bob", body(cursor.clone())).contains("another user"));
    let other = json!({"scenario_id": "other", "cursor": cursor});
    assert!(refused("ann", other).contains("another scenario"));
    let text = cursor.as_str().unwrap();
    assert!(refused("ann", body(json!(&text[..text.len() - 1]))).contains("damaged"));
    assert!(refused("ann", body(json!(format!("{text}AAAA")))).contains("damaged"));
    refused("ann", body(json!(7)));
    // A session's are its own.
    let session = json!({"behaviors": [{"item_id": "i0003", "action_type": "view"}], "count": 10});
    let path = "/api/v1/recommend/session";
    let (mut served, mut next) = page(&client, path, session.clone(), &Value::Null);
    while !next.is_null() {
        let (items, after) = page(&client, path, session.clone(), &next);
        served.extend(items);
        next = after;
    }
    let unique: HashSet<&String> = served.iter().collect();
    assert_eq!((served.len(), unique.len()), (30, 30));
}

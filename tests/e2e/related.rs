//! Recommendations beside the feed: for a session, what is similar, popular, new;
//! and what the feed explores.

use std::{collections::BTreeMap, sync::Mutex, thread};

use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, act, configure, feed, import, item, recommend, settle, slate},
    harness::{Call, Client, shared},
};

/// A tenant with ten items of each of two categories.
fn catalogue(name: &str) -> Client {
    let client = shared().tenant(name);
    feed(&client);
    import(&client, &(0..20).map(|at| item(&format!("i{at:02}"), ["a", "b"][at % 2], "t")).collect::<Vec<_>>());
    client
}

fn refused(call: Call<'_>, status: u16, code: &str, field: &str) {
    let reply = call.expect(status);
    let error = &reply.json()["error"];
    assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{}", reply.text());
}

fn session(behaviors: &Value, count: usize) -> Value {
    json!({"scenario_id": FEED, "count": count, "behaviors": behaviors})
}

#[test]
fn a_session_needs_no_user_and_leaves_no_trace() {
    let client = catalogue("related-session");
    configure(&client, &json!({"exposure": {"enabled": true}}));
    let liked = |item: &str| json!([{"item_id": item, "action_type": "like"}]);
    let ask = |body: &Value| client.post("/api/v1/recommend/session", body).without("x-user-id");
    for (item, category) in [("i00", 0), ("i01", 1), ("i00", 0)] {
        let reply = ask(&session(&liked(item), 8)).expect(200);
        let body = reply.json();
        assert!(body.get("user_id").is_none() && body["degraded"] == json!([]), "{body}");
        let ids = slate(&reply);
        let matching = ids.iter().filter(|id| id[1..].parse::<usize>().unwrap() % 2 == category);
        assert!(ids.len() == 8 && matching.count() >= 7, "{item} is liked: {ids:?}");
    }
    // Nothing was noted, of nobody and not of the user whom a gateway names.
    let again = |body: &Value| slate(&client.post("/api/v1/recommend/session", body).user("ann").expect(200));
    assert_eq!(again(&session(&liked("i00"), 8)), again(&session(&liked("i00"), 8)));
    client.get("/api/v1/profiles/feed/ann").expect(404);
    assert_eq!(slate(&recommend(&client, "ann", 20)).len(), 20);
    // Without behaviours it is a new user's; what is excluded stays away.
    let mut body = session(&json!([]), 20);
    body["exclude_items"] = json!(["i03"]);
    body["return_metadata"] = json!(true);
    let reply = ask(&body).expect(200);
    assert!(slate(&reply).len() == 19 && !slate(&reply).contains(&"i03".to_owned()));
    assert_eq!(reply.json()["items"][0]["metadata"]["tags"], json!(["t"]));
    let explained = client.post("/api/v1/recommend/session?explain=true", &session(&liked("i00"), 3)).expect(200);
    assert!(explained.json()["explain"]["recall"].is_array());
}

#[test]
fn a_session_says_what_is_wrong_with_it() {
    let client = catalogue("related-session-errors");
    let ask = |body: &Value| client.post("/api/v1/recommend/session", body).without("x-user-id");
    let behaviors = json!([{"item_id": "i00", "action_type": "like"}, {"item_id": "a/b", "action_type": "like"}]);
    refused(ask(&session(&behaviors, 8)), 400, "invalid_field", "behaviors[1].item_id");
    refused(ask(&json!({"scenario_id": FEED})), 400, "invalid_field", "behaviors");
    refused(ask(&session(&json!([]), 0)), 400, "invalid_field", "count");
    refused(ask(&json!({"scenario_id": "none", "behaviors": []})), 404, "scenario_not_found", "scenario_id");
}

#[test]
fn popular_is_hot_and_latest_is_new() {
    let client = catalogue("related-lists");
    let get = |path: &str| client.get(path).without("x-user-id").expect(200);
    let nothing = get("/api/v1/popular/feed").json();
    assert!(nothing["items"] == json!([]) && nothing.get("source").is_none(), "{nothing}");
    for (item, times) in [("i04", 3), ("i07", 2), ("i02", 1)] {
        (0..times).for_each(|_| act(&client, "ann", "click", item));
    }
    let popular = get("/api/v1/popular/feed");
    assert_eq!(slate(&popular), ["i04", "i07", "i02"]);
    assert_eq!((&popular.json()["source"], &popular.json()["scenario_id"]), (&json!("hot_items"), &json!(FEED)));
    assert_eq!((&popular.json()["items"][0]["rank"], &popular.json()["items"][0]["score"]), (&json!(1), &json!(1.0)));
    assert_eq!(slate(&get("/api/v1/popular/feed?category=a&count=1")), ["i04"]);
    client.patch("/api/v1/items/feed/i04", &json!({"status": "inactive"})).expect(200);
    assert_eq!(slate(&get("/api/v1/popular/feed")), ["i07", "i02"]);

    client.post("/api/v1/items/feed", &item("new", "a", "t")).expect(201);
    let latest = get("/api/v1/latest/feed?count=3&return_metadata=true");
    assert_eq!((slate(&latest)[0].as_str(), slate(&latest).len()), ("new", 3));
    assert_eq!(latest.json()["items"][0]["metadata"]["title"], "About new");
    let others = slate(&get("/api/v1/latest/feed?category=a&exclude_items=new,i00"));
    assert_eq!(others.len(), 8, "ten of the category, less the inactive and the excluded: {others:?}");
}

#[test]
fn similar_items_share_what_is_known_of_them() {
    let client = catalogue("related-similar");
    // Nothing was learned yet, and nobody gave vectors: content speaks.
    let similar = client.get("/api/v1/items/feed/i00/similar?count=5").without("x-user-id").expect(200);
    assert_eq!(similar.json()["source"], "content_based");
    let ids = slate(&similar);
    assert!(ids.len() == 5 && ids.iter().all(|id| id[1..].parse::<usize>().unwrap() % 2 == 0), "{ids:?}");
    assert!(!ids.contains(&"i00".to_owned()));
    // A user without neighbours has no picks of theirs.
    let picks = client.get("/api/v1/profiles/feed/ann/similar-users/items").expect(200).json();
    assert_eq!(picks["items"], json!([]));
}

#[test]
fn lists_say_what_is_wrong_with_a_request() {
    let client = catalogue("related-errors");
    let lists = ["popular/{}", "latest/{}", "items/{}/i00/similar", "profiles/{}/ann/similar-users/items"];
    for list in lists.map(|list| format!("/api/v1/{list}")) {
        let path = |scenario: &str| list.replace("{}", scenario);
        refused(client.get(&path("none")), 404, "scenario_not_found", "scenario_id");
        refused(client.get(&path("a%2Fb")), 400, "invalid_field", "scenario_id");
        refused(client.get(&format!("{}?count=201", path(FEED))), 400, "invalid_parameter", "count");
        refused(client.get(&format!("{}?size=1", path(FEED))), 400, "invalid_parameter", "size");
    }
    refused(client.get("/api/v1/items/feed/none/similar"), 404, "item_not_found", "item_id");
    client.patch("/api/v1/scenarios/feed", &json!({"status": "inactive"})).expect(200);
    refused(client.get("/api/v1/latest/feed"), 409, "scenario_inactive", "scenario_id");
}

/// A tenant whose feed explores a quarter of the places.
fn exploring(name: &str, budget: usize) -> Client {
    let client = catalogue(name);
    let strategies = json!([{"name": "latest"}, {"name": "explore", "weight": 0, "params": {"budget": budget}}]);
    configure(&client, &json!({"recall": {"strategies": strategies}, "exploration": {"share": 0.25}}));
    client
}

/// The ids of a slate of which exploration gave places.
fn explored(body: &Value) -> Vec<String> {
    let items = body["items"].as_array().unwrap().iter().filter(|item| item["explored"] == json!(true));
    items.map(|item| item["item_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn new_items_have_their_places_though_no_client_reports_any() {
    const BUDGET: usize = 3;
    let client = exploring("related-budget", BUDGET);
    let mut places: BTreeMap<String, usize> = (0..20).map(|at| (format!("i{at:02}"), 0)).collect();
    let (mut slates, mut idle) = (0, 0);
    while idle < 10 {
        // Of users, and of nobody.
        let reply = match slates % 2 {
            0 => recommend(&client, &format!("u{slates}"), 4),
            _ => client.post("/api/v1/recommend/session", &session(&json!([]), 4)).expect(200),
        };
        let explored = explored(&reply.json());
        for id in &explored {
            assert!(places[id] < BUDGET, "{id} had its {BUDGET} places before slate {slates}");
        }
        for id in slate(&reply) {
            *places.get_mut(&id).unwrap() += 1;
        }
        idle = if explored.is_empty() { idle + 1 } else { 0 };
        slates += 1;
        assert!(slates < 200, "it never ends: {places:?}");
    }
    assert!(places.values().all(|had| *had >= BUDGET), "{places:?}");
    // Those that have no place by their rank had what they were promised, and no more.
    assert!(places.values().filter(|had| **had == BUDGET).count() >= 16, "{places:?}");
}

/// How far above its budget an item gets: by the other requests under way.
#[test]
fn clients_at_once_hardly_surpass_the_budget() {
    const BUDGET: usize = 5;
    const CLIENTS: usize = 16;
    let client = exploring("related-budget-race", BUDGET);
    let places: Mutex<BTreeMap<String, usize>> = Mutex::default();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, places) = (client.clone(), &places);
            scope.spawn(move || {
                for round in 0..12 {
                    let body = recommend(&client, &format!("u{number}-{round}"), 4).json();
                    for id in explored(&body) {
                        *places.lock().unwrap().entry(id).or_default() += 1;
                    }
                }
            });
        }
    });
    let places = places.into_inner().unwrap();
    assert!(places.values().all(|had| *had < BUDGET + CLIENTS), "{places:?}");
    assert!(explored(&recommend(&client, "late", 4).json()).is_empty(), "{places:?}");
}

#[test]
fn new_items_are_explored_until_they_were_shown_enough() {
    let client = exploring("related-explore", 40);
    let explored = |user: &str| -> Vec<Value> {
        let body = recommend(&client, user, 8).json();
        assert_eq!((body["items"].as_array().unwrap().len(), &body["degraded"]), (8, &json!([])));
        body["items"].as_array().unwrap().iter().filter(|item| item["explored"] == json!(true)).cloned().collect()
    };
    let places = explored("ann");
    assert_eq!(places.len(), 2);
    assert!(places.iter().all(|item| item["sources"].as_array().unwrap().contains(&json!("explore"))), "{places:?}");
    // Whose likings are known sees what ranks best first.
    act(&client, "bob", "like", "i00");
    for _ in 0..10 {
        assert!(explored("bob").iter().all(|item| item["rank"] != json!(1)));
    }
    // Where clients report more than was served, that counts.
    let shown =
        |item: usize| json!({"scenario_id": FEED, "item_id": format!("i{item:02}"), "action_type": "impression"});
    let impressions: Vec<Value> = (0..800).map(|at| shown(at % 20)).collect();
    client.post("/api/v1/behaviors", &json!(impressions)).expect(202);
    settle(&client);
    assert!(explored("ann").is_empty());
}

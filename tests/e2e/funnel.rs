//! What a change does to the next recommendation: a behaviour, an exposure, a
//! deleted item, a config. Nothing here waits for anything.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, act, configure, feed, import, item, recommend, scenario, slate, strings},
    harness::{Client, eventually, shared},
};

/// A tenant with ten items of each of four categories.
fn catalogue(name: &str) -> Client {
    let client = shared().tenant(name);
    feed(&client);
    let items: Vec<Value> = (0..40)
        .map(|at| {
            let mut item = item(&format!("i{at:02}"), ["a", "b", "c", "d"][at % 4], ["x", "y"][at % 2]);
            item["metadata"]["price"] = json!(at);
            item
        })
        .collect();
    import(&client, &items);
    client
}

fn category(id: &str) -> usize {
    id.trim_start_matches('i').parse::<usize>().unwrap() % 4
}

#[test]
fn a_behaviour_changes_the_very_next_response() {
    let client = catalogue("funnel-behaviour");
    for (user, liked) in [("ann", 0), ("bob", 1), ("cid", 3)] {
        for round in 0..2 {
            act(&client, user, "like", &format!("i{:02}", liked + 4 * round));
            let reply = recommend(&client, user, 8);
            let ids = slate(&reply);
            let matching = ids.iter().filter(|id| category(id) == liked).count();
            assert!(matching >= 7, "{user} likes {liked}: {ids:?}");
            let first = &reply.json()["items"][0];
            assert!(first["sources"].as_array().unwrap().iter().any(|source| source == "content_based"), "{first}");
        }
    }
    // A dislike counts as soon.
    for at in [0, 4, 8, 12, 16] {
        act(&client, "ann", "dislike", &format!("i{at:02}"));
    }
    assert!(slate(&recommend(&client, "ann", 8)).iter().all(|id| category(id) != 0));
}

#[test]
fn what_others_do_is_hot_at_once() {
    let client = catalogue("funnel-hot");
    let hot = |client: &Client| {
        let reply = recommend(client, "newcomer", 40).json();
        let items = reply["items"].as_array().unwrap().clone();
        let is_hot = |item: &&Value| item["sources"].as_array().unwrap().contains(&json!("hot_items"));
        strings(&Value::Array(items.iter().filter(is_hot).cloned().collect()), "item_id")
    };
    configure(
        &client,
        &json!({"recall": {"strategies": [
            {"name": "hot_items", "weight": 1.0}, {"name": "latest", "weight": 0.0}
        ]}}),
    );
    assert!(hot(&client).is_empty());
    act(&client, "ann", "purchase", "i07");
    assert_eq!(hot(&client), ["i07"]);
    act(&client, "ann", "click", "i08");
    assert_eq!(hot(&client), ["i07", "i08"]);
    for user in ["bob", "cid", "dan", "eve", "fay"] {
        act(&client, user, "click", "i08");
    }
    assert_eq!(hot(&client), ["i08", "i07"]);
    // An impression is no liking.
    act(&client, "ann", "impression", "i09");
    assert_eq!(hot(&client).len(), 2);
}

#[test]
fn what_was_shown_is_not_shown_again() {
    let client = catalogue("funnel-exposure");
    configure(&client, &json!({"exposure": {"enabled": true}}));
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let ids = slate(&recommend(&client, "ann", 10));
        assert_eq!(ids.len(), 10);
        for id in ids {
            assert!(seen.insert(id.clone()), "{id} is shown twice");
        }
    }
    assert!(slate(&recommend(&client, "ann", 10)).is_empty(), "all was shown");
    assert_eq!(slate(&recommend(&client, "bob", 10)).len(), 10);
    configure(&client, &json!({"exposure": {"enabled": false}}));
    let again = slate(&recommend(&client, "ann", 10));
    assert_eq!((again.len(), &again), (10, &slate(&recommend(&client, "ann", 10))));
    configure(&client, &json!({"exposure": {"enabled": true}}));
    // What was shown while it was off was not noted, and before is not forgotten.
    assert!(slate(&recommend(&client, "ann", 10)).is_empty());
    client.delete("/api/v1/users/ann").expect(200);
    assert_eq!(slate(&recommend(&client, "ann", 10)).len(), 10);
}

#[test]
fn an_exposure_ends_with_its_time() {
    let client = catalogue("funnel-ttl");
    // 36 seconds, the least that a config may say.
    client
        .patch("/api/v1/scenarios/feed", &json!({"config": {"exposure": {"enabled": true, "ttl_hours": 0.01}}}))
        .expect(200);
    assert_eq!(slate(&recommend(&client, "ann", 40)).len(), 40);
    assert!(slate(&recommend(&client, "ann", 40)).is_empty());
    eventually("the exposures to end", Duration::from_secs(60), || {
        (slate(&recommend(&client, "ann", 40)).len() == 40).then_some(())
    });
}

#[test]
fn excluded_items_stay_away() {
    let client = catalogue("funnel-exclude");
    act(&client, "ann", "purchase", "i03");
    let all = slate(&recommend(&client, "bob", 40));
    assert_eq!(all.len(), 40);
    let body = json!({"scenario_id": FEED, "count": 40, "exclude_items": &all[..5]});
    let rest = slate(&client.post("/api/v1/recommend", &body).user("bob").expect(200));
    assert_eq!(rest.iter().collect::<BTreeSet<_>>(), all[5..].iter().collect::<BTreeSet<_>>());
    let body = json!({"scenario_id": FEED, "count": 5, "exclude_items": ["not-there"]});
    assert_eq!(slate(&client.post("/api/v1/recommend", &body).user("bob").expect(200)), all[..5]);
}

#[test]
fn items_come_and_go_at_once() {
    let client = catalogue("funnel-items");
    act(&client, "ann", "like", "i00");
    act(&client, "bob", "like", "i04");
    let path = "/api/v1/items/feed/i04";
    let shown = || slate(&recommend(&client, "ann", 40)).contains(&"i04".to_owned());
    for _ in 0..3 {
        assert!(shown());
        client.patch(path, &json!({"status": "inactive"})).expect(200);
        assert!(!shown());
        client.patch(path, &json!({"status": "active"})).expect(200);
        assert!(shown());
        client.delete(path).expect(204);
        assert!(!shown());
        client.put(path, &item("i04", "a", "x")).expect(201);
    }
    client.post("/api/v1/items/feed", &item("i99", "a", "x")).expect(201);
    assert_eq!(slate(&recommend(&client, "ann", 40)).len(), 40);
    assert!(slate(&recommend(&client, "ann", 41)).contains(&"i99".to_owned()));
    // A changed category counts at once.
    client.patch("/api/v1/items/feed/i99", &json!({"metadata": {"category": "d"}})).expect(200);
    let explained =
        client.post("/api/v1/recommend?explain=true", &json!({"scenario_id": FEED})).user("ann").expect(200);
    let rows = explained.json()["explain"]["features"]["items"].as_array().unwrap().clone();
    let affinity =
        |id: &str| rows.iter().find(|row| row["item_id"] == id).unwrap()["category:affinity"].as_f64().unwrap();
    assert_eq!((affinity("i99"), affinity("i08")), (0.0, 1.0));
}

#[test]
fn a_config_change_is_live_at_once() {
    let client = catalogue("funnel-config");
    act(&client, "ann", "like", "i00");
    let sources = || {
        let reply = recommend(&client, "ann", 40).json();
        let items = reply["items"].as_array().unwrap().clone();
        items
            .iter()
            .flat_map(|item| item["sources"].as_array().unwrap().clone())
            .map(|source| source.as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(sources(), set(&["content_based", "hot_items", "latest"]));
    for name in ["latest", "content_based", "hot_items"] {
        configure(&client, &json!({"recall": {"strategies": [{"name": name}]}}));
        assert_eq!(sources(), set(&[name]));
    }
    configure(&client, &json!({"recall": {"strategies": [{"name": "latest", "limit": 3}]}}));
    assert_eq!(recommend(&client, "ann", 40).json()["items"].as_array().unwrap().len(), 3);
}

#[test]
fn weights_change_the_order() {
    let client = catalogue("funnel-weights");
    let price = |weight: f32| {
        configure(
            &client,
            &json!({
                "features": {"item_features": [{"name": "price", "type": "numeric", "weight": weight}]},
                "rank": {"model": "linear", "params": {"recall_weight": 0}}
            }),
        );
        slate(&recommend(&client, "ann", 5))
    };
    assert_eq!(price(1.0), ["i39", "i38", "i37", "i36", "i35"]);
    assert_eq!(price(-1.0), ["i00", "i01", "i02", "i03", "i04"]);
    // Of two channels the heavier one decides.
    act(&client, "bob", "like", "i20");
    let first = |hot: f32, latest: f32| {
        configure(
            &client,
            &json!({
                "features": {"item_features": []},
                "recall": {"strategies": [{"name": "hot_items", "weight": hot}, {"name": "latest", "weight": latest, "limit": 3}]},
                "rank": {"model": "linear", "params": {"recall_weight": 1}}
            }),
        );
        slate(&recommend(&client, "ann", 1)).remove(0)
    };
    assert_eq!(first(0.9, 0.1), "i20");
    assert_ne!(first(0.1, 0.9), "i20");
}

#[test]
fn rules_pin_filter_bury_and_limit() {
    let client = catalogue("funnel-rules");
    let rules = |params: Value| {
        configure(
            &client,
            &json!({
                "features": {"item_features": [{"name": "price", "type": "numeric"}]},
                "rank": {"model": "linear", "params": {"recall_weight": 0}},
                "rerank": {"rules": [{"name": "business_rules", "params": params}]}
            }),
        );
        recommend(&client, "ann", 8)
    };
    let pinned = rules(json!({"pin": [{"item_id": "i00", "position": 1}, {"item_id": "i05", "position": 3}]}));
    assert_eq!(slate(&pinned)[..4], ["i00", "i39", "i05", "i38"]);
    assert!(pinned.json()["items"][0]["sources"].as_array().unwrap().contains(&json!("pin")));
    // A pinned item needs no channel that offers it, but it must be there.
    configure(&client, &json!({"recall": {"strategies": [{"name": "hot_items"}]}}));
    assert_eq!(slate(&recommend(&client, "ann", 8)), ["i00", "i05"]);
    client.patch("/api/v1/items/feed/i00", &json!({"status": "inactive"})).expect(200);
    assert_eq!(slate(&recommend(&client, "ann", 8)), ["i05"]);
    client.patch("/api/v1/items/feed/i00", &json!({"status": "active"})).expect(200);
    client.put("/api/v1/scenarios/feed", &scenario(FEED)).expect(200);

    let filtered = slate(&rules(json!({"filter": [{"where": {"field": "category", "equals": "d"}}]})));
    assert!(filtered.iter().all(|id| category(id) != 3) && filtered.len() == 8, "{filtered:?}");
    let buried = slate(&rules(json!({"bury": [{"where": {"field": "category", "equals": "d"}}]})));
    assert_eq!(buried[..3], ["i38", "i37", "i36"]);
    let limited = slate(&rules(json!({"quota": [{"field": "category", "max": 1, "window": 3}]})));
    assert!(limited.windows(3).all(|ids| ids.iter().map(|id| category(id)).collect::<BTreeSet<_>>().len() == 3));
    let once = slate(&rules(json!({"dedupe": [{"field": "category"}]})));
    assert_eq!(once, ["i39", "i38", "i37", "i36"]);
}

#[test]
fn a_new_user_gets_items_and_metadata_on_request() {
    let client = catalogue("funnel-new-user");
    let reply = recommend(&client, "never-seen", 5);
    let body = reply.json();
    assert_eq!(slate(&reply).len(), 5);
    assert_eq!(
        (&body["degraded"], &body["user_id"], &body["scenario_id"]),
        (&json!([]), &json!("never-seen"), &json!(FEED))
    );
    assert!(body.get("explain").is_none() && body["items"][0].get("metadata").is_none());
    let ranks: Vec<u64> = body["items"].as_array().unwrap().iter().map(|item| item["rank"].as_u64().unwrap()).collect();
    assert_eq!(ranks, [1, 2, 3, 4, 5]);
    let body = json!({"scenario_id": FEED, "count": 3, "return_metadata": true, "context": {"device": "tv"}});
    for item in client.post("/api/v1/recommend", &body).expect(200).json()["items"].as_array().unwrap() {
        let stored =
            client.get(&format!("/api/v1/items/feed/{}", item["item_id"].as_str().unwrap())).expect(200).json();
        assert_eq!(item["metadata"], stored["metadata"]);
    }
    // The default is twenty.
    assert_eq!(slate(&client.post("/api/v1/recommend", &json!({"scenario_id": FEED})).expect(200)).len(), 20);
}

#[test]
fn a_model_that_is_not_built_degrades_and_fails_nothing() {
    let client = catalogue("funnel-degraded");
    // Channels that need training are there before it, with nothing to offer.
    let learned = json!([{"name": "item_cf"}, {"name": "user_cf"}, {"name": "vector_search"}]);
    configure(&client, &json!({"recall": {"strategies": learned}, "rank": {"model": "deepfm"}}));
    act(&client, "ann", "like", "i00");
    let body = recommend(&client, "ann", 10).json();
    assert_eq!((&body["items"], strings(&body["degraded"], "stage")), (&json!([]), vec!["deepfm".to_owned()]));
    assert!(strings(&body["degraded"], "reason").iter().all(|reason| !reason.is_empty()));

    // Beside one that has, its items are ranked without the model.
    configure(&client, &json!({"recall": {"strategies": [{"name": "user_cf"}, {"name": "latest"}]}}));
    let body = recommend(&client, "ann", 10).json();
    assert_eq!(body["items"].as_array().unwrap().len(), 10);
    assert_eq!(strings(&body["degraded"], "stage"), ["deepfm"]);
}

#[test]
fn an_empty_scenario_gives_an_empty_slate() {
    let client = shared().tenant("funnel-empty");
    feed(&client);
    let body = recommend(&client, "ann", 10).json();
    assert_eq!((&body["items"], &body["degraded"]), (&json!([]), &json!([])));
}

#[test]
fn a_scenario_made_again_remembers_nothing() {
    let client = catalogue("funnel-again");
    configure(&client, &json!({"exposure": {"enabled": true}}));
    act(&client, "bob", "like", "i00");
    assert_eq!(slate(&recommend(&client, "ann", 40)).len(), 40);
    client.delete("/api/v1/scenarios/feed").expect(204);
    feed(&client);
    configure(&client, &json!({"exposure": {"enabled": true}}));
    import(&client, &[item("i00", "a", "x")]);
    let reply = recommend(&client, "ann", 40).json();
    assert_eq!(strings(&reply["items"], "item_id"), ["i00"]);
    assert_eq!(reply["items"][0]["sources"], json!(["latest"]));
}

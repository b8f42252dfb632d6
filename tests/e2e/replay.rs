//! Requests that are recorded, run again: to the bit, and with changes.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    components,
    fixtures::{FEED, act, configure, feed, import, item, job, recommend, slate, strings},
    guests,
    harness::{Client, Reply, binary, eventually, shared},
};

/// A tenant whose requests are all recorded, with items of three categories.
fn tenant(name: &str) -> Client {
    let client = shared().tenant(name);
    feed(&client);
    configure(&client, &json!({"recording": {"share": 1}}));
    let items: Vec<Value> = (0..60).map(|at| item(&format!("i{at}"), ["a", "b", "c"][at % 3], "t")).collect();
    import(&client, &items);
    client
}

fn ask(client: &Client, path: &str, user: &str, request_id: &str, count: usize) -> Reply {
    let body = json!({"scenario_id": FEED, "count": count, "context": {"device_type": "mobile"}});
    client.post(path, &body).user(user).header("x-request-id", request_id).expect(200)
}

/// What is recorded of the scenario, the newest first, when it is so many.
fn recorded(client: &Client, count: usize) -> Vec<Value> {
    eventually("requests to be recorded", Duration::from_secs(20), || {
        let page = client.get("/api/v1/recordings?scenario_id=feed&limit=1000").expect(200).json();
        let all = page["recordings"].as_array().unwrap().clone();
        (all.len() >= count).then_some(all)
    })
}

fn replay(client: &Client, request_id: &str, changes: &Value) -> Reply {
    client.post(&format!("/api/v1/recordings/{request_id}/replay"), changes).send()
}

fn refused(reply: &Reply, status: u16, code: &str, field: &str) {
    let error = &reply.json()["error"];
    assert_eq!((reply.status, &error["code"], &error["field"]), (status, &json!(code), &json!(field)), "{error}");
}

#[test]
fn whatever_changed_since_a_request_comes_to_the_same_bytes() {
    let client = tenant("replay-same");
    let rules = json!([{"name": "diversity", "weight": 0.5}, {"name": "freshness", "weight": 0.2}]);
    let strategies = json!([
        {"name": "hot_items"}, {"name": "content_based"}, {"name": "latest"}, {"name": "explore", "weight": 0},
    ]);
    configure(
        &client,
        &json!({
            "recall": {"strategies": strategies}, "rerank": {"rules": rules},
            "exploration": {"share": 0.2}, "exposure": {"enabled": true},
        }),
    );
    act(&client, "u1", "like", "i4");
    let paths = ["/api/v1/recommend", "/api/v1/recommend?explain=true"];
    for user in 0..20 {
        ask(&client, paths[user % 2], &format!("u{user}"), &format!("same-{user}"), 5 + user);
    }
    let session = json!({"scenario_id": FEED, "count": 7, "behaviors": [{"item_id": "i3", "action_type": "like"}]});
    let session = client.post("/api/v1/recommend/session", &session).without("x-user-id");
    session.header("x-request-id", "same-session").expect(200);
    let all = recorded(&client, 21);
    assert_eq!(all.len(), 21);
    assert_eq!(
        (&all[0]["request_id"], &all[0]["reason"], &all[0]["user_id"]),
        (&json!("same-session"), &json!("sample"), &json!(""))
    );

    // Items, profiles, hot lists and the config become others.
    act(&client, "u2", "like", "i5");
    for at in 0..20 {
        client.delete(&format!("/api/v1/items/feed/i{at}")).expect(204);
    }
    configure(&client, &json!({"recall": {"strategies": [{"name": "latest"}]}, "rerank": null, "exploration": null}));
    let one = replay(&client, "same-1", &json!({})).json();
    assert_ne!(slate(&recommend(&client, "u1", 6)), strings(&one["then"]["body"]["items"], "item_id"));
    assert_eq!((&one["identical"], &one["differences"]), (&json!(true), &json!([])), "{one}");
    assert_eq!(one["now"]["body"], one["then"]["body"]);
    let run = job(&client, "replay", &json!({}));
    let outcome = &run["outcome"];
    assert_eq!(outcome["requests"], outcome["identical"], "{run}");
    assert!(outcome["requests"].as_u64().unwrap() >= 21, "{run}");
}

#[test]
fn a_recording_explains_an_answer_that_was_not() {
    let client = tenant("replay-explain");
    let answer = ask(&client, "/api/v1/recommend", "ann", "plain", 5);
    assert!(answer.json().get("explain").is_none());
    recorded(&client, 1);
    let told = client.get("/api/v1/recordings/plain").expect(200).json();
    assert_eq!(told["answer"]["body"], answer.json());
    assert_eq!((&told["asked"]["body"]["count"], &told["user_id"]), (&json!(5), &json!("ann")));
    let stages = strings(&told["explain"]["stages"], "stage");
    assert_eq!(stages, ["hot_items", "content_based", "latest", "features", "linear"]);
    assert_eq!(strings(&told["stages"], "stage"), stages);
    let ranked = strings(&told["explain"]["rank"], "item_id");
    assert_eq!(ranked[..5], slate(&answer)[..]);
    assert!(strings(&told["stages"], "digest").iter().all(|digest| digest.len() == 64));
    assert_eq!(told["identical"], true);
}

/// The share of the longer slate that two answers have in common.
fn overlap(one: &Value, other: &Value) -> f64 {
    let [one, other] = [one, other].map(|answer| strings(&answer["body"]["items"], "item_id"));
    one.iter().filter(|item| other.contains(item)).count() as f64 / one.len().max(other.len()) as f64
}

fn value(comparison: &Value, name: &str) -> f64 {
    comparison[name]["value"].as_f64().unwrap_or_else(|| panic!("{name} in {comparison}"))
}

#[test]
fn a_config_is_tried_on_what_was_asked() {
    let client = tenant("replay-config");
    for user in 0..12 {
        let user = format!("u{user}");
        act(&client, &user, "like", "i3");
        let shown = slate(&ask(&client, "/api/v1/recommend", &user, &format!("config-{user}"), 10));
        act(&client, &user, "click", &shown[3]);
    }
    recorded(&client, 12);
    let latest = json!({"recall": {"strategies": [{"name": "latest"}]}});
    let one = replay(&client, "config-u1", &json!({"config": latest})).json();
    assert_eq!((&one["identical"], &one["now"]["status"]), (&json!(true), &json!(200)), "{one}");
    assert_eq!(value(&one["comparison"], "overlap"), overlap(&one["then"], &one["now"]), "{one}");
    let sources = strings(&one["now"]["body"]["items"], "item_id").len();
    assert_eq!(sources, 10, "{one}");
    assert!(one["now"]["body"]["items"].as_array().unwrap().iter().all(|item| item["sources"] == json!(["latest"])));

    let run = job(&client, "replay", &json!({"last": 12, "config": latest}));
    let outcome = &run["outcome"];
    assert_eq!((&outcome["requests"], &outcome["comparison"]["users"]), (&json!(12), &json!(12)), "{run}");
    assert_eq!((&outcome["drifted"], &outcome["failures"]), (&json!(0), &json!(0)), "{run}");
    assert_eq!(outcome["comparison"]["ctr"]["clicks"], 12, "{run}");
    assert!(outcome["comparison"]["latency_ms"]["now"]["p50"].as_f64().unwrap() > 0.0);

    let wrong = replay(&client, "config-u1", &json!({"config": {"recall": {"strategies": []}}}));
    refused(&wrong, 422, "invalid_config", "config.recall.strategies");
    refused(&replay(&client, "config-u1", &json!({"with": ["deepfm"]})), 422, "invalid_config", "with[0]");
    refused(&replay(&client, "config-u1", &json!({"with": ["boost@1"]})), 422, "invalid_config", "with[0]");
    assert_eq!(job(&client, "replay", &json!({"with": ["boost@1"]}))["state"], "failed");
    refused(&replay(&client, "nobody", &json!({})), 404, "recording_not_found", "request_id");
    let other = shared().tenant("replay-other");
    refused(&replay(&other, "config-u1", &json!({})), 404, "recording_not_found", "request_id");
    let body = json!({"scenario_id": FEED, "kind": "replay", "params": {"last": 0}});
    assert!(client.post("/api/v1/jobs", &body).send().text().contains("last"));
}

#[test]
fn nobody_is_shown_what_is_only_tried() {
    let client = tenant("replay-unseen");
    configure(&client, &json!({"exposure": {"enabled": true}}));
    let shown = slate(&ask(&client, "/api/v1/recommend", "ann", "seen", 20));
    recorded(&client, 1);
    let boost = json!({"where": {"field": "category", "equals": "c"}, "factor": 9});
    let rules = json!([{"name": "business_rules", "params": {"boost": [boost]}}]);
    let tried = replay(&client, "seen", &json!({"config": {"rerank": {"rules": rules}}})).json();
    assert_eq!(tried["now"]["status"], 200, "{tried}");
    // Of sixty items twenty were shown, whatever was tried.
    let rest = slate(&recommend(&client, "ann", 60));
    assert_eq!((shown.len(), rest.len()), (20, 40));
    assert_eq!(recorded(&client, 2).len(), 2);
}

#[test]
fn a_version_is_tried_before_it_is_active_and_what_is_gone_is_named() {
    let client = components::server().tenant("replayed");
    feed(&client);
    import(&client, &(0..30).map(|at| item(&format!("i{at}"), &format!("c{}", at / 3), "t")).collect::<Vec<_>>());
    // Without params the first leaves everything as it is, and reads nothing.
    components::add(&client, "order", "1.0.0", "rerank_rules");
    components::activate(&client, "order", "1.0.0");
    configure(&client, &json!({"recording": {"share": 1}, "rerank": {"rules": [{"name": "replayed/order"}]}}));
    let answer = ask(&client, "/api/v1/recommend", "ann", "with-one", 10);
    assert_eq!(answer.json()["degraded"], json!([]));
    recorded(&client, 1);

    // The second spreads categories, which the table did not have.
    components::add(&client, "order", "2.0.0", "rerank_diversity");
    let other = replay(&client, "with-one", &json!({"with": ["replayed/order@2.0.0"]})).json();
    assert_eq!(other["now"]["body"]["degraded"], json!([]), "{other}");
    let diversity = &other["comparison"]["diversity"];
    assert!(value(diversity, "now") > value(diversity, "then"), "{other}");
    components::activate(&client, "order", "2.0.0");
    let same = replay(&client, "with-one", &json!({})).json();
    assert_eq!((&same["identical"], &same["differences"]), (&json!(true), &json!([])), "{same}");

    client.delete("/api/v1/components/order/versions/1.0.0").expect(204);
    let gone = replay(&client, "with-one", &json!({})).json();
    let differences = gone["differences"].to_string();
    assert!(differences.contains("rerank `replayed/order` ended otherwise"), "{gone}");
    assert_eq!(gone["identical"], false);
}

#[test]
fn what_fails_is_kept_whatever_the_share() {
    let client = guests::tenant(guests::server(), "recorded");
    guests::put(
        &client,
        &guests::scenario(|config| {
            config["recall"]["strategies"] =
                json!([{"name": "hostile", "params": {"attack": "trap"}}, {"name": "latest"}]);
            config["recording"] = json!({"share": 0});
        }),
    );
    client.post("/api/v1/recommend", &json!({"scenario_id": "feed"})).header("x-request-id", "bad").expect(200);
    let one = &recorded(&client, 1)[0];
    assert_eq!((&one["request_id"], &one["reason"], &one["status"]), (&json!("bad"), &json!("degraded"), &json!(200)));
    // It fails again in the same way.
    assert_eq!(replay(&client, "bad", &json!({})).json()["identical"], true);

    guests::put(
        &client,
        &guests::scenario(|config| {
            config["recall"]["strategies"] = json!([{"name": "latest"}]);
            config["recording"] = json!({"share": 0});
        }),
    );
    client.post("/api/v1/recommend", &json!({"scenario_id": "feed"})).header("x-request-id", "good").expect(200);
    // It waits for all that is to be kept.
    assert_eq!(job(&client, "replay", &json!({}))["outcome"]["requests"], 1);
    refused(&client.get("/api/v1/recordings/good").send(), 404, "recording_not_found", "request_id");
}

#[test]
fn a_shadow_is_seen_by_nobody_and_told() {
    let client = tenant("replay-shadow");
    let none = client.get("/api/v1/scenarios/feed/shadow").send();
    refused(&none, 404, "recording_not_found", "scenario_id");
    let before = slate(&recommend(&client, "ann", 8));
    let wrong = json!({"config": {"shadow": {"config": {"rank": {"model": "no such"}}}}});
    let refusal = client.patch("/api/v1/scenarios/feed", &wrong).send();
    refused(&refusal, 422, "invalid_config", "config.shadow.config.rank.model");
    configure(
        &client,
        &json!({
            "recording": {"share": 0},
            "shadow": {"share": 1, "config": {"recall": {"strategies": [{"name": "latest", "limit": 3}]}}},
        }),
    );
    for user in 0..5 {
        assert_eq!(slate(&recommend(&client, "ann", 8)), before, "{user}");
    }
    let told = eventually("the shadow to be tried", Duration::from_secs(20), || {
        let reply = client.get("/api/v1/scenarios/feed/shadow").send();
        (reply.status == 200 && reply.json()["requests"] == 5).then(|| reply.json())
    });
    assert_eq!((&told["failed"], &told["comparison"]["requests"]), (&json!(0), &json!(5)), "{told}");
    assert!(value(&told["comparison"], "overlap") < 1.0, "{told}");
    assert!(client.get("/metrics").expect(200).text().contains("funnelweb_shadow_requests_total{outcome=\"tried\"}"));
}

#[test]
fn a_recording_goes_with_its_user_and_at_its_end() {
    let client = tenant("replay-forgotten");
    ask(&client, "/api/v1/recommend", "ann", "of-ann", 3);
    ask(&client, "/api/v1/recommend", "bob", "of-bob", 3);
    recorded(&client, 2);
    client.delete("/api/v1/users/ann").expect(200);
    refused(&client.get("/api/v1/recordings/of-ann").send(), 404, "recording_not_found", "request_id");
    client.get("/api/v1/recordings/of-bob").expect(200);
    configure(&client, &json!({"recording": {"share": 1, "ttl_hours": 0.01}}));
    ask(&client, "/api/v1/recommend", "bob", "short", 3);
    let all = recorded(&client, 2);
    let ends = |id: &str| {
        let one = all.iter().find(|one| one["request_id"] == id).unwrap();
        ["at", "expires_at"].map(|name| funnelweb_core::time::parse_ms(one[name].as_str().unwrap()).unwrap())
    };
    assert_eq!(ends("short").map(|ms| ms - ends("short")[0]), [0, 36_000]);
    assert_eq!(ends("of-bob")[1] - ends("of-bob")[0], 24 * 3_600_000);
}

#[test]
fn the_command_line_replays() {
    let client = tenant("replay-command");
    for at in 0..3 {
        ask(&client, "/api/v1/recommend", "ann", &format!("cli-{at}"), 5);
    }
    recorded(&client, 3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, r#"{"rerank":{"rules":[{"name":"diversity"}]}}"#).unwrap();
    let run = |words: &[&str]| {
        let url = shared().url();
        let command = ["replay", "--tenant", "replay-command", "--url", &url];
        let output = Command::new(binary()).args(command).args(words).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let (success, said) = run(&["cli-1"]);
    assert!(success && said.contains("cli-1: identical"), "{said}");
    let (success, said) = run(&["--scenario", FEED, "--last", "3"]);
    assert!(success && said.contains("3 requests, 3 identical, 0 failed"), "{said}");
    let (success, said) = run(&["--scenario", FEED, "--last", "3", "--with", file.to_str().unwrap()]);
    assert!(success && said.contains("rank_correlation"), "{said}");
    let (success, said) = run(&["missing"]);
    assert!(!success && said.contains("missing"), "{said}");
}

//! The funnel as a whole.

use funnelweb_core::{error::Code, id};
use serde_json::{Value, json};

mod caching;
mod feeds;

use crate::{
    Answer, Request,
    fixtures::Host,
    funnel::{self, Call},
    offline,
};

const NOW: u64 = 1_767_225_600_000;

fn host(exploration: &Value) -> Host {
    let config = json!({
        "recall": {"strategies": [{"name": "latest"}, {"name": "explore", "weight": 0.0}]},
        "exploration": exploration
    });
    let items: Vec<String> = (0..20).map(|at| format!("i{at:02}")).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    Host::default().with_scenario(&config).with_channel("latest", &items).with_channel("explore", &["n1", "n2", "n3"])
}

fn call(user_id: &str, explain: bool) -> Call<'_> {
    Call { explain, now_ms: NOW, seed: 3, ..Call::of("r", user_id) }
}

/// An answer's body.
fn body(answer: Answer) -> Value {
    serde_json::from_str(&answer.into_text()).unwrap()
}

pub(crate) fn recommend(host: &Host, user_id: &str, explain: bool) -> Value {
    let text = r#"{"scenario_id":"s","count":8}"#;
    let call = Call { body: text.as_bytes(), ..call(user_id, explain) };
    body(funnel::recommend(host, &call, &serde_json::from_str(text).unwrap()).unwrap())
}

pub(crate) fn session(host: &Host, request: Value) -> Result<Value, (Code, Option<String>)> {
    let text = request.to_string();
    let call = Call { body: text.as_bytes(), ..call("", false) };
    let response = funnel::recommend_to_session(host, &call, serde_json::from_value(request).unwrap());
    response.map(body).map_err(|error| (error.code, error.field))
}

#[test]
fn explored_items_are_marked_and_explained() {
    let host = host(&json!({"share": 0.25})).with_profile("ann", r#"{"recent_items":[{"item_id":"i19"}]}"#);
    let response = recommend(&host, "ann", true);
    let items = response["items"].as_array().unwrap();
    let explored: Vec<&Value> = items.iter().filter(|item| item["explored"] == json!(true)).collect();
    assert_eq!((items.len(), explored.len()), (8, 2));
    assert!(explored.iter().all(|item| item["sources"] == json!(["explore"]) && item["rank"] != json!(1)));
    assert!(items.iter().all(|item| item.get("explored").is_none() || item["explored"] == json!(true)));
    let told: Vec<&Value> = response["explain"]["exploration"].as_array().unwrap().iter().collect();
    let told: Vec<_> = told.iter().map(|place| (&place["rank"], &place["item_id"])).collect();
    assert_eq!(told, explored.iter().map(|item| (&item["rank"], &item["item_id"])).collect::<Vec<_>>());
}

#[test]
fn without_exploration_nothing_tells_of_it() {
    let response = recommend(&host(&json!({})), "ann", true);
    assert!(!response.to_string().contains("explored") && response["explain"].get("exploration").is_none());
}

#[test]
fn a_session_is_nobody_s_and_only_its_places_are_counted() {
    let host = host(&json!({}));
    let body = json!({"scenario_id": "s", "count": 3, "exclude_items": ["i00"], "context": {"city": "x"},
                      "behaviors": [{"item_id": "i05", "action_type": "like"}]});
    let response = session(&host, body).unwrap();
    let ids: Vec<&str> =
        response["items"].as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["i01", "i02", "i03"]);
    assert!(response.get("user_id").is_none() && response["request_id"] == "r");
    let served = |user: Option<&str>, items: &[&str]| {
        (user.map(str::to_owned), items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(host.exposures.take(), [served(None, &["i01", "i02", "i03"])]);
    let context = host.context.borrow().clone().unwrap();
    assert_eq!((context.user.id.as_str(), context.user.recent), ("", vec![id::handle("i05")]));
    assert_eq!((context.now_ms, context.context.len()), (NOW, 1));
    // Nothing served is nothing to count.
    let nothing = Host::default().with_scenario(&json!({"recall": {"strategies": [{"name": "latest"}]}}));
    session(&nothing, json!({"scenario_id": "s", "behaviors": []})).unwrap();
    assert!(nothing.exposures.borrow().is_empty());
}

#[test]
fn a_slate_is_noted_with_its_user_unless_the_scenario_says_otherwise() {
    let noted = |exposure: Value| {
        let config = json!({"recall": {"strategies": [{"name": "latest"}]}, "exposure": exposure});
        let host = Host::default().with_scenario(&config).with_channel("latest", &["a", "b"]);
        recommend(&host, "ann", false);
        host.exposures.take()
    };
    let items = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(noted(json!({})), [(Some("ann".to_owned()), items.clone())]);
    assert_eq!(noted(json!({"enabled": false})), [(None, items)]);
}

#[test]
fn a_session_is_checked_like_a_request() {
    let host = host(&json!({}));
    let refused = |body: Value| session(&host, body).unwrap_err();
    let field = |name: &str| (Code::InvalidField, Some(name.to_owned()));
    assert_eq!(refused(json!({"scenario_id": "s", "behaviors": [], "count": 0})), field("count"));
    assert_eq!(refused(json!({"scenario_id": "a/b", "behaviors": []})), field("scenario_id"));
    let behaviors = json!([{"item_id": "", "action_type": "view"}]);
    assert_eq!(refused(json!({"scenario_id": "s", "behaviors": behaviors})), field("behaviors[0].item_id"));
    let nowhere = session(&Host::default(), json!({"scenario_id": "s", "behaviors": []}));
    assert_eq!(nowhere.unwrap_err().0, Code::ScenarioNotFound);
}

#[test]
fn a_scenario_says_which_requests_are_kept() {
    use funnelweb_guest::dispatch::Keep;
    let said = |parts: Value| {
        let mut config = json!({"recall": {"strategies": [{"name": "latest"}]}});
        config.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
        let host = Host::default().with_scenario(&config).with_channel("latest", &["a"]);
        recommend(&host, "ann", false);
        let one = host.recorded.borrow()[0].clone();
        assert_eq!((one.scenario_id.as_str(), host.recorded.borrow().len()), ("s", 1));
        (one.keep, one.ttl_s, one.shadow)
    };
    let share = |share: f32, failures: bool| said(json!({"recording": {"share": share, "failures": failures}})).0;
    assert_eq!((share(1.0, true), share(1.0, false)), (Keep::Always, Keep::Always));
    assert_eq!((share(0.0, true), share(0.0, false)), (Keep::IfDegraded, Keep::Never));
    assert_eq!(said(json!({"recording": {"ttl_hours": 2}})).1, 7200);
    let tried = json!({"shadow": {"share": 1, "config": {"rank": {"model": "deepfm"}}}});
    assert_eq!(said(tried).2.as_deref(), Some(r#"{"rank":{"model":"deepfm"}}"#));
    assert_eq!(said(json!({"shadow": {"share": 0, "config": {}}})).2, None);
}

fn ahead(host: &Host, user_id: &str, body: &Value) -> Result<Value, (Code, Option<String>)> {
    let request = funnelweb_guest::http::json::object(body.to_string().as_bytes());
    let slate = request.and_then(|request| offline::slate(host, &call(user_id, false), request));
    let read = |slate| serde_json::from_str(&serde_json::to_string(&slate).unwrap()).unwrap();
    slate.map(read).map_err(|error| (error.code, error.field))
}

#[test]
fn a_slate_made_ahead_is_what_would_be_recommended_and_leaves_no_trace() {
    let host = host(&json!({})).with_profile("ann", r#"{"recent_items":[{"item_id":"i19"}]}"#);
    let config = json!({"recall": {"strategies": [{"name": "latest"}, {"name": "explore", "weight": 0.0}]}});
    let slate = ahead(&host, "ann", &json!({"scenario_id": "s", "count": 8, "config": config})).unwrap();
    let context = host.context.borrow().clone().unwrap();
    assert_eq!((context.user.id.as_str(), context.user.recent.len()), ("ann", 1));
    assert!(host.exposures.borrow().is_empty());
    assert_eq!(slate["items"], recommend(&host, "ann", false)["items"]);
    assert_eq!(slate["failed"], json!([]));
    // The scenario's own config is not asked for.
    let other = json!({"recall": {"strategies": [{"name": "explore"}]}});
    let slate = ahead(&host, "ann", &json!({"scenario_id": "s", "count": 2, "config": other})).unwrap();
    assert_eq!(slate["items"][0]["item_id"], "n1");
}

#[test]
fn a_config_that_is_brought_along_is_checked() {
    let host = host(&json!({}));
    let refused = |body: Value| ahead(&host, "ann", &body).unwrap_err();
    let with = |config: Value| json!({"scenario_id": "s", "count": 8, "config": config});
    let path = |path: &str| Some(path.to_owned());
    let none = json!({"recall": {"strategies": []}});
    assert_eq!(refused(with(none)), (Code::InvalidConfig, path("config.recall.strategies")));
    let wrong = json!({"recall": {"strategies": [{"name": 3}]}});
    assert_eq!(refused(with(wrong)), (Code::InvalidField, path("config.recall.strategies[0].name")));
    let many = json!({"scenario_id": "s", "count": 201, "config": {"recall": {"strategies": [{"name": "latest"}]}}});
    assert_eq!(refused(many), (Code::InvalidField, path("count")));
}

/// Two channels, and an experiment that turns to the second for one of two groups.
fn in_experiments(experiments: &Value) -> Host {
    let scenario = json!({
        "scenario_id": "s", "scenario_type": "t",
        "config": {"recall": {"strategies": [{"name": "latest"}]}},
        "experiments": experiments,
    });
    Host::default().with_document(&scenario).with_channel("latest", &["a", "b"]).with_channel("hot_items", &["c", "d"])
}

pub(crate) fn experiment(name: &str, layer: &str, config: &Value) -> Value {
    json!({
        "experiment_id": name, "layer": layer, "buckets": [[0, 1_000_000]], "start_ms": 0,
        "groups": [
            {"group_id": "control", "traffic_ratio": 0.5},
            {"group_id": "new", "traffic_ratio": 0.5, "config": config},
        ],
    })
}

/// An interleaving of the scenario's config, and of that with this one over it.
pub(crate) fn interleaving(config: &Value) -> Value {
    let mut interleaving = experiment("exp", "default", config);
    interleaving["control"] = json!("control");
    for group in interleaving["groups"].as_array_mut().unwrap() {
        group.as_object_mut().unwrap().remove("traffic_ratio");
    }
    interleaving
}

#[test]
fn a_group_gets_its_own_config_and_the_answer_names_it() {
    let hot = json!({"recall": {"strategies": [{"name": "hot_items"}]}});
    let host = in_experiments(&json!([experiment("exp", "default", &hot)]));
    let mut seen = [0; 2];
    for user in 0..40 {
        let user = format!("user-{user}");
        let response = recommend(&host, &user, false);
        let first = response["items"][0]["item_id"].as_str().unwrap();
        let group = response["experiments"][0]["group_id"].as_str().unwrap();
        assert_eq!(response["experiments"], json!([{"experiment_id": "exp", "group_id": group}]));
        assert_eq!(first, if group == "new" { "c" } else { "a" });
        assert_eq!(response["items"][0]["sources"], json!([if group == "new" { "hot_items" } else { "latest" }]));
        assert_eq!(recommend(&host, &user, false), response, "it stays so");
        assert_eq!(host.logged.take().pop().unwrap().groups, [format!("exp:{group}")]);
        seen[usize::from(group == "new")] += 1;
    }
    assert!(seen.iter().all(|count| *count > 8), "{seen:?}");
}

#[test]
fn groups_of_different_layers_come_together() {
    let hot = json!({"recall": {"strategies": [{"name": "hot_items"}]}});
    let merge = json!({"recall": {"merge": {"method": "score"}}});
    let host = in_experiments(&json!([experiment("one", "recall", &hot), experiment("two", "merge", &merge)]));
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..60 {
        let response = recommend(&host, &format!("user-{user}"), false);
        let groups: Vec<&Value> =
            response["experiments"].as_array().unwrap().iter().map(|assigned| &assigned["group_id"]).collect();
        // The last is 0 by score, and not by its place.
        let by_score = response["items"][1]["score"] == 0.0;
        assert_eq!([response["items"][0]["item_id"] == "c", by_score], [*groups[0] == "new", *groups[1] == "new"]);
        seen.insert(format!("{groups:?}"));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn groups_that_do_not_go_together_leave_the_config_as_it_is() {
    // Neither does harm alone; it is refused where it is written.
    let hot = json!({"recall": {"merge": {"method": "score"}}});
    let merge = json!({"recall": {"merge": {"k": 7}}});
    let host = in_experiments(&json!([experiment("one", "recall", &hot), experiment("two", "merge", &merge)]));
    let mut seen = 0;
    for user in 0..60 {
        let response = recommend(&host, &format!("user-{user}"), false);
        assert_eq!(response["items"][0]["item_id"], "a");
        let Some(degraded) = response["degraded"].get(0) else { continue };
        assert_eq!(degraded["stage"], "experiments");
        assert_eq!(degraded["reason"], "config.recall.merge.k: is for the method `rrf`");
        assert!(response.get("experiments").is_none(), "{response}");
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn whom_no_id_tells_apart_a_device_or_a_session_does() {
    let hot = json!({"recall": {"strategies": [{"name": "hot_items"}]}});
    let host = in_experiments(&json!([experiment("exp", "default", &hot)]));
    let group = |context: Value| {
        let body = json!({"scenario_id": "s", "behaviors": [], "context": context});
        session(&host, body).unwrap().get("experiments").map(|assigned| assigned[0]["group_id"].clone())
    };
    assert_eq!(group(json!({})), None);
    let user = |user: &str| recommend(&host, user, false)["experiments"][0]["group_id"].clone();
    for unit in ["u1", "u2", "u3", "u4", "u5"] {
        let expected = Some(user(unit));
        assert_eq!(group(json!({"device_id": unit})), expected);
        assert_eq!(group(json!({"device": {"id": unit}, "session_id": "other"})), expected);
        assert_eq!(group(json!({"session_id": unit})), expected);
        assert_eq!(group(json!({"device_id": "", "session_id": unit})), expected);
    }
}

#[test]
fn targeting_reads_the_profile_and_the_context() {
    let hot = json!({"recall": {"strategies": [{"name": "hot_items"}]}});
    let mut only = experiment("exp", "default", &hot);
    only["targeting"] =
        json!([{"field": "user.country", "in": ["se"]}, {"field": "context.device.type", "not_in": ["tv"]}]);
    let host = in_experiments(&json!([only])).with_profile("ann", r#"{"features":{"country":"se"}}"#);
    let takes_part = |user: &str, context: Value| {
        let request: Request = serde_json::from_value(json!({"scenario_id": "s", "context": context})).unwrap();
        let response = funnel::recommend(&host, &call(user, false), &request).unwrap();
        body(response).get("experiments").is_some()
    };
    assert!(takes_part("ann", json!({})));
    assert!(takes_part("ann", json!({"device": {"type": "mobile"}})));
    assert!(!takes_part("ann", json!({"device": {"type": "tv"}})));
    assert!(!takes_part("bob", json!({})));
}

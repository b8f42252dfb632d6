//! The funnel as a whole.

use funnelweb_core::{error::Code, id};
use serde_json::{Value, json};

use crate::{
    Request, SessionRequest,
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
    Call { request_id: "r", user_id, explain, now_ms: NOW, seed: 3 }
}

fn recommend(host: &Host, user_id: &str, explain: bool) -> Value {
    let request: Request = serde_json::from_value(json!({"scenario_id": "s", "count": 8})).unwrap();
    serde_json::to_value(funnel::recommend(host, &call(user_id, explain), &request).unwrap()).unwrap()
}

fn session(host: &Host, body: Value) -> Result<Value, (Code, Option<String>)> {
    let request: SessionRequest = serde_json::from_value(body).unwrap();
    let response = funnel::recommend_to_session(host, &call("", false), request);
    response.map(|response| serde_json::to_value(response).unwrap()).map_err(|error| (error.code, error.field))
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

fn ahead(host: &Host, user_id: &str, body: &Value) -> Result<Value, (Code, Option<String>)> {
    let request = funnelweb_guest::http::json::object(body.to_string().as_bytes());
    let slate = request.and_then(|request| offline::slate(host, &call(user_id, false), request));
    slate.map(|slate| serde_json::to_value(slate).unwrap()).map_err(|error| (error.code, error.field))
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

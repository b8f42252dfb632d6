//! Answers that are given again.

use super::*;
use crate::{CacheStatus, cursor};

/// A scenario in which what was shown may be shown again.
fn scenario(more: &Value) -> Value {
    let mut config = json!({"recall": {"strategies": [{"name": "latest"}]}, "exposure": {"enabled": false}});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"scenario_id": "s", "scenario_type": "t", "config": config})
}

fn host(scenario: &Value) -> Host {
    Host::default().with_document(scenario).with_channel("latest", &["a", "b", "c", "d"])
}

/// A request as it is sent.
fn ask(host: &Host, user: &str, text: &Value) -> (Value, CacheStatus) {
    ask_as(host, Call { user_id: user, ..call("", false) }, text)
}

fn ask_as(host: &Host, call: Call<'_>, text: &Value) -> (Value, CacheStatus) {
    let text = text.to_string();
    let call = Call { body: text.as_bytes(), ..call };
    let answer = match call.user_id {
        "" => funnel::recommend_to_session(host, &call, serde_json::from_str(&text).unwrap()),
        _ => funnel::recommend(host, &call, &serde_json::from_str(&text).unwrap()),
    };
    let answer = answer.unwrap();
    let cache = answer.cache();
    (body(answer), cache)
}

fn two() -> Value {
    json!({"scenario_id": "s", "count": 2})
}

const STORED: CacheStatus = CacheStatus::Miss { stored: true };

#[test]
fn the_same_is_answered_again_and_shown_again() {
    let host = host(&scenario(&json!({})));
    let (first, cache) = ask(&host, "ann", &two());
    assert_eq!((cache, first["items"].as_array().unwrap().len()), (STORED, 2));
    let (mut again, cache) = ask_as(&host, Call { request_id: "r2", user_id: "ann", ..call("", false) }, &two());
    assert_eq!((cache, again["request_id"].as_str()), (CacheStatus::Hit(600), Some("r2")));
    again["request_id"] = json!("r");
    assert_eq!(again, first);
    assert_eq!(host.runs.get(), 1, "no stage was set up for the second");
    let places = [(None, vec!["a".to_owned(), "b".to_owned()]), (None, vec!["a".to_owned(), "b".to_owned()])];
    assert_eq!(*host.exposures.borrow(), places, "both are counted");
}

#[test]
fn whatever_it_depends_on_makes_another() {
    let text = scenario(&json!({}));
    let all = [
        (host(&text), "ann", two()),
        (host(&text), "bob", two()),
        (host(&text), "ann", json!({"scenario_id": "s", "count": 3})),
        (host(&text), "ann", json!({"scenario_id": "s", "count": 2, "context": {"device": "tv"}})),
        (host(&text), "ann", json!({"scenario_id": "s", "count": 2, "exclude_items": ["a"]})),
        (host(&text), "ann", json!({"scenario_id": "s", "count": 2, "return_metadata": true})),
        (host(&text).with_profile("ann", "{}"), "ann", two()),
        (host(&text).with_profile("ann", r#"{"recent_items":[]}"#), "ann", two()),
        (Host { models: 1, ..host(&text) }, "ann", two()),
        (host(&scenario(&json!({"cache": {"ttl_seconds": 30}}))), "ann", two()),
    ];
    let kept: std::rc::Rc<std::cell::RefCell<_>> = std::rc::Rc::default();
    for again in [false, true] {
        for (at, (host, user, text)) in all.iter().enumerate() {
            let host = Host { kept: std::rc::Rc::clone(&kept), ..copy(host) };
            let (_, cache) = ask(&host, user, text);
            assert_eq!(matches!(cache, CacheStatus::Hit(_)), again, "{at}: {cache:?}");
        }
    }
    assert_eq!(kept.borrow().len(), all.len());
}

/// The same documents and channels.
fn copy(host: &Host) -> Host {
    Host { models: host.models, ..host.copied() }
}

#[test]
fn groups_are_told_apart_and_logged_again() {
    let mut text = scenario(&json!({}));
    let other = json!({"recall": {"strategies": [{"name": "hot_items"}]}});
    text["experiments"] = json!([experiment("exp", "default", &other)]);
    let host = host(&text).with_channel("hot_items", &["x", "y"]);
    for user in ["u1", "u2", "u3", "u4", "u5", "u6"] {
        let (first, cache) = ask(&host, user, &two());
        assert_eq!(cache, STORED);
        let (again, cache) = ask(&host, user, &two());
        assert_eq!((&again, cache), (&first, CacheStatus::Hit(600)));
        let group = again["experiments"][0]["group_id"].as_str().unwrap();
        let slate = if group == "new" { ["x", "y"] } else { ["a", "b"] }.map(str::to_owned).to_vec();
        // Without features, which nobody computed.
        let logged = host.logged.borrow_mut().pop().unwrap();
        let expected = (slate, Vec::new(), vec![format!("exp:{group}")]);
        assert_eq!((logged.items, logged.rows, logged.groups), expected);
        assert!(logged.drafted.is_none());
    }
}

/// A page that follows another, of which nothing is there any more.
fn page() -> Value {
    let cursor = cursor::next(("s", "ann"), &[], [9].into_iter());
    json!({"scenario_id": "s", "count": 2, "cursor": cursor.unwrap()})
}

#[test]
fn who_is_in_an_experiment_no_more_is_answered_anew() {
    let hot = json!({"recall": {"strategies": [{"name": "hot_items"}]}});
    let cases = [
        (experiment("exp", "default", &hot), two(), STORED),
        (experiment("exp", "default", &hot), page(), STORED),
        (interleaving(&hot), two(), CacheStatus::Bypass),
        (interleaving(&hot), page(), STORED),
    ];
    for (mut ending, asked, cache) in cases {
        ending["end_ms"] = json!(NOW + 1);
        let mut text = scenario(&json!({}));
        text["experiments"] = json!([ending]);
        let host = host(&text).with_channel("hot_items", &["x", "y"]);
        let at = |now_ms| ask_as(&host, Call { now_ms, user_id: "ann", ..call("", false) }, &asked);
        let (within, of_within) = at(NOW);
        assert_eq!((within["experiments"][0]["experiment_id"].as_str(), of_within), (Some("exp"), cache));
        let (after, of_after) = at(NOW + 1);
        assert_eq!((after.get("experiments"), of_after), (None, STORED), "{ending}");
    }
}

#[test]
fn what_ranks_for_either_of_an_interleaving_counts() {
    let mut text = scenario(&json!({}));
    text["experiments"] = json!([interleaving(&json!({"rank": {"model": "learned"}}))]);
    let kept: std::rc::Rc<std::cell::RefCell<_>> = std::rc::Rc::default();
    let ask = |version: u64| {
        let version = ("learned".to_owned(), version);
        let host = Host { kept: std::rc::Rc::clone(&kept), version, ..host(&text) };
        ask(&host, "ann", &page()).1
    };
    assert_eq!([ask(1), ask(1), ask(2)], [STORED, CacheStatus::Hit(600), STORED]);
}

#[test]
fn a_page_stays_unless_it_has_nothing() {
    let fresh = |host: Host| {
        ask(&host, "ann", &page());
        host.kept.borrow().values().map(|kept| kept.fresh_s).collect::<Vec<_>>()
    };
    let of = || host(&scenario(&json!({})));
    assert_eq!(fresh(of()), [600]);
    assert_eq!(fresh(of().with_failing("features")), [600], "whatever failed");
    assert_eq!(fresh(Host::default().with_document(&scenario(&json!({})))), [1]);
}

#[test]
fn a_stale_one_is_given_and_computed_anew_for_the_next() {
    let host = host(&scenario(&json!({})));
    ask(&host, "ann", &two());
    host.kept.borrow_mut().values_mut().for_each(|kept| kept.fresh_s = -5);
    let (_, cache) = ask(&host, "ann", &two());
    assert_eq!(cache, CacheStatus::Hit(-5));
    assert_eq!(*host.revalidated.borrow(), [two().to_string()], "with the body as it was sent");
    host.exposures.borrow_mut().clear();
    let (_, cache) = ask_as(&host, Call { revalidates: true, user_id: "ann", ..call("", false) }, &two());
    assert_eq!((cache, host.runs.get()), (STORED, 2));
    assert!(host.exposures.borrow().is_empty() && host.logged.borrow().len() == 1, "nobody is shown it");
    assert_eq!(ask(&host, "ann", &two()).1, CacheStatus::Hit(600));
}

#[test]
fn an_item_that_is_gone_ends_it() {
    let host = host(&scenario(&json!({})));
    ask(&host, "ann", &two());
    let host = Host { kept: std::rc::Rc::clone(&host.kept), ..copy(&host) }.without_item("a");
    let (answer, cache) = ask(&host, "ann", &two());
    assert_eq!(cache, STORED);
    assert!(!answer.to_string().contains("\"a\""), "{answer}");
    // What was kept is no answer of ours.
    host.kept.borrow_mut().values_mut().for_each(|kept| kept.value = "[]".to_owned());
    assert_eq!(ask(&host, "ann", &two()).1, STORED);
}

#[test]
fn what_was_shown_is_not_shown_again_unless_the_scenario_says_so() {
    let exposure = |cache: Value| scenario(&json!({"exposure": {"enabled": true}, "cache": cache}));
    let host_of = |cache: Value| Host { remembers: true, ..host(&exposure(cache)) };
    let items = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().unwrap();
        items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect()
    };
    let host = host_of(json!({}));
    assert_eq!(ask(&host, "ann", &two()).1, CacheStatus::Bypass);
    assert_eq!(items(&ask(&host, "ann", &two()).0), ["c", "d"]);
    // A session is nobody's: it is shown the same in any case.
    let session = json!({"scenario_id": "s", "count": 2, "behaviors": []});
    assert_eq!(ask(&host, "", &session).1, STORED);
    assert_eq!(ask(&host, "", &session).1, CacheStatus::Hit(600));
    let host = host_of(json!({"enabled": true, "ttl_seconds": 5}));
    ask(&host, "ann", &two());
    let (answer, cache) = ask(&host, "ann", &two());
    assert_eq!((items(&answer), cache), (vec!["a".to_owned(), "b".to_owned()], CacheStatus::Hit(5)));
    let ann = Some("ann".to_owned());
    assert!(host.exposures.borrow().iter().all(|(user, _)| *user == ann) && host.exposures.borrow().len() == 2);
}

#[test]
fn some_are_not_kept_or_for_a_moment() {
    let off = host(&scenario(&json!({"cache": {"enabled": false}})));
    assert_eq!(ask(&off, "ann", &two()).1, CacheStatus::Bypass);
    let on = host(&scenario(&json!({})));
    assert_eq!(ask_as(&on, Call { explain: true, user_id: "ann", ..call("", false) }, &two()).1, CacheStatus::Bypass);
    assert!(on.kept.borrow().is_empty());
    let down = Host { down: true, ..host(&scenario(&json!({}))) };
    let (answer, cache) = ask(&down, "ann", &two());
    assert_eq!((cache, answer["items"].as_array().unwrap().len()), (CacheStatus::Unavailable, 2));
    let empty = Host::default().with_document(&scenario(&json!({})));
    ask(&empty, "ann", &two());
    assert!(empty.kept.borrow().values().all(|kept| kept.fresh_s == 1) && empty.kept.borrow().len() == 1);
}

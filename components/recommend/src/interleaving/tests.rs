//! The funnel of an interleaved request.

use std::collections::BTreeSet;

use funnelweb_guest::dispatch::Team;
use serde_json::{Value, json};

use crate::{
    fixtures::{Host, Logged},
    tests::{experiment, interleaving, recommend, session},
};

const ITEMS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The ranker `linear` has the items in order.
fn host_of(config: &Value, experiments: &Value) -> Host {
    let backwards: Vec<&str> = ITEMS.into_iter().rev().collect();
    let scenario = json!({"scenario_id": "s", "scenario_type": "t", "config": config, "experiments": experiments});
    Host::default()
        .with_document(&scenario)
        .with_channel("latest", &ITEMS)
        .with_channel("hot_items", &["x", "y", "z"])
        .with_ranker("linear", &ITEMS)
        .with_ranker("backwards", &backwards)
}

fn host(treatment: &Value) -> Host {
    host_of(&json!({"recall": {"strategies": [{"name": "latest"}]}}), &json!([interleaving(treatment)]))
}

fn backwards() -> Value {
    json!({"rank": {"model": "backwards"}})
}

fn ids(response: &Value) -> Vec<&str> {
    response["items"].as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap()).collect()
}

fn teams(logged: &Logged) -> Vec<Team> {
    let draft = logged.drafted.as_ref().unwrap();
    assert_eq!((draft.experiment.as_str(), draft.teams.len()), ("exp", logged.items.len()));
    draft.teams.clone()
}

#[test]
fn both_rankings_draft_the_slate() {
    let host = host(&backwards());
    let mut firsts = BTreeSet::new();
    for user in 0..40 {
        let response = recommend(&host, &format!("user-{user}"), true);
        assert_eq!(response["experiments"], json!([{"experiment_id": "exp", "group_id": "interleaved"}]));
        assert_eq!(response["degraded"], json!([]));
        let logged = host.logged.take().pop().unwrap();
        let mut sorted = ids(&response);
        sorted.sort_unstable();
        assert_eq!((sorted, &*logged.groups[0]), (ITEMS.to_vec(), "exp:interleaved"));
        let teams = teams(&logged);
        firsts.insert(format!("{:?}", teams[0]));
        for team in [Team::Control, Team::Treatment] {
            assert_eq!(teams.iter().filter(|of| **of == team).count(), 4);
        }
        let told = &response["explain"]["interleaving"];
        let names: Vec<Option<&str>> = teams.iter().map(|team| crate::draft::name(*team)).collect();
        assert_eq!((&told["experiment_id"], &told["teams"]), (&json!("exp"), &json!(names)));
        assert_eq!([&told["control"][0]["item_id"], &told["treatment"][0]["item_id"]], ["a", "h"]);
        assert_eq!(logged.rows.len(), 8, "with its features");
    }
    assert_eq!(firsts.len(), 2, "either is first");
}

#[test]
fn what_is_the_same_runs_once() {
    let host = host(&backwards());
    recommend(&host, "ann", false);
    assert_eq!(host.called.take(), ["latest", "features", "backwards", "linear"]);
}

#[test]
fn other_candidates_are_found_beside_and_keep_their_channels() {
    let host = host(&json!({"recall": {"strategies": [{"name": "hot_items"}]}}));
    for user in 0..10 {
        let response = recommend(&host, &format!("user-{user}"), true);
        assert_eq!(host.called.take(), ["latest", "features", "hot_items", "features", "linear", "linear"]);
        let logged = host.logged.take().pop().unwrap();
        let teams = teams(&logged);
        assert_eq!((logged.items.len(), logged.rows.len()), (8, 0), "there is no table of both");
        for (item, team) in response["items"].as_array().unwrap().iter().zip(teams) {
            let is_treatments = ["x", "y", "z"].contains(&item["item_id"].as_str().unwrap());
            assert_eq!(item["sources"], json!([if is_treatments { "hot_items" } else { "latest" }]));
            assert!(team != if is_treatments { Team::Control } else { Team::Treatment }, "{item}");
        }
        assert!(!response["explain"].to_string().contains("unknown item"));
    }
}

#[test]
fn equal_rankings_are_that_ranking() {
    for treatment in [json!({}), json!({"rank": {"model": "linear"}})] {
        let host = host(&treatment);
        for user in 0..10 {
            assert_eq!(ids(&recommend(&host, &format!("user-{user}"), false)), ITEMS);
        }
    }
}

#[test]
fn where_a_stage_fails_the_slate_is_the_control_s() {
    for failing in ["backwards", "linear"] {
        let host = host(&backwards()).with_failing(failing);
        let response = recommend(&host, "ann", true);
        assert_eq!(ids(&response), ITEMS);
        let degraded = response["degraded"].as_array().unwrap();
        let told: Vec<&str> = degraded.iter().map(|of| of["stage"].as_str().unwrap()).collect();
        assert!(told.contains(&failing) && told.contains(&"experiments"), "{told:?}");
        let reason = format!("`exp` is not interleaved: the stage `{failing}` did not do its part");
        assert!(degraded.iter().any(|of| of["reason"] == reason), "{degraded:?}");
        assert!(response.get("experiments").is_none() && response["explain"].get("interleaving").is_none());
        let logged = host.logged.take().pop().unwrap();
        assert!(logged.groups.is_empty() && logged.drafted.is_none());
    }
    // What both lack is no difference between them.
    let host = host(&backwards()).with_failing("latest");
    assert!(recommend(&host, "ann", false).get("experiments").is_some());
    let host = self::host(&backwards()).with_failing("features");
    assert!(recommend(&host, "ann", false).get("experiments").is_none(), "nothing was ranked");
}

#[test]
fn a_config_that_breaks_a_rule_drafts_nothing() {
    let host = host(&json!({"recall": {"merge": {"method": "score", "k": 7}}}));
    let response = recommend(&host, "ann", false);
    assert_eq!(ids(&response), ITEMS);
    let reason = "`exp` is not interleaved: config.recall.merge.k: is for the method `rrf`";
    assert_eq!(response["degraded"], json!([{"stage": "experiments", "reason": reason}]));
    assert!(response.get("experiments").is_none() && host.logged.take().pop().unwrap().drafted.is_none());
}

#[test]
fn groups_of_other_layers_are_the_control_s_and_the_treatment_s() {
    let hot = json!({"recall": {"strategies": [{"name": "hot_items"}]}});
    let experiments = json!([interleaving(&backwards()), experiment("recalls", "recall", &hot)]);
    let host = host_of(&json!({"recall": {"strategies": [{"name": "latest"}]}}), &experiments);
    let mut seen = BTreeSet::new();
    for user in 0..20 {
        let response = recommend(&host, &format!("user-{user}"), false);
        let groups = response["experiments"].as_array().unwrap();
        let group = groups[0]["group_id"].as_str().unwrap();
        assert_eq!(groups[1], json!({"experiment_id": "exp", "group_id": "interleaved"}));
        let logged = host.logged.take().pop().unwrap();
        assert_eq!(logged.groups, [format!("recalls:{group}"), "exp:interleaved".to_owned()]);
        assert_eq!(ids(&response).contains(&"x"), group == "new");
        seen.insert(group.to_owned());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn explored_places_are_nobody_s() {
    let config = json!({
        "recall": {"strategies": [{"name": "latest"}, {"name": "explore", "weight": 0.0}]},
        "exploration": {"share": 0.25},
    });
    let host = host_of(&config, &json!([interleaving(&backwards())])).with_channel("explore", &["n1", "n2", "n3"]);
    for user in 0..20 {
        let response = recommend(&host, &format!("user-{user}"), false);
        let explored = response["items"].as_array().unwrap().iter().map(|item| item.get("explored").is_some());
        let teams = teams(&host.logged.take().pop().unwrap());
        assert_eq!(teams.iter().map(|team| *team == Team::Nobody).collect::<Vec<_>>(), explored.collect::<Vec<_>>());
        assert_eq!(teams.iter().filter(|team| **team == Team::Nobody).count(), 2);
    }
}

#[test]
fn who_drafted_is_logged_whatever_share_is_logged_with_features() {
    let config = json!({"recall": {"strategies": [{"name": "latest"}]}, "exposure": {"log_share": 0.0}});
    let host = host_of(&config, &json!([interleaving(&backwards())]));
    recommend(&host, "ann", false);
    let logged = host.logged.take().pop().unwrap();
    assert_eq!((teams(&logged).len(), logged.rows.len()), (8, 0));
}

#[test]
fn sessions_are_interleaved_and_not_logged() {
    let host = host(&backwards());
    let body = json!({"scenario_id": "s", "behaviors": [], "context": {"device_id": "phone-7"}});
    let response = session(&host, body).unwrap();
    assert_eq!(response["experiments"][0]["group_id"], "interleaved");
    assert!(host.logged.take().is_empty());
}

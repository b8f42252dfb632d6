use funnelweb_core::{id::handle, limits};
use funnelweb_factor_documents::store::{Collection, Key, Precondition};
use funnelweb_factor_learned::store::Relation;
use funnelweb_tenant_store::Tenant;
use funnelweb_training::{Error, SimilarityParams, similarity};
use serde_json::json;

use crate::fixture::{DAY_MS, Fixture, Follower, START_MS};

fn handles(taste: &str) -> Vec<u64> {
    (0..10).map(|at| handle(&format!("{taste}{at}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_alike_are_neighbours_whatever_finds_them() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    let all = [
        json!({}),
        json!({"weighting": "tf_idf", "shrinkage": 0}),
        json!({"weighting": "bm25", "b": 0.5}),
        json!({"k1": 2}),
        json!({"algorithm": "rp3beta", "alpha": 1, "beta": 0.1, "normalisation": 0.5}),
        json!({"algorithm": "ease", "regularisation": 2, "dropout": 0.1, "threads": 1}),
    ];
    for (version, params) in (1..).zip(all) {
        let outcome = it.similarity(version, params.clone()).await.unwrap();
        assert_eq!(outcome["version"], version);
        assert_eq!((&outcome["users"], &outcome["items"]), (&json!(40), &json!(20)));
        assert_eq!((&outcome["events"], &outcome["served"]), (&json!(200), &json!(true)));
        assert!(outcome["item_neighbours"].as_u64().unwrap() > 20, "{params} {outcome}");
        let alike = it.related(Relation::SimilarItems, "a1").await;
        assert!(!alike.is_empty() && alike.iter().all(|item| handles("a").contains(item)), "{params}");
        let alike = it.related(Relation::SimilarUsers, "u39").await;
        assert!(!alike.is_empty() && alike.iter().all(|user| (20..39).any(|at| handle(&format!("u{at}")) == *user)));
        let own = it.related(Relation::UserItems, "u39").await;
        assert!(own.len() > 2 && own.iter().all(|item| handles("b").contains(item)));
    }
    // What is served, and what was before.
    assert_eq!(it.versions("similarity").await, [5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_has_the_same_say_if_asked_for() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    it.similarity(1, json!({"normalisation": 1})).await.unwrap();
    for item in ["a1", "b2"] {
        let of = [handle(item)];
        let alike = it.context.learned.related(&it.t, "feed", Relation::SimilarItems, &of, 99).await.unwrap();
        assert!((alike.scores.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{:?}", alike.scores);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    let follower = Follower::new();
    let params = SimilarityParams::default();
    similarity(&it.context, &it.target(1), &params, follower.clone()).await.unwrap();
    let told = follower.told.lock().unwrap();
    let mut phases: Vec<&str> = told.iter().map(|(phase, _)| phase.as_str()).collect();
    phases.dedup();
    assert_eq!(phases, ["reading behaviours", "neighbours of items", "neighbours of users", "writing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_changes_nothing() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    it.similarity(1, json!({})).await.unwrap();
    let params = SimilarityParams::default();
    for phase in ["reading behaviours", "neighbours of items", "neighbours of users", "writing"] {
        let follower = Follower::who_cancels(phase, 0.0);
        let stopped = similarity(&it.context, &it.target(2), &params, follower).await;
        assert_eq!(stopped, Err(Error::Cancelled), "{phase}");
        assert_eq!(it.versions("similarity").await, [1]);
    }
    assert!(!it.related(Relation::SimilarItems, "a1").await.is_empty());
}

#[tokio::test]
async fn who_comes_late_writes_over_nothing() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    it.similarity(8, json!({})).await.unwrap();
    for version in [7, 8] {
        assert_eq!(it.similarity(version, json!({})).await, Err(Error::Superseded));
    }
    assert_eq!(it.versions("similarity").await, [8]);
}

#[tokio::test]
async fn without_behaviours_it_succeeds_and_says_so() {
    let it = Fixture::new().await;
    let outcome = it.similarity(1, json!({})).await.unwrap();
    assert_eq!(outcome["note"], "there are no behaviours to learn from");
    it.two_tastes().await;
    it.similarity(2, json!({})).await.unwrap();
    assert!(!it.related(Relation::SimilarItems, "a1").await.is_empty());
    // What was learned of those who are gone goes as well.
    for user in 0..40 {
        it.context.documents.delete_user(&it.t, format!("u{user}")).await.unwrap();
    }
    let outcome = it.similarity(3, json!({})).await.unwrap();
    assert_eq!((&outcome["interactions"], &outcome["users"]), (&json!(0), &json!(0)));
    assert_eq!(it.related(Relation::SimilarItems, "a1").await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_odd_data() {
    let it = Fixture::new().await;
    let click = |user: &str, item: &str| it.event(user, item, "click", START_MS);
    // One interaction.
    it.append(vec![click("u1", "i1")]).await;
    let outcome = it.similarity(1, json!({})).await.unwrap();
    assert_eq!((&outcome["interactions"], &outcome["item_neighbours"]), (&json!(1), &json!(0)));
    assert_eq!(it.related(Relation::UserItems, "u1").await, [handle("i1")]);
    // Three items, and everybody the same with all of them.
    for user in ["u1", "u2", "u3"] {
        it.append(["i1", "i2", "i3"].map(|item| click(user, item)).to_vec()).await;
    }
    for (version, algorithm) in (2..).zip(["knn", "rp3beta", "ease"]) {
        it.similarity(version, json!({"algorithm": algorithm})).await.unwrap();
        let mut alike = it.related(Relation::SimilarItems, "i1").await;
        alike.sort();
        let mut others = [handle("i2"), handle("i3")];
        others.sort();
        assert_eq!(alike, others, "{algorithm}");
    }
    // Somebody who does thousands of things, most of them again and again.
    let robot = (0..5000).map(|at| it.event("robot", &format!("i{}", at % 400), "view", START_MS + at)).collect();
    it.append(robot).await;
    let outcome = it.similarity(9, json!({})).await.unwrap();
    assert_eq!(outcome["interactions"], 9 + 400);
    assert_eq!(it.related(Relation::UserItems, "robot").await.len(), limits::LEARNED_HISTORY_ITEMS);
}

#[tokio::test]
async fn weights_are_those_of_the_scenario_and_halve() {
    let it = Fixture::new().await;
    it.scenario(&it.t, json!({"weights": {"hum": 5, "click": 1}})).await;
    let at = |item: &str, action: &str, day: u64| it.event("u", item, action, START_MS + day * DAY_MS);
    it.append(vec![
        at("old", "hum", 0),
        at("new", "click", 10),
        at("shown", "impression", 10),
        at("disliked", "click", 10),
        at("disliked", "dislike", 10),
    ])
    .await;
    it.similarity(1, json!({})).await.unwrap();
    assert_eq!(it.related(Relation::UserItems, "u").await, [handle("old"), handle("new")]);
    it.similarity(2, json!({"half_life_days": 2})).await.unwrap();
    let lists = it.context.learned.related(&it.t, "feed", Relation::UserItems, &[handle("u")], 9).await.unwrap();
    assert_eq!(lists.handles, [handle("new"), handle("old")]);
    assert_eq!(lists.scores, [1.0, 5.0 / 32.0]);
}

#[tokio::test]
async fn items_that_are_gone_are_learned_from_and_other_logs_are_not() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    it.item("a1", json!({"status": "inactive"})).await;
    it.item("a2", json!({})).await;
    let key = Key::new("feed", "a2");
    it.context.documents.delete(&it.t, Collection::Items, key, Precondition::None).await.unwrap();
    let mut elsewhere = it.event("u1", "b1", "click", START_MS);
    elsewhere.scenario_id = "other".to_owned();
    it.append(vec![elsewhere]).await;
    let outcome = it.similarity(1, json!({})).await.unwrap();
    assert_eq!((&outcome["events"], &outcome["items"]), (&json!(200), &json!(20)));
    assert!(it.related(Relation::SimilarItems, "a3").await.contains(&handle("a1")));
    // Another tenant has the same scenario and nothing else.
    let other = Tenant::new("other").unwrap();
    it.scenario(&other, json!({})).await;
    let target = funnelweb_training::Target { tenant: other.clone(), ..it.target(1) };
    let outcome = similarity(&it.context, &target, &SimilarityParams::default(), Follower::new()).await.unwrap();
    assert_eq!(outcome["events"], 0);
    let lists = it.context.learned.related(&other, "feed", Relation::UserItems, &[handle("u1")], 9).await.unwrap();
    assert_eq!(lists.handles, [0; 0]);
    let nowhere = funnelweb_training::Target { scenario_id: "nowhere".to_owned(), ..it.target(1) };
    let failed = similarity(&it.context, &nowhere, &SimilarityParams::default(), Follower::new()).await;
    assert_eq!(failed, Err(Error::NoScenario("nowhere".to_owned())));
}

#[tokio::test]
async fn a_result_that_was_damaged_leaves_the_last_good_one() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    it.similarity(1, json!({})).await.unwrap();
    let alike = it.related(Relation::SimilarItems, "a1").await;
    it.similarity(2, json!({"neighbours": 1})).await.unwrap();
    assert_eq!(it.related(Relation::SimilarItems, "a1").await.len(), 1);
    let file = it.folder.path().join("blobs/t/learned/feed/similarity/@2");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    // As after a start.
    let vectors = it.context.vectors.clone();
    let again = funnelweb_factor_learned::LearnedModels::new(it.context.blobs.clone(), vectors);
    let learned: &dyn funnelweb_factor_learned::store::Learned = &again;
    let lists = learned.related(&it.t, "feed", Relation::SimilarItems, &[handle("a1")], 1000).await.unwrap();
    assert_eq!(lists.handles, alike);
}

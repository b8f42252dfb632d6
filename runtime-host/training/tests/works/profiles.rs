use funnelweb_factor_documents::store::{Collection, Key, Precondition};
use funnelweb_training::{Error, ProfilesParams, profiles};
use serde_json::{Value, json};

use crate::fixture::{DAY_MS, Fixture, Follower, START_MS};

impl Fixture {
    async fn profiles(&self) -> Value {
        profiles(&self.context, &self.target(1), &ProfilesParams {}, Follower::new()).await.unwrap()
    }

    async fn profile(&self, user: &str) -> Option<Value> {
        let key = Key::new("feed", user);
        let found = self.context.documents.get(&self.t, Collection::UserProfiles, key).await.unwrap();
        found.map(|document| serde_json::from_str(&document.body).unwrap())
    }

    async fn write(&self, user: &str, body: Value) {
        let key = Key::new("feed", user);
        let documents = &self.context.documents;
        let replaced = documents.replace(&self.t, Collection::UserProfiles, key, body.to_string(), Precondition::None);
        replaced.await.unwrap();
    }
}

fn outcome(users: u64, written: u64, unchanged: u64) -> Value {
    json!({"users": users, "written": written, "unchanged": unchanged, "skipped": 0})
}

/// Numbers that differ by rounding are the same.
fn assert_alike(a: &Value, b: &Value) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
            a.iter().for_each(|(name, value)| assert_alike(value, &b[name]));
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-6 * a.abs(), "{a} {b}");
        }
        (a, b) => assert_eq!(a, b),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_are_as_the_behaviours_made_them() {
    let it = Fixture::new().await;
    for item in 0..5 {
        it.item(&format!("i{item}"), json!({})).await;
    }
    let actions = ["click", "view", "like", "impression", "skip", "dislike", "watch"];
    for at in 0..60_u64 {
        let (user, item) = (format!("u{}", at % 4), format!("i{}", at * at % 6));
        it.behave(it.event(&user, &item, actions[at as usize % 7], START_MS + at * DAY_MS / 3)).await;
    }
    let parts = ["preferences", "features", "recent_items", "preferences_at_ms"];
    let before = it.profile("u1").await.unwrap();
    assert!(before["preferences"]["tag_scores"]["a"].as_f64().is_some());
    // With something written by hand, and the rest lost or wrong.
    it.write(
        "u1",
        json!({
            "features": {"age": 30, "total_click_count": 1000, "favorite_categories": ["x"]},
            "preferences": {"tag_scores": {"wrong": 9}, "language": "en"},
            "note": "hand"
        }),
    )
    .await;
    it.context
        .documents
        .delete(&it.t, Collection::UserProfiles, Key::new("feed", "u2"), Precondition::None)
        .await
        .unwrap();
    it.write("quiet", json!({"features": {"age": 5}})).await;
    let made = it.profiles().await;
    assert_eq!((&made["users"], &made["skipped"]), (&json!(5), &json!(0)));
    assert!(made["written"].as_u64().unwrap() >= 2);
    let mut after = it.profile("u1").await.unwrap();
    assert_eq!((&after["features"]["age"], &after["note"]), (&json!(30), &json!("hand")));
    assert_eq!(after["preferences"]["language"], "en");
    after["features"].as_object_mut().unwrap().remove("age");
    after["preferences"].as_object_mut().unwrap().remove("language");
    for part in parts {
        assert_alike(&before[part], &after[part]);
    }
    assert!(it.profile("u2").await.unwrap()["recent_items"].as_array().unwrap().len() > 1);
    assert_eq!(it.profile("quiet").await.unwrap()["features"], json!({"age": 5}));
    // Made twice it is the same.
    assert_eq!(it.profiles().await, outcome(5, 0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviours_that_come_meanwhile_count_once() {
    let it = Fixture::new().await;
    it.item("i", json!({})).await;
    for at in 0..200 {
        it.behave(it.event("u", "i", "click", START_MS + at)).await;
    }
    let (it, both) = (&it, std::sync::atomic::AtomicBool::new(true));
    let behaving = async {
        for at in 0..100 {
            it.behave(it.event("u", "i", "click", START_MS + 1000 + at)).await;
        }
        both.store(false, std::sync::atomic::Ordering::SeqCst);
    };
    let making = async {
        while both.load(std::sync::atomic::Ordering::SeqCst) {
            it.profiles().await;
        }
    };
    tokio::join!(behaving, making);
    assert_eq!(it.profile("u").await.unwrap()["features"]["total_click_count"], 300);
    it.profiles().await;
    assert_eq!(it.profile("u").await.unwrap()["features"]["total_click_count"], 300);
}

#[tokio::test]
async fn without_anybody_there_is_nothing_to_make() {
    let it = Fixture::new().await;
    assert_eq!(it.profiles().await, outcome(0, 0, 0));
    // Somebody who did nothing that says something gets no profile.
    it.append(vec![it.event("u", "i", "impression", START_MS)]).await;
    assert_eq!(it.profiles().await, outcome(1, 0, 1));
    assert_eq!(it.profile("u").await, None);
    let follower = Follower::who_cancels("making profiles", 0.0);
    let stopped = profiles(&it.context, &it.target(1), &ProfilesParams {}, follower).await;
    assert_eq!(stopped, Err(Error::Cancelled));
}

use std::{sync::Arc, time::Duration};

use funnelweb_core::{id::handle, limits};
use funnelweb_factor_vectors::store::Filter;
use funnelweb_training::{Context, EmbeddingsParams, Error, Follow, embeddings};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Follower, START_MS};

impl Fixture {
    async fn embeddings(&self, version: u64, params: Value, follow: Arc<dyn Follow>) -> Result<Value, Error> {
        let params = EmbeddingsParams::parse(&params).unwrap();
        embeddings(&self.context, &self.target(version), &params, follow).await
    }

    async fn file(&self, version: u64) -> Vec<u8> {
        self.context.blobs.get(&self.t, "learned/feed/factors", version).await.unwrap().unwrap().to_vec()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_know_the_taste() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    let follower = Follower::new();
    let params = json!({"dimensions": 8, "regularisation": 0.003, "unobserved_weight": 0.1});
    let outcome = it.embeddings(5, params, follower.clone()).await.unwrap();
    assert_eq!((&outcome["users"], &outcome["items"], &outcome["dimensions"]), (&json!(40), &json!(20), &json!(8)));
    assert_eq!((&outcome["served"], &outcome["resumed_at"]), (&json!(true), &json!(0)));
    let model = it.context.learned.factors(&it.t, "feed").await.unwrap().unwrap();
    assert_eq!((model.version, model.items, model.gramian.len(), model.mean_weight), (5, 20, 64, 2.0));
    let vectors = &it.context.vectors;
    let user = vectors.get(&it.t, "feed", &model.user_space, vec![handle("u3")]).await.unwrap().values;
    let hits = vectors.query(&it.t, "feed", &model.item_space, user, 5, Filter::All).await.unwrap();
    let taste: Vec<u64> = (0..10).map(|at| handle(&format!("a{at}"))).collect();
    assert!(hits.handles.iter().all(|item| taste.contains(item)));
    let told = follower.told.lock().unwrap();
    let mut phases: Vec<&str> = told.iter().map(|(phase, _)| phase.as_str()).collect();
    phases.dedup();
    assert_eq!(phases, ["vectors of items' own", "reading behaviours", "training", "writing"]);
    assert!(told.is_sorted_by(|a, b| a.1 <= b.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_was_interrupted_goes_on_to_the_same_result() {
    let it = Fixture::new().await;
    it.two_tastes().await;
    // Long enough for something to be kept, however busy the disk is.
    let params = json!({"dimensions": 16, "epochs": 400});
    it.embeddings(1, params.clone(), Follower::new()).await.unwrap();
    let often = Fixture { context: Context { checkpoint_every: Duration::ZERO, ..it.context.clone() }, ..it };
    let killed = often.embeddings(2, params.clone(), Follower::who_cancels("training", 0.8)).await;
    assert_eq!(killed, Err(Error::Cancelled));
    assert_eq!(often.versions("factors").await, [1]);
    // Two when it ended between keeping one and deleting the one before.
    let kept = async || assert!((1..=2).contains(&often.versions("checkpoint").await.len()));
    kept().await;
    // What happened since is for the run after it.
    often.append(vec![often.event("newcomer", "a1", "click", START_MS)]).await;
    let outcome = often.embeddings(3, params.clone(), Follower::new()).await.unwrap();
    assert!((1..400).contains(&outcome["resumed_at"].as_u64().unwrap()), "{outcome}");
    assert!(often.file(3).await == often.file(1).await);
    assert_eq!(often.versions("checkpoint").await, [0; 0]);
    let outcome = often.embeddings(4, params.clone(), Follower::new()).await.unwrap();
    assert_eq!((&outcome["resumed_at"], &outcome["users"]), (&json!(0), &json!(41)));
    // With other params, or without somebody who was deleted, it begins anew.
    let stop = async || {
        let stopped = often.embeddings(9, params.clone(), Follower::who_cancels("training", 0.8)).await;
        assert_eq!(stopped, Err(Error::Cancelled));
        kept().await;
    };
    stop().await;
    let other = json!({"dimensions": 16, "epochs": 400, "regularisation": 0.02});
    assert_eq!(often.embeddings(5, other, Follower::new()).await.unwrap()["resumed_at"], 0);
    stop().await;
    often.context.documents.delete_user(&often.t, "u7".to_owned()).await.unwrap();
    let outcome = often.embeddings(6, params.clone(), Follower::new()).await.unwrap();
    assert_eq!((&outcome["resumed_at"], &outcome["users"]), (&json!(0), &json!(40)));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_odd_data() {
    let it = Fixture::new().await;
    let outcome = it.embeddings(1, json!({}), Follower::new()).await.unwrap();
    assert_eq!(outcome["note"], "there are no behaviours to learn from");
    assert_eq!(it.context.learned.factors(&it.t, "feed").await, Ok(None));
    it.append(vec![it.event("u1", "i1", "click", START_MS)]).await;
    let most = limits::LEARNED_DIMENSIONS;
    it.embeddings(2, json!({"dimensions": most, "epochs": 1}), Follower::new()).await.unwrap();
    assert_eq!(it.context.learned.factors(&it.t, "feed").await.unwrap().unwrap().dimension as usize, most);
    for user in ["u1", "u2", "u3"] {
        let all = ["i1", "i2", "i3"].map(|item| it.event(user, item, "click", START_MS));
        it.append(all.to_vec()).await;
    }
    it.embeddings(3, json!({}), Follower::new()).await.unwrap();
    let model = it.context.learned.factors(&it.t, "feed").await.unwrap().unwrap();
    assert!(model.items == 3 && model.gramian.iter().all(|value| value.is_finite()));
    for user in ["u1", "u2", "u3"] {
        it.context.documents.delete_user(&it.t, user.to_owned()).await.unwrap();
    }
    it.embeddings(4, json!({}), Follower::new()).await.unwrap();
    assert_eq!(it.context.learned.factors(&it.t, "feed").await, Ok(None));
    assert_eq!(it.embeddings(4, json!({}), Follower::new()).await, Err(Error::Superseded));
}

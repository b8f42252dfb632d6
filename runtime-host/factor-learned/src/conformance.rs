//! What holds of learned models over every backend of blobs and of vectors: nobody who
//! was deleted is in them, for whoever reads them, until they were trained anew.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test suite: a failed check is a panic")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use funnelweb_blob_store::store::{Blobs, Bytes};
use funnelweb_core::id::handle;
use funnelweb_factor_vectors::store::Vectors;

use crate::{
    Factors, Handles, LearnedModels, Similarity, Table, names,
    store::{Learned, Relation, Tenant},
};

/// The backends under test.
pub struct Suite {
    /// Where models are.
    pub blobs: Arc<dyn Blobs>,
    /// Where their vectors are.
    pub vectors: Arc<dyn Vectors>,
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'static str,
}

const USERS: [&str; 3] = ["ann", "bob", "cid"];
const DAY_MS: u64 = 24 * 3600 * 1000;

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

/// Everybody is like everybody else and did the one item; handles ascend.
fn similarity() -> (Handles, Similarity) {
    let mut handles = USERS.map(handle).to_vec();
    handles.sort_unstable();
    let users = Handles::new(handles).unwrap();
    let (ids, scores) = (vec![1, 2, 0, 2, 0, 1], vec![0.5; 6]);
    let alike = Table { offsets: vec![0, 2, 4, 6], ids, scores };
    let did = Table { offsets: vec![0, 1, 2, 3], ids: vec![0; 3], scores: vec![1.0; 3] };
    let items = Handles::new(vec![7]).unwrap();
    (users.clone(), Similarity::new(items, users, Table::empty(1), alike, did).unwrap())
}

fn factors(users: Handles) -> Factors {
    Factors {
        items: Handles::new(vec![7]).unwrap(),
        users,
        dimension: 2,
        unobserved_weight: 0.1,
        regularisation: 0.2,
        regularisation_exponent: 0.5,
        mean_weight: 1.5,
        gramian: vec![4.0, 3.0, 3.0, 4.0],
        item_values: vec![1.0, 2.0],
        user_values: vec![1.0; 6],
    }
}

impl Suite {
    /// Runs every check.
    pub async fn run(&self) {
        self.who_is_deleted_is_in_no_model().await;
        self.what_is_learned_later_is_given().await;
        self.marks_go_when_every_model_is_newer().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    /// As another process has them, or this one after a start.
    fn models(&self) -> LearnedModels {
        LearnedModels::looking_every(Duration::ZERO, Arc::clone(&self.blobs), Arc::clone(&self.vectors))
    }

    /// Models of two scenarios, whose training began to read then.
    async fn train(&self, t: &Tenant, version: u64, began_ms: u64) {
        let (users, similarity) = similarity();
        for scenario in ["s", "s2"] {
            let files = [
                (names::similarity(scenario), similarity.encode()),
                (names::factors(scenario), factors(users.clone()).encode().unwrap()),
            ];
            for (name, file) in files {
                let began = Bytes::copy_from_slice(&began_ms.to_le_bytes());
                self.blobs.put(t, &names::began(&name), version, began).await.unwrap();
                self.blobs.put(t, &name, version, file.into()).await.unwrap();
            }
        }
    }

    /// Who of all users is known: has neighbours and a history, is a neighbour, has a
    /// vector.
    async fn known(&self, t: &Tenant, models: &LearnedModels, scenario: &str) -> Vec<&'static str> {
        let mut known = Vec::new();
        let space = models.factors(t, scenario).await.unwrap().unwrap().user_space.clone();
        let handles = USERS.map(handle);
        let related = async |relation| models.related(t, scenario, relation, &handles, 10).await.unwrap();
        let (alike, did) = (related(Relation::SimilarUsers).await, related(Relation::UserItems).await);
        for (at, user) in USERS.into_iter().enumerate() {
            let has = |lists: &[u32]| lists[at + 1] > lists[at];
            let vector = self.vectors.get(t, scenario, &space, vec![handle(user)]).await.unwrap();
            let all = [
                has(&did.offsets),
                has(&alike.offsets),
                alike.handles.contains(&handle(user)),
                !vector.found.is_empty(),
            ];
            assert!(all.iter().all(|one| *one == all[0]), "{user} is known half: {all:?}");
            known.extend(all[0].then_some(user));
        }
        known
    }

    async fn who_is_deleted_is_in_no_model(&self) {
        let t = &self.tenant("learned-gone");
        self.train(t, 1, now_ms()).await;
        let (models, other) = (self.models(), self.models());
        for scenario in ["s", "s2"] {
            assert_eq!(self.known(t, &models, scenario).await, USERS);
            assert_eq!(self.known(t, &other, scenario).await, USERS);
        }
        for _ in 0..2 {
            models.forget_user(t, "ann").await.unwrap();
            // At once here, and in a process that begins now.
            for models in [&models, &self.models()] {
                for scenario in ["s", "s2"] {
                    assert_eq!(self.known(t, models, scenario).await, ["bob", "cid"]);
                }
            }
        }
        // Soon in others.
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let neighbours = other.related(t, "s", Relation::SimilarUsers, &[handle("bob")], 10).await.unwrap();
            if neighbours.handles == [handle("cid")] {
                break;
            }
        }
        assert_eq!(self.known(t, &other, "s").await, ["bob", "cid"]);
        // What is lost is filled again, without them.
        let space = models.factors(t, "s").await.unwrap().unwrap().user_space.clone();
        self.vectors.drop_space(t, "s", &space).await.unwrap();
        models.refresh(t, "s").await.unwrap();
        assert_eq!(self.known(t, &models, "s").await, ["bob", "cid"]);
        // A training that began to read before does not bring them back.
        self.train(t, 2, now_ms() - 1000).await;
        models.refresh(t, "s").await.unwrap();
        assert_eq!(self.known(t, &models, "s").await, ["bob", "cid"]);
        assert_eq!(self.known(t, &self.models(), "s2").await, ["bob", "cid"]);
        // Somebody else's users are others.
        let stranger = &self.tenant("learned-stranger");
        self.train(stranger, 1, now_ms()).await;
        assert_eq!(self.known(stranger, &models, "s").await, USERS);
        assert!(models.forget_user(t, "a b").await.unwrap_err().to_string().contains("user-id"));
    }

    async fn what_is_learned_later_is_given(&self) {
        let t = &self.tenant("learned-again");
        self.train(t, 1, now_ms()).await;
        let models = self.models();
        models.forget_user(t, "bob").await.unwrap();
        assert_eq!(self.known(t, &models, "s").await, ["ann", "cid"]);
        self.train(t, 2, now_ms() + DAY_MS).await;
        models.refresh(t, "s").await.unwrap();
        assert_eq!(self.known(t, &models, "s").await, USERS);
        models.refresh(t, "s2").await.unwrap();
        assert_eq!(self.known(t, &models, "s2").await, USERS);
    }

    async fn marks_go_when_every_model_is_newer(&self) {
        let t = &self.tenant("learned-pruned");
        let models = self.models();
        let marks = async || {
            let marks = self.blobs.list(t, names::GONE).await.unwrap();
            marks.iter().filter_map(|mark| names::gone_user(&mark.name)).collect::<Vec<_>>()
        };
        // Of somebody who was deleted long ago, and again.
        for days in [4, 3] {
            let name = names::gone(handle("ann"));
            self.blobs.put(t, &name, now_ms() - days * DAY_MS, Bytes::new()).await.unwrap();
        }
        self.train(t, 1, now_ms() - 5 * DAY_MS).await;
        models.refresh(t, "s").await.unwrap();
        assert_eq!(marks().await, [handle("ann"); 2]);
        models.forget_user(t, "bob").await.unwrap();
        // Versions 1 and 2 are there: what the older one needs stays.
        self.train(t, 2, now_ms()).await;
        models.refresh(t, "s").await.unwrap();
        assert_eq!(marks().await.len(), 3);
        for scenario in ["s", "s2"] {
            for name in [names::similarity(scenario), names::factors(scenario)] {
                assert!(self.blobs.delete(t, &name, 1).await.unwrap());
            }
        }
        models.refresh(t, "s").await.unwrap();
        assert_eq!(marks().await, [handle("bob")]);
        assert_eq!(self.known(t, &models, "s").await, ["ann", "cid"]);
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_blob_store::FileBlobs;
    use funnelweb_factor_vectors::EmbeddedVectors;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn embedded_stores_conform() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(FileBlobs::new(folder.path()).unwrap());
        let vectors = Arc::new(EmbeddedVectors::new(folder.path()));
        Suite { blobs, vectors, prefix: "" }.run().await;
    }
}

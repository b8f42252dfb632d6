//! The conformance suite of recordings on every server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use funnelweb_factor_documents::store::Documents;
use funnelweb_recording::{
    conformance::{self, Forgetting, all, keep, recording},
    store::Tenant,
};
use funnelweb_store_mongodb::{MongoDocuments, MongoRecordings};
use support::Server;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

struct Deleting(MongoDocuments);

#[async_trait]
impl Forgetting for Deleting {
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) {
        self.0.delete_user(tenant, user_id.to_owned()).await.unwrap();
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) {
        self.0.delete_scenario(tenant, scenario_id.to_owned()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    Server::each(async |server| {
        let store = server.store().await;
        let documents = MongoDocuments::new(Arc::clone(&store), None);
        let recordings = Arc::new(MongoRecordings::new(store));
        conformance::run(recordings, &Deleting(documents), now_ms()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_the_oldest_go() {
    Server::each(async |server| {
        let recordings = MongoRecordings::new(server.store().await);
        let [tenant, other] = ["many-recorded", "few-recorded"].map(|name| Tenant::new(name).unwrap());
        let now = now_ms();
        for at in 0..5 {
            keep(&recordings, &tenant, recording("feed", "ann", &format!("r{at}"), now + at)).await;
        }
        keep(&recordings, &other, recording("feed", "ann", "r0", now)).await;
        let left = async |tenant: &Tenant| -> Vec<String> {
            all(&recordings, tenant, None).await.into_iter().map(|head| head.request_id).collect()
        };
        recordings.keep(&tenant, 2).await.unwrap();
        assert_eq!(left(&tenant).await, ["r4", "r3"]);
        recordings.keep(&tenant, 0).await.unwrap();
        assert_eq!((left(&tenant).await, left(&other).await), (vec![], vec!["r0".to_owned()]));
    })
    .await;
}

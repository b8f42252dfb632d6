//! The conformance suite of the exposure log on every server, and what becomes of slates
//! that cannot be written.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use funnelweb_exposure_log::{
    conformance::{self, Forgetting, all, slate},
    store::{ExposureLog, Tenant},
};
use funnelweb_factor_documents::store::Documents;
use funnelweb_store_mongodb::{MongoDocuments, MongoExposureLog};
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
        let log = Arc::new(MongoExposureLog::new(store));
        conformance::run(log, &Deleting(documents), now_ms()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_the_oldest_go() {
    Server::each(async |server| {
        let log = MongoExposureLog::new(server.store().await);
        let [tenant, other] = ["many", "few"].map(|name| Tenant::new(name).unwrap());
        let now = now_ms();
        for at in 0..5 {
            log.append(&tenant, slate(if at % 2 == 0 { "feed" } else { "shop" }, "ann", now + at)).await.unwrap();
        }
        log.append(&other, slate("feed", "ann", now)).await.unwrap();
        log.settle(&tenant).await.unwrap();
        let left = async |tenant: &Tenant, scenario: &str| -> Vec<u64> {
            all(&log, tenant, scenario).await.iter().map(|slate| slate.shown_at_ms - now).collect()
        };
        log.keep(&tenant, 5).await.unwrap();
        assert_eq!((left(&tenant, "feed").await, left(&tenant, "shop").await), (vec![0, 2, 4], vec![1, 3]));
        log.keep(&tenant, 2).await.unwrap();
        assert_eq!((left(&tenant, "feed").await, left(&tenant, "shop").await), (vec![4], vec![3]));
        log.keep(&tenant, 0).await.unwrap();
        assert_eq!((left(&tenant, "feed").await, left(&other, "feed").await), (vec![], vec![0]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_written_and_nobody_waits_for_a_server_that_is_gone() {
    let mut server = Server::ferretdb().await;
    let log = MongoExposureLog::new(server.store().await);
    let tenant = Tenant::new("t").unwrap();
    let now = now_ms();
    let written: Vec<_> = (0..600).map(|at| slate("feed", "ann", now + at)).collect();
    for slate in &written {
        log.append(&tenant, slate.clone()).await.unwrap();
    }
    assert_eq!(all(&log, &tenant, "feed").await, written);
    server.stop();
    let append = async || log.append(&tenant, slate("feed", "ann", now)).await;
    tokio::time::timeout(Duration::from_millis(100), append()).await.unwrap().unwrap();
    // In the end there is no room for more, which is said.
    let full = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            if let Err(error) = append().await {
                return error.to_string();
            }
        }
    });
    assert!(full.await.unwrap().contains("wait to be written"));
}

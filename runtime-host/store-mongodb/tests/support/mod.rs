//! The servers that the suites run on: a FerretDB of our own, and what
//! `FUNNELWEB_TEST_MONGODB_URL` names, if it names something. A test that finds no
//! server fails.

#![allow(dead_code, reason = "each suite uses a part of it")]

pub mod gate;
pub mod live;
pub mod translator;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use funnelweb_factor_documents::conformance::handle_of;
use funnelweb_store_mongodb::{Abilities, Environment, MongoSettings, MongoStore};
use funnelweb_test_servers::Server as Process;

/// A server that is there until this is dropped.
pub struct Server {
    pub url: String,
    pub database: String,
    process: Option<Process>,
}

impl Server {
    /// A FerretDB with nothing in it.
    pub async fn ferretdb() -> Self {
        Self::ferretdb_with(&[]).await
    }

    /// One that says that it is a replica set.
    pub async fn ferretdb_as_replica_set() -> Self {
        Self::ferretdb_with(&["--repl-set-name=rs0"]).await
    }

    async fn ferretdb_with(options: &[&str]) -> Self {
        let process = Process::ferretdb(options);
        let url = format!("mongodb://127.0.0.1:{}/", process.port());
        let server = Self { url, database: "funnelweb".to_owned(), process: Some(process) };
        server.wait().await;
        server
    }

    /// Every server there is, one after the other.
    pub async fn each(test: impl AsyncFn(&Self)) {
        test(&Self::ferretdb().await).await;
        let Ok(url) = std::env::var("FUNNELWEB_TEST_MONGODB_URL") else { return };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let server = Self { url, database: format!("funnelweb-test-{now}"), process: None };
        test(&server).await;
        server.client().await.database(&server.database).drop().await.unwrap();
    }

    async fn wait(&self) {
        let start = Instant::now();
        while let Err(error) = MongoStore::connect(self.settings()).await {
            assert!(start.elapsed() < Duration::from_secs(30), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn settings(&self) -> MongoSettings {
        // Debug builds on a busy machine are slow.
        MongoSettings { operation_timeout_ms: 20_000, ..MongoSettings::new(&self.url, &self.database) }
    }

    /// A client without any of our code.
    pub async fn client(&self) -> mongodb::Client {
        mongodb::Client::with_uri_str(&self.url).await.unwrap()
    }

    pub async fn collection(&self, name: &str) -> mongodb::Collection<bson::Document> {
        self.client().await.database(&self.database).collection(name)
    }

    pub async fn store(&self) -> Arc<MongoStore> {
        MongoStore::connect(self.settings()).await.unwrap()
    }

    /// A store with a clock and the handles of the suites.
    pub async fn store_at(&self, clock: &Arc<AtomicU64>, adjust: fn(&mut Abilities)) -> Arc<MongoStore> {
        let clock = clock.clone();
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let environment = Environment { clock, handle_of, adjust, ..Environment::default() };
        MongoStore::connect_with(self.settings(), environment).await.unwrap()
    }

    /// Where it listens, if it is ours.
    pub fn port(&self) -> u16 {
        self.process.as_ref().unwrap().port()
    }

    /// Kills it, without warning.
    pub fn stop(&mut self) {
        self.process.as_mut().unwrap().stop();
    }

    /// Starts it again, with what it had stored.
    pub fn start(&mut self) {
        self.process.as_mut().unwrap().restart();
    }
}

/// A clock that stands, at a time that tells runs apart.
pub fn clock() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(1_700_000_000_000))
}

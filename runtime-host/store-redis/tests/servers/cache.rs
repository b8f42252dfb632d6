//! Scenario configs and profiles in front of another store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use funnelweb_factor_documents::{
    SqliteDocuments,
    conformance::{Suite, handle_of},
    store::{
        Collection::{self, Scenarios, UserProfiles},
        ColumnSpec, Document, Documents, Error, InsertOutcome, ItemColumns, Key, NewDocument, Page, Precondition,
        Prepared, Query, Tenant, Term, Walk, WriteError,
    },
};
use funnelweb_factor_live::store::Live;
use funnelweb_store_redis::{CachedDocuments, RedisLive, RedisStore};
use funnelweb_tenant_store::TenantStores;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::harness::{Cluster, Kind, Server};

/// A store that can be cut off.
struct Inner {
    documents: SqliteDocuments,
    down: AtomicBool,
    reads: AtomicU64,
    clock: Arc<AtomicU64>,
    _folder: TempDir,
}

impl Inner {
    fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
        let read = clock.clone();
        let stores = TenantStores::with(folder.path(), Arc::new(move || read.load(Ordering::Relaxed)), 4).unwrap();
        let documents = SqliteDocuments::with_handles(Arc::new(stores), handle_of).unwrap();
        let (down, reads) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { documents, down, reads, clock, _folder: folder })
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// How often it was read since it was last asked.
    fn reads(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }

    fn up(&self) -> Result<&SqliteDocuments, Error> {
        match self.down.load(Ordering::Relaxed) {
            true => Err(Error::Unavailable("cut off".to_owned())),
            false => Ok(&self.documents),
        }
    }
}

#[async_trait]
impl Documents for Inner {
    async fn get(&self, tenant: &Tenant, of: Collection, key: Key) -> Result<Option<Document>, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.up()?.get(tenant, of, key).await
    }

    async fn get_many(&self, tenant: &Tenant, of: Collection, keys: Vec<Key>) -> Result<Vec<Option<Document>>, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.up()?.get_many(tenant, of, keys).await
    }

    async fn insert_prepared(
        &self,
        tenant: &Tenant,
        prepared: Prepared,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        self.up()?.insert_prepared(tenant, prepared, replace).await
    }

    async fn replace(
        &self,
        tenant: &Tenant,
        of: Collection,
        key: Key,
        body: String,
        when: Precondition,
    ) -> Result<u64, WriteError> {
        self.up()?.replace(tenant, of, key, body, when).await
    }

    async fn patch(
        &self,
        tenant: &Tenant,
        of: Collection,
        key: Key,
        merge_patch: String,
        when: Precondition,
    ) -> Result<Document, WriteError> {
        self.up()?.patch(tenant, of, key, merge_patch, when).await
    }

    async fn delete(&self, tenant: &Tenant, of: Collection, key: Key, when: Precondition) -> Result<bool, WriteError> {
        self.up()?.delete(tenant, of, key, when).await
    }

    async fn delete_user(&self, tenant: &Tenant, user_id: String) -> Result<u64, Error> {
        self.up()?.delete_user(tenant, user_id).await
    }

    async fn delete_scenario(&self, tenant: &Tenant, scenario_id: String) -> Result<u64, Error> {
        self.up()?.delete_scenario(tenant, scenario_id).await
    }

    async fn query(&self, tenant: &Tenant, of: Collection, query: Query) -> Result<Page, Error> {
        self.up()?.query(tenant, of, query).await
    }

    async fn newest_items(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        lists: Vec<(Option<Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, Error> {
        self.up()?.newest_items(tenant, scenario_id, lists).await
    }

    async fn item_columns(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        columns: Vec<ColumnSpec>,
        now_ms: u64,
    ) -> Result<ItemColumns, Error> {
        self.up()?.item_columns(tenant, scenario_id, handles, columns, now_ms).await
    }

    async fn item_ids(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
    ) -> Result<Vec<Option<String>>, Error> {
        self.up()?.item_ids(tenant, scenario_id, handles).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.up()?.tenants().await
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant, of: Collection) -> Walk<'a, Document> {
        self.documents.walk(tenant, of)
    }

    async fn restore(&self, tenant: &Tenant, of: Collection, documents: Vec<Document>) -> Result<(), Error> {
        self.up()?.restore(tenant, of, documents).await
    }

    async fn version_floor(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.up()?.version_floor(tenant).await
    }

    async fn raise_version_floor(&self, tenant: &Tenant, version: u64) -> Result<(), Error> {
        self.up()?.raise_version_floor(tenant, version).await
    }
}

fn acme() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn feed() -> Key {
    Key::new("feed", "feed")
}

fn ann() -> Key {
    Key::new("feed", "ann")
}

async fn put(documents: &impl Documents, of: Collection, key: Key, n: u32) -> u64 {
    documents.replace(&acme(), of, key, format!(r#"{{"n":{n}}}"#), Precondition::None).await.unwrap()
}

fn n(document: Option<Document>) -> Option<u64> {
    let body: serde_json::Value = serde_json::from_str(&document?.body).unwrap();
    body["n"].as_u64()
}

async fn get(documents: &impl Documents, of: Collection, key: Key) -> Option<u64> {
    n(documents.get(&acme(), of, key).await.unwrap())
}

/// Longer than a document answers in a process.
async fn aged() {
    sleep(Duration::from_millis(1050)).await;
}

/// Until a reader has kept what it read.
async fn filled(server: &Server, key: &str) {
    for _ in 0..100 {
        if server.say::<bool>(&["EXISTS", key]) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{key} was not kept");
}

async fn conforms(store: RedisStore) {
    let inner = Inner::new();
    let documents = CachedDocuments::new(inner.clone(), store);
    let advance = |ms| {
        inner.clock.fetch_add(ms, Ordering::Relaxed);
    };
    Suite { documents: &documents, advance: &advance, prefix: "" }.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_redis() {
    conforms(Server::start(Kind::Redis).store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_valkey() {
    conforms(Server::start(Kind::Valkey).store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_a_cluster() {
    conforms(Cluster::start(Kind::Redis).store().await).await;
}

#[tokio::test]
async fn other_programs_read_the_documented_keys() {
    let server = Server::start(Kind::Redis);
    let inner = Inner::new();
    let documents = CachedDocuments::new(inner.clone(), server.store().await);
    put(&*inner, Scenarios, feed(), 1).await;
    put(&*inner, UserProfiles, ann(), 2).await;
    assert_eq!(get(&documents, Scenarios, feed()).await, Some(1));
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(2));
    for (name, of, key) in
        [("scenario:config:acme:feed", Scenarios, feed()), ("user:profile:acme:ann:feed", UserProfiles, ann())]
    {
        filled(&server, name).await;
        let stored = inner.get(&acme(), of, key).await.unwrap().unwrap();
        assert_eq!(server.say::<String>(&["GET", name]), stored.body);
        for name in [name, &format!("{{{name}}}:version")] {
            let ttl_s: i64 = server.say(&["TTL", name]);
            assert!((3590..=3600).contains(&ttl_s), "{name}: {ttl_s}");
        }
    }
    // Another process does not ask the store.
    inner.reads();
    let other = CachedDocuments::new(inner.clone(), server.store().await);
    assert_eq!(get(&other, Scenarios, feed()).await, Some(1));
    assert_eq!(get(&other, UserProfiles, ann()).await, Some(2));
    assert_eq!(inner.reads(), 0);
    // What is written stands there at once.
    put(&other, Scenarios, feed(), 3).await;
    let now: serde_json::Value =
        serde_json::from_str(&server.say::<String>(&["GET", "scenario:config:acme:feed"])).unwrap();
    assert_eq!(now["n"], 3);
    aged().await;
    inner.reads();
    assert_eq!(get(&documents, Scenarios, feed()).await, Some(3));
    assert_eq!(inner.reads(), 0);
}

#[tokio::test]
async fn an_older_document_never_takes_the_place_of_a_newer() {
    let server = Server::start(Kind::Redis);
    let inner = Inner::new();
    let documents = CachedDocuments::new(inner.clone(), server.store().await);
    put(&*inner, UserProfiles, ann(), 1).await;
    let old = inner.get(&acme(), UserProfiles, ann()).await.unwrap().unwrap();
    put(&*inner, UserProfiles, ann(), 2).await;
    let new = inner.get(&acme(), UserProfiles, ann()).await.unwrap().unwrap();
    documents.refresh(&acme(), UserProfiles, std::slice::from_ref(&new)).await;
    documents.refresh(&acme(), UserProfiles, std::slice::from_ref(&old)).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(2));
    // What was deleted does not come back.
    assert!(documents.delete(&acme(), UserProfiles, ann(), Precondition::None).await.unwrap());
    documents.refresh(&acme(), UserProfiles, &[new]).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, None);
    assert!(!server.say::<bool>(&["EXISTS", "user:profile:acme:ann:feed"]));
    // Made again, it is read from the store until the deletion is forgotten.
    put(&documents, UserProfiles, ann(), 3).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(3));
    assert!(!server.say::<bool>(&["EXISTS", "user:profile:acme:ann:feed"]));
    sleep(Duration::from_millis(5100)).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(3));
    filled(&server, "user:profile:acme:ann:feed").await;
}

#[tokio::test]
async fn what_changes_in_the_store_is_told_by_whoever_changes_it() {
    let server = Server::start(Kind::Valkey);
    let inner = Inner::new();
    let documents = CachedDocuments::new(inner.clone(), server.store().await);
    put(&*inner, UserProfiles, ann(), 1).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(1));
    filled(&server, "user:profile:acme:ann:feed").await;
    put(&*inner, UserProfiles, ann(), 2).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(1));
    documents.invalidate(&acme(), UserProfiles, &[ann()]).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(2));
    put(&*inner, UserProfiles, ann(), 3).await;
    let changed = inner.get(&acme(), UserProfiles, ann()).await.unwrap().unwrap();
    documents.refresh(&acme(), UserProfiles, &[changed]).await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(3));
}

#[tokio::test]
async fn the_last_that_is_known_answers_for_a_store_that_is_down() {
    let server = Server::start(Kind::Redis);
    let inner = Inner::new();
    let documents = CachedDocuments::new(inner.clone(), server.store().await);
    put(&documents, Scenarios, feed(), 1).await;
    put(&documents, UserProfiles, ann(), 2).await;
    let nobody = || Key::new("feed", "nobody");
    assert_eq!(get(&documents, Scenarios, feed()).await, Some(1));
    assert_eq!(get(&documents, UserProfiles, nobody()).await, None);
    inner.set_down(true);
    aged().await;
    // From Redis, also in another process; what is nowhere is not known to be nothing.
    let other = CachedDocuments::new(inner.clone(), server.store().await);
    for documents in [&documents, &other] {
        assert_eq!(get(documents, Scenarios, feed()).await, Some(1));
        assert_eq!(get(documents, UserProfiles, ann()).await, Some(2));
    }
    assert_eq!(get(&documents, UserProfiles, nobody()).await, None);
    assert!(matches!(other.get(&acme(), UserProfiles, nobody()).await, Err(Error::Unavailable(_))));
    let refused = documents.replace(&acme(), Scenarios, feed(), "{}".to_owned(), Precondition::None).await;
    assert!(matches!(refused, Err(WriteError::Store(Error::Unavailable(_)))), "{refused:?}");
    // The write may have happened for all that is known, so only memory may answer now.
    server.say::<()>(&["FLUSHALL"]);
    aged().await;
    assert_eq!(get(&documents, UserProfiles, ann()).await, Some(2));
    assert!(documents.get(&acme(), Scenarios, feed()).await.is_err());
    inner.set_down(false);
    assert_eq!(get(&documents, Scenarios, feed()).await, Some(1));
}

#[tokio::test]
async fn without_redis_it_is_the_store_and_nothing_old_comes_back() {
    let mut server = Server::with(Kind::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    let inner = Inner::new();
    let documents = CachedDocuments::new(inner.clone(), server.store().await);
    put(&documents, Scenarios, feed(), 1).await;
    put(&documents, UserProfiles, ann(), 1).await;
    server.stop();
    assert_eq!(get(&documents, Scenarios, feed()).await, Some(1));
    put(&documents, Scenarios, feed(), 2).await;
    put(&documents, UserProfiles, ann(), 2).await;
    assert_eq!(get(&documents, Scenarios, feed()).await, Some(2));
    documents.delete_user(&acme(), "ann".to_owned()).await.unwrap();
    assert_eq!(get(&documents, UserProfiles, ann()).await, None);
    // It will have what was there before, which this process must not read.
    let kept = std::fs::read_dir(server.folder().join("appendonlydir")).unwrap();
    let kept: Vec<u8> = kept.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(String::from_utf8_lossy(&kept).contains("\"n\":1"));
    server.restart();
    aged().await;
    assert_eq!(get(&documents, Scenarios, feed()).await, Some(2));
    assert_eq!(get(&documents, UserProfiles, ann()).await, None);
    // Soon it is gone for everybody.
    for _ in 0..100 {
        let left: i64 = server.say(&["EXISTS", "scenario:config:acme:feed", "user:profile:acme:ann:feed"]);
        if left == 0 {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("what changed without Redis is still there");
}

#[tokio::test]
async fn a_deleted_scenario_takes_its_profiles_along() {
    for store in [Server::start(Kind::Redis), Server::start(Kind::Valkey)].iter() {
        let (inner, redis) = (Inner::new(), store.store().await);
        let documents = CachedDocuments::new(inner.clone(), redis);
        for scenario in ["feed", "news"] {
            put(&documents, Scenarios, Key::new(scenario, scenario), 1).await;
            for user in ["ann", "bob", "x:feed"] {
                put(&documents, UserProfiles, Key::new(scenario, user), 1).await;
            }
        }
        documents.delete_scenario(&acme(), "feed".to_owned()).await.unwrap();
        let mut left: Vec<String> = store.say(&["KEYS", "[su]*"]);
        left.sort_unstable();
        let expected = ["scenario:config:acme:news", "user:profile:acme:ann:news", "user:profile:acme:bob:news"]
            .map(str::to_owned);
        assert_eq!(left[..3], expected);
        assert_eq!(left[3..], ["user:profile:acme:x%3Afeed:news"]);
        assert_eq!(get(&documents, UserProfiles, ann()).await, None);
        assert_eq!(get(&documents, UserProfiles, Key::new("news", "ann")).await, Some(1));
    }
}

#[tokio::test]
async fn a_recommendation_is_three_round_trips_with_its_documents() {
    let server = Server::start(Kind::Redis);
    let store = server.store().await;
    let inner = Inner::new();
    let item = NewDocument { key: Key::new("feed", "a"), body: "{}".to_owned() };
    inner.insert_many(&acme(), Collection::Items, vec![item], false).await.unwrap();
    let live = RedisLive::new(store.clone(), inner.clone());
    let documents = CachedDocuments::with_live(inner.clone(), store.clone(), live.clone());
    put(&documents, Scenarios, feed(), 1).await;
    let users: Vec<String> = (0..20).map(|at| format!("u{at}")).collect();
    for user in &users {
        put(&documents, UserProfiles, Key::new("feed", user.as_str()), 1).await;
    }
    let feed_id = || "feed".to_owned();
    let shown = || vec!["a".to_owned()];
    let recommend = async |user: &String| {
        let before = store.round_trips();
        get(&documents, Scenarios, feed()).await.unwrap();
        get(&documents, UserProfiles, Key::new("feed", user.as_str())).await.unwrap();
        let exposed = live.exposed(&acme(), feed_id(), user.clone()).await.unwrap();
        live.hot_top(&acme(), feed_id(), 10, vec![], 0).await.unwrap();
        let a = vec![funnelweb_core::id::handle("a")];
        live.hot_scores(&acme(), feed_id(), a.clone(), 0).await.unwrap();
        live.item_stats(&acme(), feed_id(), a, vec!["n".to_owned()]).await.unwrap();
        live.expose(&acme(), feed_id(), Some(user.clone()), shown(), 60).await.unwrap();
        (exposed.len(), store.round_trips() - before)
    };
    // The first tells the server the scripts and reads the config.
    recommend(&users[0]).await;
    for user in &users[1..] {
        assert_eq!(recommend(user).await, (0, 3));
        // The profile is here, what was shown is not.
        assert_eq!(recommend(user).await, (1, 3));
        sleep(Duration::from_millis(120)).await;
    }
    // Another process shows something between the two.
    aged().await;
    get(&documents, Scenarios, feed()).await.unwrap();
    assert_eq!(recommend(&users[1]).await, (1, 3));
    // What this one shows is not overtaken by what was read before.
    aged().await;
    get(&documents, UserProfiles, Key::new("feed", "u2")).await.unwrap();
    live.expose(&acme(), feed_id(), Some("u2".to_owned()), vec!["b".to_owned()], 60).await.unwrap();
    assert_eq!(live.exposed(&acme(), feed_id(), "u2".to_owned()).await.unwrap().len(), 2);
}

//! Documents in Redis: `scenario:config:{tenant}:{scenario}` and
//! `user:profile:{tenant}:{user}:{scenario}`, each the document's JSON for an hour,
//! with its version in `{…}:version` beside it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use funnelweb_factor_documents::store::{Collection, Document, Error, Key, Tenant};
use funnelweb_tenant_store::lock;
use redis::Value;

use crate::{
    command::{CACHE_PUT, Command, list, text},
    keys::beside,
    live::{Ahead, RedisLive},
    store::RedisStore,
};

/// Time to live of a document.
const TTL_S: u32 = 3600;
/// For how long one that was dropped is not kept again.
pub(super) const DROPPED: Duration = Duration::from_secs(5);
/// What stands for the version of one that was dropped.
const DROPPED_VERSION: &str = "~";
/// How long after a reader began to read it may keep what it read: within
/// [`DROPPED`], or it could keep what was dropped meanwhile.
const FILL_WITHIN: Duration = Duration::from_secs(2);
/// Digits of a version: that of any `u64`.
const VERSION_DIGITS: usize = 20;
/// Documents that are remembered as to be dropped when Redis is there again.
const OWED: usize = 100_000;
/// Documents that are dropped in one round trip.
const DROPPED_AT_ONCE: usize = 1000;
/// How often that is tried.
const PAY_EVERY: Duration = Duration::from_millis(250);

/// Whose documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// The scenario's config and its users' profiles.
    Scenario(String),
    /// The user's profiles.
    User(String),
}

/// The caches in Redis.
pub(super) struct Remote {
    store: RedisStore,
    live: Option<RedisLive>,
    owed: Mutex<Owed>,
}

/// What Redis may still have that is not so any more: until it is dropped there,
/// this process does not read it there.
#[derive(Default)]
struct Owed {
    keys: HashSet<String>,
    all: HashSet<(Tenant, Whose)>,
    /// A task is at it.
    paying: bool,
}

impl Remote {
    pub(super) fn new(store: RedisStore, live: Option<RedisLive>) -> Self {
        Self { store, live, owed: Mutex::default() }
    }

    fn name(&self, tenant: &Tenant, collection: Collection, key: &Key) -> String {
        match collection {
            Collection::UserProfiles => self.store.keys().user_profile(tenant, &key.id, &key.scenario_id),
            _ => self.store.keys().scenario_config(tenant, &key.scenario_id),
        }
    }

    /// Those that are there; and the config `along`, if it is. Nothing when Redis
    /// does not answer.
    pub(super) async fn get(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: &[Key],
        along: Option<&Key>,
    ) -> (HashMap<Key, Document>, Option<Document>) {
        let along = along.filter(|key| self.is_paid(tenant, Collection::Scenarios, key));
        let keys: Vec<&Key> = keys.iter().filter(|key| self.is_paid(tenant, collection, key)).collect();
        let read = |collection, key| {
            let name = self.name(tenant, collection, key);
            Command::new("MGET", &name).arg(beside(&name, "version"))
        };
        let mut commands: Vec<Command> = keys.iter().map(|key| read(collection, key)).collect();
        commands.extend(along.map(|key| read(Collection::Scenarios, key)));
        let mut ahead = self.ahead(tenant, collection, &keys);
        if let Some((_, ahead)) = &mut ahead {
            commands.extend(ahead.take_commands());
        }
        // What went wrong was told.
        let Ok(replies) = self.store.run(commands).await else { return Default::default() };
        let mut replies = replies.into_iter();
        let found = keys.iter().zip(&mut replies);
        let found = found.filter_map(|(key, reply)| Some(((*key).clone(), document(key, reply)?))).collect();
        let config = along.and_then(|key| document(key, replies.next()?));
        if let (Some(live), Some((key, ahead))) = (&self.live, ahead) {
            live.arrived(tenant, (&key.scenario_id, &key.id), ahead, replies.collect());
        }
        (found, config)
    }

    fn ahead<'k>(&self, tenant: &Tenant, collection: Collection, keys: &[&'k Key]) -> Option<(&'k Key, Ahead)> {
        let (Collection::UserProfiles, [key]) = (collection, keys) else { return None };
        Some((*key, self.live.as_ref()?.ahead(tenant, &key.scenario_id, &key.id)?))
    }

    /// Keeps what the store has; when that fails, has it dropped.
    pub(super) async fn put(self: &Arc<Self>, tenant: &Tenant, collection: Collection, documents: &[Document]) {
        if self.store.run(self.puts(tenant, collection, documents)).await.is_err() {
            let names = documents.iter().map(|document| self.name(tenant, collection, &document.key));
            self.owe(names.collect(), None);
        }
    }

    /// Keeps what a reader read that began to at `started`; nobody waits for it.
    pub(super) fn fill(
        self: &Arc<Self>,
        tenant: &Tenant,
        collection: Collection,
        documents: Vec<Document>,
        started: Instant,
    ) {
        if documents.is_empty() || started.elapsed() > FILL_WITHIN {
            return;
        }
        let (remote, tenant) = (self.clone(), tenant.clone());
        tokio::spawn(async move {
            let documents: Vec<Document> =
                documents.into_iter().filter(|document| remote.is_paid(&tenant, collection, &document.key)).collect();
            // What went wrong was told; the next reader tries again.
            let _ = remote.store.run(remote.puts(&tenant, collection, &documents)).await;
        });
    }

    fn puts(&self, tenant: &Tenant, collection: Collection, documents: &[Document]) -> Vec<Command> {
        let put = |document: &Document| {
            let name = self.name(tenant, collection, &document.key);
            let version = format!("{:0width$}", document.version, width = VERSION_DIGITS);
            CACHE_PUT.call(&[&name, &beside(&name, "version")]).arg(&document.body).arg(version).arg(TTL_S)
        };
        documents.iter().map(put).collect()
    }

    /// Forgets documents, and does not keep any under these keys for a while.
    pub(super) async fn drop(self: &Arc<Self>, tenant: &Tenant, collection: Collection, keys: &[Key]) {
        let names: Vec<String> = keys.iter().map(|key| self.name(tenant, collection, key)).collect();
        if self.store.run(drops(&names)).await.is_err() {
            self.owe(names, None);
        }
    }

    /// Forgets all of somebody's. Nothing but the keys says which there are, so
    /// every key of the server is looked at.
    pub(super) async fn drop_all(self: &Arc<Self>, tenant: &Tenant, whose: Whose) {
        if self.try_drop_all(tenant, &whose).await.is_err() {
            self.owe(Vec::new(), Some((tenant.clone(), whose)));
        }
    }

    async fn try_drop_all(&self, tenant: &Tenant, whose: &Whose) -> Result<(), Error> {
        let keys = self.store.keys();
        let mut names = Vec::new();
        let pattern = match whose {
            Whose::Scenario(id) => {
                names.push(keys.scenario_config(tenant, id));
                keys.user_profiles_in(tenant, id)
            }
            Whose::User(id) => keys.user_profiles_of(tenant, id),
        };
        names.extend(self.store.scan(&pattern).await?);
        for batch in names.chunks(DROPPED_AT_ONCE) {
            self.store.run(drops(batch)).await?;
        }
        Ok(())
    }

    /// Whether Redis has nothing that is not so any more of this key.
    fn is_paid(&self, tenant: &Tenant, collection: Collection, key: &Key) -> bool {
        let owed = lock(&self.owed);
        if owed.keys.is_empty() && owed.all.is_empty() {
            return true;
        }
        let of = |whose| owed.all.contains(&(tenant.clone(), whose));
        let owes = owed.keys.contains(&self.name(tenant, collection, key))
            || of(Whose::Scenario(key.scenario_id.clone()))
            || (collection == Collection::UserProfiles && of(Whose::User(key.id.clone())));
        !owes
    }

    /// Remembers what is to be dropped, and has it done as soon as it can be.
    fn owe(self: &Arc<Self>, names: Vec<String>, all: Option<(Tenant, Whose)>) {
        let mut owed = lock(&self.owed);
        if owed.keys.len() + names.len() > OWED {
            // An hour is how old it can get.
            tracing::error!("more documents changed without Redis than are remembered; it may have old ones");
        } else {
            owed.keys.extend(names);
        }
        owed.all.extend(all);
        if !owed.paying {
            owed.paying = true;
            tokio::spawn(pay(Arc::downgrade(self)));
        }
    }

    /// Whether nothing is owed any more.
    async fn try_pay(&self) -> bool {
        let (names, all) = {
            let owed = lock(&self.owed);
            (owed.keys.iter().cloned().collect::<Vec<_>>(), owed.all.iter().cloned().collect::<Vec<_>>())
        };
        for batch in names.chunks(DROPPED_AT_ONCE) {
            if self.store.run(drops(batch)).await.is_err() {
                return false;
            }
            let mut owed = lock(&self.owed);
            batch.iter().for_each(|name| {
                owed.keys.remove(name);
            });
        }
        for (tenant, whose) in all {
            if self.try_drop_all(&tenant, &whose).await.is_err() {
                return false;
            }
            lock(&self.owed).all.remove(&(tenant, whose));
        }
        let mut owed = lock(&self.owed);
        owed.paying = !(owed.keys.is_empty() && owed.all.is_empty());
        !owed.paying
    }
}

async fn pay(remote: Weak<Remote>) {
    loop {
        tokio::time::sleep(PAY_EVERY).await;
        let Some(remote) = remote.upgrade() else { return };
        if remote.try_pay().await {
            return;
        }
    }
}

/// The version first: from then on nothing is kept.
fn drops(names: &[String]) -> Vec<Command> {
    let ttl_ms = DROPPED.as_millis() as u64;
    let drop = |name: &String| {
        let version = beside(name, "version");
        [Command::new("SET", &version).arg(DROPPED_VERSION).arg("PX").arg(ttl_ms), Command::new("UNLINK", name)]
    };
    names.iter().flat_map(drop).collect()
}

/// The document that an `MGET` of body and version says.
fn document(key: &Key, reply: Value) -> Option<Document> {
    let mut fields = list(reply).into_iter();
    let (body, version) = (text(fields.next()?)?, text(fields.next()?)?);
    Some(Document { key: key.clone(), body, version: version.parse().ok()? })
}

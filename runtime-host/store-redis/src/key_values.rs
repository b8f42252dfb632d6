//! `spin:key-value` and `wasi:keyvalue` on Redis.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use funnelweb_core::{id, limits};
use funnelweb_factor_key_value::{
    check,
    store::{Error, KeyPage, KeyValue, KeyValues, LISTED_KEYS, Tenant, Walk},
};
use funnelweb_tenant_store::{lock, pages};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use redis::Value;

use crate::{
    command::{COMPARE_AND_SET, Command, GET_MANY, INCREMENT, KEYS, KEYS_PAGE, bytes, list, text},
    keys::{beside, rest, whole},
    store::RedisStore,
};

/// How long a call is remembered as made: longer than it is tried again.
const MARK_S: u32 = 120;
/// Digits of a cursor of the server's.
const CURSOR_DIGITS: usize = 20;
/// Values that a server looks at in one step of a walk: each may be large.
const SCAN_STEP: usize = 16;

/// Key-value stores in Redis: a HASH per store, `kv:{tenant}:{label}`.
///
/// One HASH rather than a key per value: listing a store's keys reads one key of
/// one node, where it would otherwise search every key of every node, what is done
/// to several keys is one command in a cluster too, and a component's keys need no
/// escaping. So a store is as large as one node allows.
#[derive(Debug, Clone)]
pub struct RedisKeyValues {
    store: RedisStore,
}

impl RedisKeyValues {
    /// The stores on this server.
    #[must_use]
    pub fn new(store: RedisStore) -> Self {
        Self { store }
    }

    fn hash(&self, tenant: &Tenant, label: &str) -> String {
        self.store.keys().key_values(tenant, label)
    }

    fn command(&self, name: &str, tenant: &Tenant, label: &str, key: &str) -> Result<Command, Error> {
        check::key(label, key)?;
        Ok(Command::new(name, &self.hash(tenant, label)).arg(key))
    }
}

/// The key of a mark that is one call's alone, whichever process makes it.
fn mark(hash: &str) -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
    static CALLS: AtomicU64 = AtomicU64::new(0);
    beside(hash, &format!("call:{:x}-{:x}", *PROCESS, CALLS.fetch_add(1, Ordering::Relaxed)))
}

/// What another program put there may be no text.
fn names(fields: Value) -> Vec<String> {
    list(fields).into_iter().filter_map(|key| String::from_utf8(bytes(key)?).ok()).collect()
}

#[async_trait]
impl KeyValues for RedisKeyValues {
    async fn get(&self, tenant: &Tenant, label: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(bytes(self.store.run_one(self.command("HGET", tenant, label, key)?).await?))
    }

    async fn set(&self, tenant: &Tenant, label: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        check::value(&value)?;
        self.store.run_one(self.command("HSET", tenant, label, key)?.arg(value)).await?;
        Ok(())
    }

    async fn delete(&self, tenant: &Tenant, label: &str, key: &str) -> Result<(), Error> {
        self.store.run_one(self.command("HDEL", tenant, label, key)?).await?;
        Ok(())
    }

    async fn exists(&self, tenant: &Tenant, label: &str, key: &str) -> Result<bool, Error> {
        Ok(self.store.run_one(self.command("HEXISTS", tenant, label, key)?).await? == Value::Int(1))
    }

    async fn get_keys(&self, tenant: &Tenant, label: &str) -> Result<Vec<String>, Error> {
        Error::check_id("label", label)?;
        let call = KEYS.call(&[&self.hash(tenant, label)]).arg(LISTED_KEYS);
        let reply = self.store.run_one(call).await?;
        if let Value::Int(count) = reply {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Error::check_count("keys of the store", count, 0, LISTED_KEYS)?;
        }
        let mut keys = names(reply);
        keys.sort_unstable();
        Ok(keys)
    }

    /// The cursor is the server's.
    async fn list_keys(&self, tenant: &Tenant, label: &str, cursor: Option<String>) -> Result<KeyPage, Error> {
        let cursor = cursor.unwrap_or_default();
        check::cursor(label, &cursor)?;
        if cursor.len() > CURSOR_DIGITS || !cursor.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Error::invalid("cursor", "must be one that came with a page of this store"));
        }
        let call = KEYS_PAGE.call(&[&self.hash(tenant, label)]).arg(LISTED_KEYS).arg(cursor);
        let mut reply = list(self.store.run_one(call).await?).into_iter();
        let Some(cursor) = reply.next() else {
            let rule = format!("must be {LISTED_KEYS} at most: this server lists more only with their values");
            return Err(Error::invalid("keys of the store", rule));
        };
        let mut keys = names(reply.next().unwrap_or(Value::Nil));
        keys.sort_unstable();
        Ok(KeyPage { keys, cursor: text(cursor).filter(|cursor| cursor != "0") })
    }

    async fn get_many(&self, tenant: &Tenant, label: &str, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        check::keys(label, &keys)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let call = GET_MANY.call(&[&self.hash(tenant, label)]).arg(limits::KEY_VALUE_BATCH_BYTES).arg(keys);
        let reply = self.store.run_one(call).await?;
        if let Value::Int(bytes) = reply {
            check::batch(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        }
        Ok(list(reply).into_iter().map(bytes).collect())
    }

    async fn set_many(&self, tenant: &Tenant, label: &str, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        check::pairs(label, &pairs)?;
        if pairs.is_empty() {
            return Ok(());
        }
        let set = Command::new("HSET", &self.hash(tenant, label));
        let set = pairs.into_iter().fold(set, |set, (key, value)| set.arg(key).arg(value));
        self.store.run_one(set).await?;
        Ok(())
    }

    async fn delete_many(&self, tenant: &Tenant, label: &str, keys: Vec<String>) -> Result<(), Error> {
        check::keys(label, &keys)?;
        if keys.is_empty() {
            return Ok(());
        }
        self.store.run_one(Command::new("HDEL", &self.hash(tenant, label)).arg(keys)).await?;
        Ok(())
    }

    async fn increment(&self, tenant: &Tenant, label: &str, key: &str, delta: i64) -> Result<i64, Error> {
        check::key(label, key)?;
        let hash = self.hash(tenant, label);
        let call = INCREMENT.call(&[&hash, &mark(&hash)]).arg(MARK_S).arg(key).arg(delta);
        let said = text(self.store.run_one(call).await?).unwrap_or_default();
        said.parse().map_err(|_| {
            if said.contains("overflow") {
                check::overflow()
            } else if said.contains("not an integer") {
                check::no_number()
            } else {
                Error::Unavailable(format!("redis: {said}"))
            }
        })
    }

    async fn compare_and_set(
        &self,
        tenant: &Tenant,
        label: &str,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<bool, Error> {
        check::key(label, key)?;
        check::value(&value)?;
        let hash = self.hash(tenant, label);
        let call = COMPARE_AND_SET.call(&[&hash, &mark(&hash)]).arg(MARK_S).arg(key).arg(value).arg(expected);
        Ok(self.store.run_one(call).await? == Value::Int(1))
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, KeyValue> {
        let pattern = self.store.keys().key_values_of(tenant);
        let stores = self.store.walk_keys(pattern.clone());
        let stores = stores.map_ok(|page| stream::iter(page.into_iter().map(Ok::<_, Error>))).try_flatten();
        let store = move |key: String| {
            let label = rest(&key, &pattern).map(whole).unwrap_or_default();
            let seen = Arc::new(Mutex::new(HashSet::new()));
            pages("0".to_owned(), move |cursor| {
                let (key, label, seen) = (key.clone(), label.clone(), seen.clone());
                async move {
                    let scan = Command::new("HSCAN", &key).arg(cursor).arg("COUNT").arg(SCAN_STEP);
                    let mut reply = list(self.store.run_one(scan).await?).into_iter();
                    let next = reply.next().and_then(text).filter(|cursor| cursor != "0");
                    let mut fields = list(reply.next().unwrap_or(Value::Nil)).into_iter();
                    let mut page = Vec::new();
                    let mut seen = lock(&seen);
                    while let (Some(key), Some(value)) = (fields.next(), fields.next()) {
                        // What another program put there may be no text; and a field may
                        // be found twice.
                        let (Some(key), Some(value)) = (text(key), bytes(value)) else { continue };
                        if seen.insert(id::handle(&key)) {
                            page.push(KeyValue { label: label.clone(), key, value });
                        }
                    }
                    Ok((page, next))
                }
            })
        };
        stores.map_ok(store).try_flatten().boxed()
    }
}

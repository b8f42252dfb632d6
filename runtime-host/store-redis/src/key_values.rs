//! `spin:key-value` on Redis.

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_factor_key_value::store::{Error, KeyValues, LISTED_KEYS, Tenant};
use redis::Value;

use crate::{
    command::{Command, KEYS, bytes, list},
    store::RedisStore,
};

/// Key-value stores in Redis: a HASH per store, `kv:{tenant}:{label}`.
///
/// One HASH rather than a key per value: listing a store's keys reads one key of
/// one node, where it would otherwise search every key of every node, and a
/// component's keys need no escaping. So a store is as large as one node allows.
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

    fn command(&self, name: &str, tenant: &Tenant, label: &str, key: &str) -> Result<Command, Error> {
        Error::check_id("label", label)?;
        Error::check_count("key", key.len(), 1, limits::KEY_VALUE_KEY_BYTES)?;
        Ok(Command::new(name, &self.store.keys().key_values(tenant, label)).arg(key))
    }
}

#[async_trait]
impl KeyValues for RedisKeyValues {
    async fn get(&self, tenant: &Tenant, label: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(bytes(self.store.run_one(self.command("HGET", tenant, label, key)?).await?))
    }

    async fn set(&self, tenant: &Tenant, label: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        Error::check_count("value", value.len(), 0, limits::KEY_VALUE_VALUE_BYTES)?;
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
        let call = KEYS.call(&[&self.store.keys().key_values(tenant, label)]).arg(LISTED_KEYS);
        let reply = self.store.run_one(call).await?;
        if let Value::Int(count) = reply {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Error::check_count("keys of the store", count, 0, LISTED_KEYS)?;
        }
        // What another program put there may be no text.
        let keys = list(reply).into_iter().filter_map(|key| String::from_utf8(bytes(key)?).ok());
        let mut keys: Vec<String> = keys.collect();
        keys.sort_unstable();
        Ok(keys)
    }
}

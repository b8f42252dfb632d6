//! The embedded backend: a table of the tenant's SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write};
use rusqlite::{OptionalExtension, params};

use crate::store::{Error, KeyValues, Tenant};

const SCHEMA: &str = "CREATE TABLE key_values (
  label TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (label, key)
)";

/// Key-value stores in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteKeyValues {
    stores: Arc<TenantStores>,
}

impl SqliteKeyValues {
    /// Adds the table of key-value stores to `stores`.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>) -> Result<Self, Error> {
        stores.register(Arc::new(Table))?;
        Ok(Self { stores })
    }
}

fn check(label: &str, key: &str) -> Result<(String, String), Error> {
    Error::check_id("label", label)?;
    Error::check_count("key", key.len(), 1, limits::KEY_VALUE_KEY_BYTES)?;
    Ok((label.to_owned(), key.to_owned()))
}

#[async_trait]
impl KeyValues for SqliteKeyValues {
    async fn get(&self, tenant: &Tenant, label: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let (label, key) = check(label, key)?;
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| {
            let mut select = tx.prepare_cached("SELECT value FROM key_values WHERE label = ? AND key = ?")?;
            Ok(select.query_row(params![label, key], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn set(&self, tenant: &Tenant, label: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        let (label, key) = check(label, key)?;
        Error::check_count("value", value.len(), 0, limits::KEY_VALUE_VALUE_BYTES)?;
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Durable, move |write| {
            let mut upsert = write.prepare_cached(
                "INSERT INTO key_values VALUES (?, ?, ?) ON CONFLICT (label, key) DO UPDATE SET value = excluded.value",
            )?;
            upsert.execute(params![label, key, value])?;
            Ok(())
        })
        .await
    }

    async fn delete(&self, tenant: &Tenant, label: &str, key: &str) -> Result<(), Error> {
        let (label, key) = check(label, key)?;
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Durable, move |write| {
            write.prepare_cached("DELETE FROM key_values WHERE label = ? AND key = ?")?.execute(params![label, key])?;
            Ok(())
        })
        .await
    }

    async fn exists(&self, tenant: &Tenant, label: &str, key: &str) -> Result<bool, Error> {
        let (label, key) = check(label, key)?;
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| {
            let mut select = tx.prepare_cached("SELECT 1 FROM key_values WHERE label = ? AND key = ?")?;
            Ok(select.exists(params![label, key])?)
        })
        .await
    }

    async fn get_keys(&self, tenant: &Tenant, label: &str) -> Result<Vec<String>, Error> {
        Error::check_id("label", label)?;
        let label = label.to_owned();
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| {
            let mut select = tx.prepare_cached("SELECT key FROM key_values WHERE label = ? ORDER BY key")?;
            let keys = select.query_map([label], |row| row.get(0))?;
            Ok(keys.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// The table of key-value stores.
struct Table;

impl Part for Table {
    fn name(&self) -> &'static str {
        "key-value"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[SCHEMA]
    }

    /// Values belong to components; which user or scenario one is about is not
    /// known here.
    fn purge(&self, _: &mut Write<'_>, _: &Purge) -> Result<u64, Error> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test(flavor = "multi_thread")]
    async fn conforms() {
        let folder = tempfile::tempdir().unwrap();
        let stores = SqliteKeyValues::new(Arc::new(TenantStores::new(folder.path()).unwrap())).unwrap();
        conformance::run(&stores, "").await;
        // Another opening of the same files finds what was set.
        drop(stores);
        let again = SqliteKeyValues::new(Arc::new(TenantStores::new(folder.path()).unwrap())).unwrap();
        let tenant = Tenant::new("apart-a").unwrap();
        assert_eq!(again.get(&tenant, "default", "k").await.unwrap().as_deref(), Some(&b"ours"[..]));
    }
}

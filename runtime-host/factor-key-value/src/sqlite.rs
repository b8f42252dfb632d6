//! The embedded backend: a table of the tenant's SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write};
use rusqlite::{OptionalExtension, params};

use crate::store::{Error, KeyValues, LISTED_KEYS, Tenant};

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
            let mut select = tx.prepare_cached("SELECT key FROM key_values WHERE label = ? ORDER BY key LIMIT ?")?;
            // One more than is allowed tells that there are too many.
            let keys = select.query_map(params![label, LISTED_KEYS as i64 + 1], |row| row.get(0))?;
            let keys: Vec<String> = keys.collect::<Result<_, _>>()?;
            Error::check_count("keys of the store", keys.len(), 0, LISTED_KEYS)?;
            Ok(keys)
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

    #[tokio::test]
    async fn so_many_keys_are_listed_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let stores = SqliteKeyValues::new(Arc::new(TenantStores::new(folder.path()).unwrap())).unwrap();
        let t = Tenant::new("t").unwrap();
        let file = stores.stores.open(&t).await.unwrap();
        let fill = |write: &mut Write<'_>| {
            for at in 0..LISTED_KEYS {
                write.execute("INSERT INTO key_values VALUES ('default', ?, x'00')", [format!("k{at}")])?;
            }
            Ok::<_, Error>(())
        };
        file.write(Durability::Relaxed, fill).await.unwrap();
        assert_eq!(stores.get_keys(&t, "default").await.unwrap().len(), LISTED_KEYS);
        stores.set(&t, "default", "more", vec![]).await.unwrap();
        assert!(matches!(stores.get_keys(&t, "default").await, Err(Error::Invalid(_))));
        assert!(stores.exists(&t, "default", "more").await.unwrap());
    }

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

//! The embedded backend: a table of the tenant's SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_tenant_store::{Durability, Part, Purge, TenantFile, TenantStores, Write, pages};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    check,
    store::{Error, KeyPage, KeyValue, KeyValues, LISTED_KEYS, Tenant, Walk},
};

/// Values of one page of a walk, and bytes of them after which it ends.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

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

    /// Runs a durable write about a store, whose argument is its label.
    async fn write<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        label: &str,
        bytes: usize,
        job: impl FnOnce(&Connection, &str) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let label = label.to_owned();
        let file: Arc<TenantFile> = self.stores.open(tenant).await?;
        file.write_sized(Durability::Durable, bytes, move |write| job(write, &label)).await
    }
}

fn value_of(file: &Connection, label: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let mut select = file.prepare_cached("SELECT value FROM key_values WHERE label = ? AND key = ?")?;
    Ok(select.query_row(params![label, key], |row| row.get(0)).optional()?)
}

fn put(file: &Connection, label: &str, key: &str, value: &[u8]) -> Result<(), Error> {
    let mut upsert = file.prepare_cached(
        "INSERT INTO key_values VALUES (?, ?, ?) ON CONFLICT (label, key) DO UPDATE SET value = excluded.value",
    )?;
    upsert.execute(params![label, key, value])?;
    Ok(())
}

fn remove(file: &Connection, label: &str, key: &str) -> Result<(), Error> {
    file.prepare_cached("DELETE FROM key_values WHERE label = ? AND key = ?")?.execute(params![label, key])?;
    Ok(())
}

/// The first keys after one, in byte order; one more than are listed when there is.
fn keys_after(file: &Connection, label: &str, after: &str) -> Result<Vec<String>, Error> {
    let mut select =
        file.prepare_cached("SELECT key FROM key_values WHERE label = ? AND key > ? ORDER BY key LIMIT ?")?;
    let keys = select.query_map(params![label, after, LISTED_KEYS as i64 + 1], |row| row.get(0))?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// The number that a value is: written as a server of Redis writes it, and no
/// other way.
fn number(value: &[u8]) -> Option<i64> {
    let text = str::from_utf8(value).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

#[async_trait]
impl KeyValues for SqliteKeyValues {
    async fn get(&self, tenant: &Tenant, label: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        check::key(label, key)?;
        let (label, key) = (label.to_owned(), key.to_owned());
        self.stores.open(tenant).await?.read(move |file| value_of(file, &label, &key)).await
    }

    async fn set(&self, tenant: &Tenant, label: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        check::key(label, key)?;
        check::value(&value)?;
        let key = key.to_owned();
        self.write(tenant, label, value.len(), move |file, label| put(file, label, &key, &value)).await
    }

    async fn delete(&self, tenant: &Tenant, label: &str, key: &str) -> Result<(), Error> {
        check::key(label, key)?;
        let key = key.to_owned();
        self.write(tenant, label, 0, move |file, label| remove(file, label, &key)).await
    }

    async fn exists(&self, tenant: &Tenant, label: &str, key: &str) -> Result<bool, Error> {
        check::key(label, key)?;
        let (label, key) = (label.to_owned(), key.to_owned());
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
        // No key is the empty text, so all come after it.
        let keys = self.stores.open(tenant).await?.read(move |file| keys_after(file, &label, "")).await?;
        Error::check_count("keys of the store", keys.len(), 0, LISTED_KEYS)?;
        Ok(keys)
    }

    /// The cursor is the last key of the page before.
    async fn list_keys(&self, tenant: &Tenant, label: &str, cursor: Option<String>) -> Result<KeyPage, Error> {
        let after = cursor.unwrap_or_default();
        check::cursor(label, &after)?;
        let label = label.to_owned();
        let mut keys = self.stores.open(tenant).await?.read(move |file| keys_after(file, &label, &after)).await?;
        let more = keys.len() > LISTED_KEYS;
        keys.truncate(LISTED_KEYS);
        let cursor = keys.last().filter(|_| more).cloned();
        Ok(KeyPage { keys, cursor })
    }

    async fn get_many(&self, tenant: &Tenant, label: &str, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        check::keys(label, &keys)?;
        let label = label.to_owned();
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| {
            let mut bytes = 0;
            let values = keys.iter().map(|key| {
                let value = value_of(tx, &label, key)?;
                bytes += value.as_ref().map_or(0, Vec::len);
                check::batch(bytes)?;
                Ok(value)
            });
            values.collect()
        })
        .await
    }

    async fn set_many(&self, tenant: &Tenant, label: &str, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        check::pairs(label, &pairs)?;
        let bytes = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.write(tenant, label, bytes, move |file, label| {
            pairs.iter().try_for_each(|(key, value)| put(file, label, key, value))
        })
        .await
    }

    async fn delete_many(&self, tenant: &Tenant, label: &str, keys: Vec<String>) -> Result<(), Error> {
        check::keys(label, &keys)?;
        let bytes = keys.iter().map(String::len).sum();
        self.write(tenant, label, bytes, move |file, label| keys.iter().try_for_each(|key| remove(file, label, key)))
            .await
    }

    async fn increment(&self, tenant: &Tenant, label: &str, key: &str, delta: i64) -> Result<i64, Error> {
        check::key(label, key)?;
        let key = key.to_owned();
        // A tenant's writes come one after the other.
        self.write(tenant, label, 0, move |file, label| {
            let now = match value_of(file, label, &key)? {
                Some(value) => number(&value).ok_or_else(check::no_number)?,
                None => 0,
            };
            let sum = now.checked_add(delta).ok_or_else(check::overflow)?;
            put(file, label, &key, sum.to_string().as_bytes())?;
            Ok(sum)
        })
        .await
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
        let key = key.to_owned();
        let bytes = value.len() + expected.as_ref().map_or(0, Vec::len);
        self.write(tenant, label, bytes, move |file, label| {
            let is_expected = value_of(file, label, &key)? == expected;
            if is_expected {
                put(file, label, &key, &value)?;
            }
            Ok(is_expected)
        })
        .await
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, KeyValue> {
        pages((String::new(), String::new()), move |after| async move {
            let file = self.stores.open(tenant).await?;
            file.read(move |tx| page(tx, &after)).await
        })
    }
}

/// Store and key.
type Place = (String, String);

/// Values behind a place; and the place of the last of them.
fn page(connection: &Connection, (label, key): &Place) -> Result<(Vec<KeyValue>, Option<Place>), Error> {
    let mut select = connection
        .prepare_cached("SELECT label, key, value FROM key_values WHERE (label, key) > (?, ?) ORDER BY label, key")?;
    let mut rows = select.query(params![label, key])?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let found = KeyValue { label: row.get(0)?, key: row.get(1)?, value: row.get(2)? };
        bytes += found.value.len();
        let place = (found.label.clone(), found.key.clone());
        page.push(found);
        if page.len() == PAGE || bytes > PAGE_BYTES {
            return Ok((page, Some(place)));
        }
    }
    Ok((page, None))
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
        let whole = stores.list_keys(&t, "default", None).await.unwrap();
        assert_eq!((whole.keys.len(), whole.cursor), (LISTED_KEYS, None));
        stores.set(&t, "default", "more", vec![]).await.unwrap();
        assert!(matches!(stores.get_keys(&t, "default").await, Err(Error::Invalid(_))));
        assert!(stores.exists(&t, "default", "more").await.unwrap());
        let first = stores.list_keys(&t, "default", None).await.unwrap();
        assert_eq!((first.keys.len(), first.cursor.as_deref()), (LISTED_KEYS, Some("k9999")));
        let last = stores.list_keys(&t, "default", first.cursor).await.unwrap();
        assert_eq!(last, KeyPage { keys: vec!["more".to_owned()], cursor: None });
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

//! The `documents` capability: the collections of the design (§3.1).
//!
//! A document stands in its collection as the design shows it (see
//! [`crate::codec`]), with one field of our own, `_fw`:
//!
//! | field | what |
//! |---|---|
//! | `handle` | of the id; with the time of creation it is the place in a query |
//! | `version` | grows with each write; a write of what was read says which one it read |
//! | `status` | the status, when it is a text |
//! | `terms`, `row` | of items: the terms under which it is found, and what ranking reads |
//! | `batches` | of profiles: the last batches of events that moved it |
//! | `panes` | of profiles: what was applied of the last panes, by `deploy/flink` |
//! | `added`, `spelled` | what it takes to give the body back as it was |
//!
//! # What is one transaction
//! `replace`, `patch` and `delete` change one document, which every server does
//! whole. `insert_many` is one transaction where the server has them; else its
//! documents are written one by one, and after a failure some may be there: the
//! call can be repeated. `delete_user` and `delete_scenario` are many steps on every
//! server and can be repeated; what a request needs goes last.

mod catalogue;
mod insert;
mod profile;
mod purge;
mod read;
pub(crate) mod refresh;
mod whole;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use bson::{Document as BsonDocument, doc};
use funnelweb_factor_documents::{
    backend::{Body, Plan, check_key, check_keys, check_lists, check_query, parse, parse_patch, prepare_restored},
    merge_patch as merge,
    store::{
        Collection, ColumnSpec, Document, Documents, Error, InsertOutcome, ItemColumns, Key, Page, Precondition,
        Prepared, Query, Tenant, Term, Walk, WriteError,
    },
};
use funnelweb_factor_live::store::LiveEffects;
use serde_json::Value;

use crate::{
    codec::{self, Frame, OWN},
    server::{MongoStore, object_id},
    state::integer,
};

/// How a collection looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// The field that holds the key's `id`.
    pub(crate) id: &'static str,
    /// Fields that the design shows as ISODate.
    dates: &'static [&'static str],
}

pub(crate) fn shape(collection: Collection) -> Shape {
    const WRITTEN: &[&str] = &["created_at", "updated_at"];
    let (name, id, dates) = match collection {
        Collection::Scenarios => ("scenarios", "scenario_id", WRITTEN),
        Collection::Items => ("items", "item_id", WRITTEN),
        Collection::UserProfiles => ("user_profiles", "user_id", WRITTEN),
        // The design names no id: it takes name and version together.
        Collection::ModelConfigs => ("model_configs", "model_id", WRITTEN),
        Collection::Experiments => {
            ("experiments", "experiment_id", &["created_at", "updated_at", "start_time", "end_time"] as &[_])
        }
        Collection::Components => ("components", "component_id", WRITTEN),
    };
    Shape { name, id, dates }
}

/// Documents in a MongoDB.
#[derive(Clone)]
pub struct MongoDocuments {
    store: Arc<MongoStore>,
    /// Where a user or scenario that is deleted has live structures.
    live: Option<Arc<dyn LiveEffects>>,
}

impl MongoDocuments {
    /// Documents in `store`; what is deleted whole is forgotten in `live`, too.
    #[must_use]
    pub fn new(store: Arc<MongoStore>, live: Option<Arc<dyn LiveEffects>>) -> Self {
        Self { store, live }
    }

    /// Runs `change` over the document at `key`, again when another writer comes
    /// between.
    async fn write<T>(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: &Key,
        when: Precondition,
        change: impl Fn(Option<&Stored>) -> Result<write::Change<T>, WriteError> + Send + Sync,
    ) -> Result<T, WriteError> {
        let answer = self.store.write_document(tenant, collection, key, when, change).await;
        if matches!(answer, Err(WriteError::Store(Error::Unavailable(_)))) && collection == Collection::Items {
            self.store.items_unknown(tenant, &key.scenario_id);
        }
        answer
    }
}

/// A document as it was read for a write.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) created_ms: u64,
    pub(crate) document: BsonDocument,
}

impl Stored {
    fn new(document: BsonDocument) -> Self {
        Self { version: version(&document), created_ms: created_ms(&document), document }
    }

    /// Its body.
    pub(crate) fn body(&self) -> Value {
        Value::Object(codec::decode(self.document.clone()))
    }
}

/// The field of ours in a document.
pub(crate) fn own(document: &BsonDocument) -> Option<&BsonDocument> {
    document.get_document(OWN).ok()
}

pub(crate) fn version(document: &BsonDocument) -> u64 {
    own(document).and_then(|own| integer(own, "version")).map_or(0, i64::cast_unsigned)
}

fn created_ms(document: &BsonDocument) -> u64 {
    let at = document.get_datetime("created_at").ok();
    at.and_then(|at| u64::try_from(at.timestamp_millis()).ok()).unwrap_or(0)
}

impl MongoStore {
    /// The filter that finds the document at `key` and no other.
    pub(crate) fn at(&self, tenant: &Tenant, collection: Collection, key: &Key) -> BsonDocument {
        let mut filter = doc! { "_id": self.id_of(tenant, &key.scenario_id, self.handle(&key.id)) };
        if self.abilities.indexed_queries {
            // For the shard; and another id may have the same handle.
            filter.extend(doc! {
                "tenant_id": tenant.as_str(), "scenario_id": &key.scenario_id, shape(collection).id: &key.id
            });
        }
        filter
    }

    /// The `_id` of what has the handle in the scenario, in any collection.
    pub(crate) fn id_of(&self, tenant: &Tenant, scenario: &str, handle: u64) -> bson::oid::ObjectId {
        object_id(tenant, &[scenario.as_bytes(), &handle.to_be_bytes()])
    }

    /// A document as it is stored.
    pub(crate) fn document(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: &Key,
        body: &Body,
        version: u64,
    ) -> BsonDocument {
        let handle = self.handle(&key.id);
        let mut own = doc! {
            "handle": handle.cast_signed(), "version": version.cast_signed(), "status": &body.status,
        };
        if let Some(row) = &body.row {
            let terms: Vec<String> = body.terms.iter().filter_map(read::term).collect();
            own.insert("terms", terms);
            own.insert("row", binary(row.encode()));
        }
        let mut document = doc! { "_id": self.id_of(tenant, &key.scenario_id, handle), "tenant_id": tenant.as_str() };
        let Shape { id, dates, .. } = shape(collection);
        let all = [("scenario_id", key.scenario_id.as_str()), (id, key.id.as_str())];
        let key = if collection == Collection::Scenarios { all.get(..1) } else { all.get(..) };
        let frame =
            Frame { key: key.unwrap_or_default(), at: None, dates, nested_arrays: self.abilities.nested_arrays };
        frame.encode(&body.object, &mut document, &mut own);
        document.insert(OWN, own);
        document
    }
}

/// Bytes as BSON has them.
pub(crate) fn binary(bytes: Vec<u8>) -> bson::Binary {
    bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes }
}

#[async_trait]
impl Documents for MongoDocuments {
    async fn get(&self, tenant: &Tenant, collection: Collection, key: Key) -> Result<Option<Document>, Error> {
        Ok(self.get_many(tenant, collection, vec![key]).await?.pop().flatten())
    }

    async fn get_many(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Document>>, Error> {
        check_keys(collection, &keys)?;
        let found = self.store.documents(tenant, collection, keys).await?;
        Ok(found.into_iter().map(|document| document.as_deref().cloned()).collect())
    }

    async fn insert_prepared(
        &self,
        tenant: &Tenant,
        Prepared { collection, documents, .. }: Prepared,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        self.store.insert_documents(tenant, collection, documents, replace).await
    }

    async fn replace(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        body: String,
        when: Precondition,
    ) -> Result<u64, WriteError> {
        check_key("key", collection, &key)?;
        let body = Body::new("body", collection, &key, parse("body", &body)?)?;
        let change = |_: Option<&Stored>| Ok(write::Change::Put(body.clone(), |document: Document| document.version));
        self.write(tenant, collection, &key, when, change).await
    }

    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        merge_patch: String,
        when: Precondition,
    ) -> Result<Document, WriteError> {
        check_key("key", collection, &key)?;
        let patch = parse_patch(&merge_patch)?;
        let change = |found: Option<&Stored>| {
            let Some(found) = found else { return Err(WriteError::Conflict(0)) };
            let mut value = found.body();
            merge(&mut value, patch.clone());
            let body = Body::new("merge-patch", collection, &key, value)?;
            Ok(write::Change::Put(body, |document| document))
        };
        self.write(tenant, collection, &key, when, change).await
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        when: Precondition,
    ) -> Result<bool, WriteError> {
        check_key("key", collection, &key)?;
        let change = |found: Option<&Stored>| {
            Ok(if found.is_some() { write::Change::Remove(true) } else { write::Change::Nothing(false) })
        };
        self.write(tenant, collection, &key, when, change).await
    }

    async fn delete_user(&self, tenant: &Tenant, user_id: String) -> Result<u64, Error> {
        Error::check_id("user-id", &user_id)?;
        self.store.purge_user(tenant, &user_id, self.live.as_deref()).await
    }

    async fn delete_scenario(&self, tenant: &Tenant, scenario_id: String) -> Result<u64, Error> {
        Error::check_id("scenario-id", &scenario_id)?;
        self.store.purge_scenario(tenant, &scenario_id, self.live.as_deref()).await
    }

    async fn query(&self, tenant: &Tenant, collection: Collection, query: Query) -> Result<Page, Error> {
        check_query(collection, &query)?;
        self.store.page(tenant, collection, &query).await
    }

    async fn newest_items(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        lists: Vec<(Option<Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, Error> {
        check_lists(&scenario_id, &lists)?;
        self.store.lists(tenant, scenario_id, lists).await
    }

    async fn item_columns(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        columns: Vec<ColumnSpec>,
        now_ms: u64,
    ) -> Result<ItemColumns, Error> {
        let plan = Plan::new(columns)?;
        Ok(plan.fill(&self.store.rows(tenant, &scenario_id, &handles).await?, now_ms))
    }

    async fn item_ids(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
    ) -> Result<Vec<Option<String>>, Error> {
        let rows = self.store.rows(tenant, &scenario_id, &handles).await?;
        Ok(rows.into_iter().map(|row| row.map(|row| row.id.clone())).collect())
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.store.tenants().await
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant, collection: Collection) -> Walk<'a, Document> {
        self.store.walk_documents(tenant, collection)
    }

    async fn restore(&self, tenant: &Tenant, collection: Collection, documents: Vec<Document>) -> Result<(), Error> {
        let documents = prepare_restored(collection, documents).await?;
        self.store.restore_documents(tenant, collection, documents).await
    }

    async fn version_floor(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.store.floor(tenant).await
    }

    async fn raise_version_floor(&self, tenant: &Tenant, version: u64) -> Result<(), Error> {
        self.store.raise_floor(tenant, version).await
    }
}

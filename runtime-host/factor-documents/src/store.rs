//! The trait of the `documents` capability, in plain types that mirror
//! `wit/capabilities/documents.wit` one to one. The WIT is the contract; every
//! sentence of it has a check in [`crate::conformance`].

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant, Walk};

pub use crate::backend::Prepared;

/// A collection of the data model (design §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Collection {
    /// Scenario configs.
    Scenarios,
    /// Items that can be recommended.
    Items,
    /// What is known of users, one per user and scenario.
    UserProfiles,
    /// Ranking models.
    ModelConfigs,
    /// A/B experiments.
    Experiments,
    /// Components of the tenant's own, which are of no scenario ([`Key::of_tenant`]):
    /// they stay when one is deleted.
    Components,
}

/// Unique within a tenant and collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// For `scenarios` the same as `id`.
    pub scenario_id: String,
    /// For `user-profiles` the user's.
    pub id: String,
}

impl Key {
    /// A key of both parts.
    pub fn new(scenario_id: impl Into<String>, id: impl Into<String>) -> Self {
        Self { scenario_id: scenario_id.into(), id: id.into() }
    }

    /// The key of what is of no scenario.
    pub fn of_tenant(id: impl Into<String>) -> Self {
        Self::new("-", id)
    }
}

/// A stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is.
    pub key: Key,
    /// A JSON object with `created_at` and `updated_at` (RFC 3339) in it, and
    /// `status` when it is an item.
    pub body: String,
    /// Grows with each write of this document; never 0.
    pub version: u64,
}

/// A document to insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    /// Where it goes.
    pub key: Key,
    /// A JSON object; the store sets `created_at` and `updated_at`, and an
    /// item's `status` to `active` when it has none.
    pub body: String,
}

/// What became of one document of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertOutcome {
    /// It is new.
    Created,
    /// The key exists and `replace` was false, or it stands earlier in the call.
    Duplicate,
    /// The key existed and was replaced.
    Replaced,
    /// Another id has the same handle; the id cannot be used.
    Collision,
}

/// What must hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The document must be at this version.
    Version(u64),
    /// The document must exist.
    Exists,
    /// The document must not exist.
    Absent,
}

/// Why a conditional write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The precondition does not hold; the version found, 0 for none.
    #[error("the precondition does not hold, the document is at version {0}")]
    Conflict(u64),
    /// Another id has the same handle.
    #[error("another id has the same handle")]
    Collision,
}

/// A span of time in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// Inclusive.
    pub from_ms: Option<u64>,
    /// Exclusive.
    pub to_ms: Option<u64>,
}

/// The order of a query: by `created_at`, then handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Last created first.
    #[default]
    Newest,
    /// First created first.
    Oldest,
}

/// Which documents, in which order. Every filter that is set must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of this scenario.
    pub scenario_id: Option<String>,
    /// `status` equals this.
    pub status: Option<String>,
    /// Items only: `metadata.category` equals this.
    pub category: Option<String>,
    /// Items only: `metadata.tags` holds this.
    pub tag: Option<String>,
    /// `created_at` is within.
    pub created: Range,
    /// The order.
    pub sort: Sort,
    /// From the page before; opaque.
    pub cursor: Option<String>,
    /// 1 to [`funnelweb_core::limits::PAGE_DOCUMENTS`].
    pub limit: u32,
}

/// One page of a query's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In the order asked for.
    pub documents: Vec<Document>,
    /// None on the last page.
    pub next: Option<String>,
}

/// A value of an item field that has an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// `category` or `tags`.
    pub field: String,
    /// The value.
    pub value: String,
}

/// How a field becomes a column (`types.column-kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// One `f32` per row; NaN is missing.
    Numeric,
    /// One value hash per row; 0 is missing.
    Categorical,
    /// Any number of value hashes per row.
    MultiCategorical,
    /// Age in hours at `now-ms`, among the numeric columns; NaN is missing.
    Timestamp,
    /// `embedding-dim` values per row; all NaN is missing.
    Embedding,
}

/// A column asked for (`types.column-spec`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// A field of `metadata` (dots reach into objects), or `created_at`,
    /// `updated_at`, `embedding`.
    pub name: String,
    /// What it becomes.
    pub kind: ColumnKind,
}

/// Columns over `rows` rows (`types.table`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Number of rows.
    pub rows: u32,
    /// Numeric and timestamp columns, in the order of their cells in a row.
    pub numeric_names: Vec<String>,
    /// Row-major, `rows * numeric_names` long.
    pub numeric: Vec<f32>,
    /// Categorical columns, in the order of their cells in a row.
    pub categorical_names: Vec<String>,
    /// Row-major, `rows * categorical_names` long.
    pub categorical: Vec<u32>,
    /// Columns of many values, in the order of their cells in a row.
    pub multi_names: Vec<String>,
    /// Cell `k` (row-major over `rows * multi_names`) holds
    /// `multi_values[multi_offsets[k]..multi_offsets[k + 1]]`; one longer than
    /// the number of cells, or empty when there is no such column.
    pub multi_offsets: Vec<u32>,
    /// The values of all cells.
    pub multi_values: Vec<u32>,
    /// Values per row in `embeddings`; 0 when no embedding was asked for.
    pub embedding_dim: u32,
    /// Row-major, `rows * embedding_dim` long.
    pub embeddings: Vec<f32>,
}

/// Columns over the items that were found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemColumns {
    /// Positions in the asked `handles` of the rows of `table`, ascending.
    pub found: Vec<u32>,
    /// The columns.
    pub table: Table,
}

/// Who keeps something of scenarios beside their documents.
#[async_trait]
pub trait Dependent: Send + Sync + 'static {
    /// The scenario was deleted: what is kept of it goes too.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;

    /// The user was deleted in every scenario.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error>;
}

/// The collections of one deployment, for every tenant. A write is durable when
/// its call returns.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// The document at `key`.
    async fn get(&self, tenant: &Tenant, collection: Collection, key: Key) -> Result<Option<Document>, Error>;

    /// As many answers as keys, in order.
    async fn get_many(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Document>>, Error>;

    /// Inserts all documents in one transaction; one outcome per document.
    async fn insert_many(
        &self,
        tenant: &Tenant,
        collection: Collection,
        documents: Vec<NewDocument>,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        self.insert_prepared(tenant, Prepared::new(collection, documents).await?, replace).await
    }

    /// The same, of documents that were checked before: while others are written,
    /// for example.
    async fn insert_prepared(
        &self,
        tenant: &Tenant,
        prepared: Prepared,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error>;

    /// Writes the whole document; returns its new version.
    async fn replace(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        body: String,
        when: Precondition,
    ) -> Result<u64, WriteError>;

    /// JSON Merge Patch (RFC 7386) of a document that exists. Returns it as
    /// written.
    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        merge_patch: String,
        when: Precondition,
    ) -> Result<Document, WriteError>;

    /// Whether it existed.
    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        when: Precondition,
    ) -> Result<bool, WriteError>;

    /// Everything of the user in every scenario; how many documents and events.
    async fn delete_user(&self, tenant: &Tenant, user_id: String) -> Result<u64, Error>;

    /// Everything of the scenario; how many documents and events.
    async fn delete_scenario(&self, tenant: &Tenant, scenario_id: String) -> Result<u64, Error>;

    /// One page of the documents that fit.
    async fn query(&self, tenant: &Tenant, collection: Collection, query: Query) -> Result<Page, Error>;

    /// The handles of the newest active items of each list asked for.
    async fn newest_items(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        lists: Vec<(Option<Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, Error>;

    /// Columns of active items; rows of inactive or unknown items are left out.
    async fn item_columns(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        columns: Vec<ColumnSpec>,
        now_ms: u64,
    ) -> Result<ItemColumns, Error>;

    /// The ids of items, none for an unknown handle.
    async fn item_ids(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
    ) -> Result<Vec<Option<String>>, Error>;

    /// The tenants that have a scenario, by name; some of them may have had one.
    async fn tenants(&self) -> Result<Vec<Tenant>, Error>;

    // --- for moving a tenant ---

    /// All documents of a collection, in an order of the store's own.
    fn walk<'a>(&'a self, tenant: &'a Tenant, collection: Collection) -> Walk<'a, Document>;

    /// Writes documents as they were walked, with their versions and times, over
    /// those at their keys; everything that is derived from them is derived again.
    /// Up to [`funnelweb_core::limits::INSERT_DOCUMENTS`] of different keys, in one
    /// transaction where the server has them; repeating it changes nothing.
    async fn restore(&self, tenant: &Tenant, collection: Collection, documents: Vec<Document>) -> Result<(), Error>;

    /// The version above which new documents start: none that was deleted had a
    /// greater one.
    async fn version_floor(&self, tenant: &Tenant) -> Result<u64, Error>;

    /// Has no new document start at `version` or below.
    async fn raise_version_floor(&self, tenant: &Tenant, version: u64) -> Result<(), Error>;
}

/// Whoever keeps copies of documents: told of those that another part of the
/// same store has written.
#[async_trait]
pub trait Watcher: Send + Sync + 'static {
    /// These documents are so now. An older one changes nothing.
    async fn changed(&self, tenant: &Tenant, collection: Collection, documents: &[Document]);
}

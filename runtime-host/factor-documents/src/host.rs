//! The WIT interface `documents` over the trait: conversions, and the tenant,
//! which no call names.

use std::{convert::Infallible, sync::Arc};

use funnelweb_bindings::{
    capabilities::{
        documents::{self as wit, Host, HostInsertion},
        errors,
    },
    types,
};
use funnelweb_core::limits;
use funnelweb_recording::Tape;
use funnelweb_tenant_store::host::bound;
use tokio::{sync::oneshot, task::JoinHandle};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::store::{
    Collection, ColumnKind, ColumnSpec, Document, Documents, Error, InsertOutcome, Key, NewDocument, Page,
    Precondition, Prepared, Query, Range, Sort, Table, Tenant, Term, WriteError,
};

/// What one instance may do: the documents of one tenant, or of none.
pub struct DocumentsCtx {
    store: Arc<dyn Documents>,
    tenant: Option<Tenant>,
    tape: Tape,
    insertions: ResourceTable,
    /// Of the insert that was begun last: closed when it is made.
    last: Option<oneshot::Receiver<Infallible>>,
}

/// An insert that a task of its own makes; none when its outcome was given.
struct Inserting(Option<JoinHandle<Result<Vec<InsertOutcome>, Error>>>);

impl DocumentsCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(store: Arc<dyn Documents>, tenant: Option<Tenant>) -> Self {
        let mut insertions = ResourceTable::new();
        insertions.set_max_capacity(limits::INSTANCE_INSERTS);
        Self { store, tenant, tape: Tape::default(), insertions, last: None }
    }

    /// Has its answers pass through `tape`.
    #[must_use]
    pub fn taped(self, tape: Tape) -> Self {
        Self { tape, ..self }
    }

    fn tenant(&self) -> Result<&Tenant, errors::Error> {
        bound(self.tenant.as_ref())
    }

    /// For what changes something: a request that is run again does not.
    fn writing(&self) -> Result<&Tenant, errors::Error> {
        if self.tape.is_again() {
            return Err(errors::Error::Denied("a request that is run again writes nothing".to_owned()));
        }
        self.tenant()
    }
}

struct HasDocuments;

impl HasData for HasDocuments {
    type Data<'a> = &'a mut DocumentsCtx;
}

/// Offers `funnelweb:capabilities/documents` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut DocumentsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasDocuments>(linker, ctx)
}

impl Host for DocumentsCtx {
    async fn get(
        &mut self,
        collection: wit::Collection,
        key: wit::Key,
    ) -> Result<Option<wit::Document>, errors::Error> {
        let cue = self.tape.cue("documents.get", &(collection, &key));
        let (store, tenant) = (&self.store, self.tenant());
        cue.play(async {
            let found = store.get(tenant?, collection.into(), key.into()).await?;
            Ok(found.map(Into::into))
        })
        .await
    }

    async fn get_many(
        &mut self,
        collection: wit::Collection,
        keys: Vec<wit::Key>,
    ) -> Result<Vec<Option<wit::Document>>, errors::Error> {
        let cue = self.tape.cue("documents.get-many", &(collection, &keys));
        let (store, tenant) = (&self.store, self.tenant());
        cue.play(async {
            let keys = keys.into_iter().map(Into::into).collect();
            let found = store.get_many(tenant?, collection.into(), keys).await?;
            Ok(found.into_iter().map(|document| document.map(Into::into)).collect())
        })
        .await
    }

    async fn insert_many(
        &mut self,
        collection: wit::Collection,
        documents: Vec<wit::NewDocument>,
        replace: bool,
    ) -> Result<Resource<wit::Insertion>, errors::Error> {
        let tenant = self.writing()?.clone();
        let pushed = self.insertions.push(Inserting(None));
        let pushed = pushed
            .map_err(|_| errors::Error::Invalid(format!("insertions: at most {} at once", limits::INSTANCE_INSERTS)))?;
        let documents = documents.into_iter().map(|new| NewDocument { key: new.key.into(), body: new.body }).collect();
        let (made, last) = oneshot::channel();
        let (store, before) = (Arc::clone(&self.store), self.last.replace(last));
        let inserting = tokio::spawn(async move {
            let _made = made;
            let prepared = Prepared::new(collection.into(), documents).await;
            // In the order of the calls.
            if let Some(before) = before {
                let _ = before.await;
            }
            store.insert_prepared(&tenant, prepared?, replace).await
        });
        if let Ok(place) = self.insertions.get_mut(&pushed) {
            place.0 = Some(inserting);
        }
        Ok(Resource::new_own(pushed.rep()))
    }

    async fn replace(
        &mut self,
        collection: wit::Collection,
        key: wit::Key,
        body: String,
        when: wit::Precondition,
    ) -> Result<u64, wit::WriteError> {
        let tenant = self.writing().map_err(wit::WriteError::Store)?;
        self.store.replace(tenant, collection.into(), key.into(), body, when.into()).await.map_err(Into::into)
    }

    async fn patch(
        &mut self,
        collection: wit::Collection,
        key: wit::Key,
        merge_patch: String,
        when: wit::Precondition,
    ) -> Result<wit::Document, wit::WriteError> {
        let tenant = self.writing().map_err(wit::WriteError::Store)?;
        let written = self.store.patch(tenant, collection.into(), key.into(), merge_patch, when.into()).await?;
        Ok(written.into())
    }

    async fn delete(
        &mut self,
        collection: wit::Collection,
        key: wit::Key,
        when: wit::Precondition,
    ) -> Result<bool, wit::WriteError> {
        let tenant = self.writing().map_err(wit::WriteError::Store)?;
        self.store.delete(tenant, collection.into(), key.into(), when.into()).await.map_err(Into::into)
    }

    async fn delete_user(&mut self, user_id: String) -> Result<u64, errors::Error> {
        self.store.delete_user(self.writing()?, user_id).await.map_err(Into::into)
    }

    async fn delete_scenario(&mut self, scenario_id: String) -> Result<u64, errors::Error> {
        self.store.delete_scenario(self.writing()?, scenario_id).await.map_err(Into::into)
    }

    async fn find(&mut self, collection: wit::Collection, query: wit::Query) -> Result<wit::Page, errors::Error> {
        let cue = self.tape.cue("documents.find", &(collection, &query));
        let (store, tenant) = (&self.store, self.tenant());
        cue.play(async {
            let page = store.query(tenant?, collection.into(), query.into()).await?;
            Ok(page.into())
        })
        .await
    }

    async fn newest_items(
        &mut self,
        scenario_id: String,
        lists: Vec<(Option<wit::Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, errors::Error> {
        let cue = self.tape.cue("documents.newest-items", &(&scenario_id, &lists));
        let (store, tenant) = (&self.store, self.tenant());
        cue.play(async {
            let lists = lists
                .into_iter()
                .map(|(term, limit)| (term.map(|term| Term { field: term.field, value: term.value }), limit))
                .collect();
            store.newest_items(tenant?, scenario_id, lists).await.map_err(Into::into)
        })
        .await
    }

    async fn item_columns(
        &mut self,
        scenario_id: String,
        handles: Vec<u64>,
        columns: Vec<types::ColumnSpec>,
        now_ms: u64,
    ) -> Result<wit::ItemTable, errors::Error> {
        let cue = self.tape.cue("documents.item-columns", &(&scenario_id, &handles, &columns, now_ms));
        let (store, tenant) = (&self.store, self.tenant());
        cue.play(async {
            let columns =
                columns.into_iter().map(|spec| ColumnSpec { name: spec.name, kind: spec.kind.into() }).collect();
            let found = store.item_columns(tenant?, scenario_id, handles, columns, now_ms).await?;
            Ok(wit::ItemTable { found: found.found, table: found.table.into() })
        })
        .await
    }

    async fn item_ids(&mut self, scenario_id: String, handles: Vec<u64>) -> Result<Vec<Option<String>>, errors::Error> {
        let cue = self.tape.cue("documents.item-ids", &(&scenario_id, &handles));
        let (store, tenant) = (&self.store, self.tenant());
        cue.play(async { store.item_ids(tenant?, scenario_id, handles).await.map_err(Into::into) }).await
    }
}

impl HostInsertion for DocumentsCtx {
    async fn finish(&mut self, insertion: Resource<wit::Insertion>) -> Result<Vec<wit::InsertOutcome>, errors::Error> {
        let inserting = self.insertions.get_mut(&Resource::<Inserting>::new_borrow(insertion.rep()));
        let inserting = inserting.ok().and_then(|inserting| inserting.0.take());
        let inserting = inserting.ok_or_else(|| errors::Error::Invalid("insertion: it is finished".to_owned()))?;
        let outcomes = inserting
            .await
            .map_err(|error| errors::Error::Unavailable(format!("the insert was abandoned: {error}")))??;
        Ok(outcomes.into_iter().map(Into::into).collect())
    }

    async fn drop(&mut self, insertion: Resource<wit::Insertion>) -> wasmtime::Result<()> {
        self.insertions.delete(Resource::<Inserting>::new_own(insertion.rep()))?;
        Ok(())
    }
}

impl From<WriteError> for wit::WriteError {
    fn from(failed: WriteError) -> Self {
        match failed {
            WriteError::Store(store) => Self::Store(store.into()),
            WriteError::Conflict(version) => Self::Conflict(version),
            WriteError::Collision => Self::Collision,
        }
    }
}

impl From<wit::Collection> for Collection {
    fn from(collection: wit::Collection) -> Self {
        match collection {
            wit::Collection::Scenarios => Self::Scenarios,
            wit::Collection::Items => Self::Items,
            wit::Collection::UserProfiles => Self::UserProfiles,
            wit::Collection::ModelConfigs => Self::ModelConfigs,
            wit::Collection::Experiments => Self::Experiments,
        }
    }
}

impl From<wit::Key> for Key {
    fn from(key: wit::Key) -> Self {
        Self { scenario_id: key.scenario_id, id: key.id }
    }
}

impl From<Document> for wit::Document {
    fn from(document: Document) -> Self {
        let key = wit::Key { scenario_id: document.key.scenario_id, id: document.key.id };
        Self { key, body: document.body, version: document.version }
    }
}

impl From<InsertOutcome> for wit::InsertOutcome {
    fn from(outcome: InsertOutcome) -> Self {
        match outcome {
            InsertOutcome::Created => Self::Created,
            InsertOutcome::Duplicate => Self::Duplicate,
            InsertOutcome::Replaced => Self::Replaced,
            InsertOutcome::Collision => Self::Collision,
        }
    }
}

impl From<wit::Precondition> for Precondition {
    fn from(when: wit::Precondition) -> Self {
        match when {
            wit::Precondition::None => Self::None,
            wit::Precondition::Version(version) => Self::Version(version),
            wit::Precondition::Exists => Self::Exists,
            wit::Precondition::Absent => Self::Absent,
        }
    }
}

impl From<wit::Query> for Query {
    fn from(query: wit::Query) -> Self {
        Self {
            scenario_id: query.scenario_id,
            status: query.status,
            category: query.category,
            tag: query.tag,
            created: Range { from_ms: query.created.from_ms, to_ms: query.created.to_ms },
            sort: match query.sort {
                wit::Sort::Newest => Sort::Newest,
                wit::Sort::Oldest => Sort::Oldest,
            },
            cursor: query.cursor,
            limit: query.limit,
        }
    }
}

impl From<Page> for wit::Page {
    fn from(page: Page) -> Self {
        Self { documents: page.documents.into_iter().map(Into::into).collect(), next: page.next }
    }
}

impl From<types::ColumnKind> for ColumnKind {
    fn from(kind: types::ColumnKind) -> Self {
        match kind {
            types::ColumnKind::Numeric => Self::Numeric,
            types::ColumnKind::Categorical => Self::Categorical,
            types::ColumnKind::MultiCategorical => Self::MultiCategorical,
            types::ColumnKind::Timestamp => Self::Timestamp,
            types::ColumnKind::Embedding => Self::Embedding,
        }
    }
}

impl From<Table> for types::Table {
    fn from(table: Table) -> Self {
        Self {
            rows: table.rows,
            numeric_names: table.numeric_names,
            numeric: table.numeric,
            categorical_names: table.categorical_names,
            categorical: table.categorical,
            multi_names: table.multi_names,
            multi_offsets: table.multi_offsets,
            multi_values: table.multi_values,
            embedding_dim: table.embedding_dim,
            embeddings: table.embeddings,
        }
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_tenant_store::TenantStores;

    use super::*;
    use crate::sqlite::SqliteDocuments;

    fn new(id: &str, body: String) -> wit::NewDocument {
        let key = wit::Key { scenario_id: "feed".to_owned(), id: id.to_owned() };
        wit::NewDocument { key, body }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn inserts_are_made_in_the_order_of_the_calls_and_two_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteDocuments::new(Arc::new(TenantStores::new(folder.path()).unwrap())).unwrap();
        let mut ctx = DocumentsCtx::new(Arc::new(store), Some(Tenant::new("acme").unwrap()));
        // Much to read before it can be written, and then little.
        let many = (0..2000).map(|at| new(&format!("i{at}"), format!(r#"{{"list":[{}]}}"#, ["0"; 300].join(","))));
        let first = ctx.insert_many(wit::Collection::Items, many.collect(), false).await.unwrap();
        let again = vec![new("i1999", "{}".to_owned()), new("j", "{}".to_owned())];
        let second = ctx.insert_many(wit::Collection::Items, again, true).await.unwrap();
        let third = ctx.insert_many(wit::Collection::Items, vec![], true).await;
        let most = limits::INSTANCE_INSERTS.to_string();
        assert!(matches!(third, Err(errors::Error::Invalid(message)) if message.contains(&most)));
        let (one, two) = (Resource::new_borrow(first.rep()), Resource::new_borrow(second.rep()));
        assert_eq!(ctx.finish(two).await.unwrap(), [wit::InsertOutcome::Replaced, wit::InsertOutcome::Created]);
        let outcomes = ctx.finish(one).await.unwrap();
        assert!(outcomes.len() == 2000 && outcomes.iter().all(|outcome| *outcome == wit::InsertOutcome::Created));
        assert!(ctx.finish(Resource::new_borrow(first.rep())).await.is_err());
        // The place of one that is dropped is free.
        ctx.drop(first).await.unwrap();
        assert!(ctx.insert_many(wit::Collection::Items, vec![], true).await.is_ok());
    }
}

//! The space `embedding`: the vectors that a scenario's items bring along.

mod busy;
mod follow;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::Future, sync::Arc};

use async_trait::async_trait;
use funnelweb_core::id;
use funnelweb_factor_documents::store::{
    Collection, ColumnSpec, Dependent, Document, Documents, Error, InsertOutcome, ItemColumns, Key, Page, Precondition,
    Prepared, Query, Tenant, Term, Walk, WriteError,
};
use tokio::task::spawn_blocking;
use tracing::Instrument as _;

use self::{
    busy::{Busy, ItemKey},
    follow::{Follower, Written, vector_of},
};
use crate::store::Vectors;

/// The space of items' own vectors. Its metric is the cosine, its dimension that of the
/// first vector.
pub const EMBEDDING: &str = "embedding";

/// A [`Documents`] that keeps the space [`EMBEDDING`] in step with its items: a write of
/// an item is followed by one of its vector before it is answered.
///
/// A vector that does not fit the space, or is zero, is not in it. When a document was
/// written and its vector could not be, the write has succeeded all the same; such are
/// counted, logged, and mended by training, which compares the two. A scenario that is
/// deleted takes all its spaces along.
#[derive(Clone)]
pub struct WithEmbeddings {
    inner: Arc<dyn Documents>,
    follower: Arc<Follower>,
    busy: Arc<Busy>,
    dependents: Arc<[Arc<dyn Dependent>]>,
}

impl WithEmbeddings {
    /// The vectors of items of `inner`, kept in `vectors`.
    pub fn new(inner: Arc<dyn Documents>, vectors: Arc<dyn Vectors>) -> Self {
        Self { inner, follower: Arc::new(Follower::new(vectors)), busy: Arc::default(), dependents: Arc::default() }
    }

    /// Has these be told of scenarios and users that are deleted.
    #[must_use]
    pub fn with_dependents(self, dependents: Vec<Arc<dyn Dependent>>) -> Self {
        Self { dependents: dependents.into(), ..self }
    }

    /// Vectors that did not fit their space since the process began.
    #[must_use]
    pub fn misfits(&self) -> u64 {
        self.follower.misfits()
    }

    /// These items were written, each of them once.
    async fn follow(&self, tenant: &Tenant, written: impl IntoIterator<Item = (String, Written)>) {
        let mut scenarios: HashMap<String, Vec<Written>> = HashMap::new();
        for (scenario_id, item) in written {
            scenarios.entry(scenario_id).or_default().push(item);
        }
        for (scenario_id, items) in scenarios {
            self.follower.follow(tenant, &scenario_id, items).await;
        }
    }
}

fn item_key(tenant: &Tenant, key: &Key) -> ItemKey {
    (tenant.clone(), key.scenario_id.as_str().into(), id::handle(&key.id))
}

/// Has the work done even if the caller is gone: between the two writes, for example.
async fn to_its_end<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|error| Err(Error::Unavailable(format!("the work was abandoned: {error}")).into()))
}

#[async_trait]
impl Documents for WithEmbeddings {
    async fn get(&self, tenant: &Tenant, collection: Collection, key: Key) -> Result<Option<Document>, Error> {
        self.inner.get(tenant, collection, key).await
    }

    async fn get_many(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Document>>, Error> {
        self.inner.get_many(tenant, collection, keys).await
    }

    async fn insert_prepared(
        &self,
        tenant: &Tenant,
        prepared: Prepared,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        if prepared.collection != Collection::Items {
            return self.inner.insert_prepared(tenant, prepared, replace).await;
        }
        let (this, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let documents = prepared.documents.iter();
            let items: Vec<(Key, Vec<f32>)> = documents
                .map(|(key, body)| (key.clone(), body.row.as_ref().map_or_else(Vec::new, |row| row.embedding.clone())))
                .collect();
            let _held = this.busy.hold(items.iter().map(|(key, _)| item_key(&tenant, key)).collect()).await;
            let outcomes = this.inner.insert_prepared(&tenant, prepared, replace).await?;
            let written = items.into_iter().zip(&outcomes).filter(|((_, vector), outcome)| match outcome {
                InsertOutcome::Replaced => true,
                InsertOutcome::Created => !vector.is_empty(),
                InsertOutcome::Duplicate | InsertOutcome::Collision => false,
            });
            let written = written.map(|((key, vector), _)| (key.scenario_id, (id::handle(&key.id), vector)));
            this.follow(&tenant, written).await;
            Ok(outcomes)
        })
        .await
    }

    async fn replace(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        body: String,
        when: Precondition,
    ) -> Result<u64, WriteError> {
        if collection != Collection::Items {
            return self.inner.replace(tenant, collection, key, body, when).await;
        }
        let (this, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let _held = this.busy.hold(vec![item_key(&tenant, &key)]).await;
            let vector = vector_of(&body);
            let version = this.inner.replace(&tenant, collection, key.clone(), body, when).await?;
            this.follow(&tenant, [(key.scenario_id, (id::handle(&key.id), vector))]).await;
            Ok(version)
        })
        .await
    }

    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        merge_patch: String,
        when: Precondition,
    ) -> Result<Document, WriteError> {
        if collection != Collection::Items {
            return self.inner.patch(tenant, collection, key, merge_patch, when).await;
        }
        let (this, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let _held = this.busy.hold(vec![item_key(&tenant, &key)]).await;
            let document = this.inner.patch(&tenant, collection, key.clone(), merge_patch, when).await?;
            let item = (id::handle(&key.id), vector_of(&document.body));
            this.follow(&tenant, [(key.scenario_id, item)]).await;
            Ok(document)
        })
        .await
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        when: Precondition,
    ) -> Result<bool, WriteError> {
        if collection != Collection::Items {
            return self.inner.delete(tenant, collection, key, when).await;
        }
        let (this, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let _held = this.busy.hold(vec![item_key(&tenant, &key)]).await;
            let existed = this.inner.delete(&tenant, collection, key.clone(), when).await?;
            // Whether or not it was there: its vector might have stayed.
            this.follow(&tenant, [(key.scenario_id, (id::handle(&key.id), Vec::new()))]).await;
            Ok(existed)
        })
        .await
    }

    async fn delete_user(&self, tenant: &Tenant, user_id: String) -> Result<u64, Error> {
        let (this, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let deleted = this.inner.delete_user(&tenant, user_id.clone()).await?;
            // After it: a training that begins to read now finds nothing of the user.
            for dependent in &*this.dependents {
                dependent.forget_user(&tenant, &user_id).await?;
            }
            Ok(deleted)
        })
        .await
    }

    async fn delete_scenario(&self, tenant: &Tenant, scenario_id: String) -> Result<u64, Error> {
        let (this, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let deleted = this.inner.delete_scenario(&tenant, scenario_id.clone()).await?;
            this.follower.forget(&tenant, &scenario_id).await;
            for dependent in &*this.dependents {
                dependent.forget_scenario(&tenant, &scenario_id).await?;
            }
            Ok(deleted)
        })
        .await
    }

    async fn query(&self, tenant: &Tenant, collection: Collection, query: Query) -> Result<Page, Error> {
        self.inner.query(tenant, collection, query).await
    }

    async fn newest_items(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        lists: Vec<(Option<Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, Error> {
        self.inner.newest_items(tenant, scenario_id, lists).await
    }

    async fn item_columns(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        columns: Vec<ColumnSpec>,
        now_ms: u64,
    ) -> Result<ItemColumns, Error> {
        self.inner.item_columns(tenant, scenario_id, handles, columns, now_ms).await
    }

    async fn item_ids(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
    ) -> Result<Vec<Option<String>>, Error> {
        self.inner.item_ids(tenant, scenario_id, handles).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.inner.tenants().await
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant, collection: Collection) -> Walk<'a, Document> {
        self.inner.walk(tenant, collection)
    }

    async fn restore(&self, tenant: &Tenant, collection: Collection, documents: Vec<Document>) -> Result<(), Error> {
        if collection != Collection::Items {
            return self.inner.restore(tenant, collection, documents).await;
        }
        let (this, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let _held = this.busy.hold(documents.iter().map(|item| item_key(&tenant, &item.key)).collect()).await;
            let read = move || {
                let vectors = documents.iter().map(|item| (item.key.clone(), vector_of(&item.body)));
                let vectors: Vec<_> = vectors.collect();
                (documents, vectors)
            };
            let (documents, vectors) = spawn_blocking(read)
                .await
                .map_err(|error| Error::Unavailable(format!("the work was abandoned: {error}")))?;
            this.inner.restore(&tenant, collection, documents).await?;
            let written = vectors.into_iter().map(|(key, vector)| (key.scenario_id, (id::handle(&key.id), vector)));
            this.follow(&tenant, written).await;
            Ok(())
        })
        .await
    }

    async fn version_floor(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.inner.version_floor(tenant).await
    }

    async fn raise_version_floor(&self, tenant: &Tenant, version: u64) -> Result<(), Error> {
        self.inner.raise_version_floor(tenant, version).await
    }
}

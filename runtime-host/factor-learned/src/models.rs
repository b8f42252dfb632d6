//! [`Learned`] over blobs, with the vectors in `vectors`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use funnelweb_blob_store::store::{Blobs, Error as BlobError};
use funnelweb_core::{id, limits};
use funnelweb_factor_vectors::store::{Metric, Vectors};
use tokio::task::spawn_blocking;

use crate::{
    Factors, Similarity, Slates, check, format,
    gone::{Gone, Marks},
    handles::Handles,
    names,
    shelf::{Load, Shelf, Unloaded},
    store::{Error, FactorModel, Learned, Lists, Relation, Slate, Tenant},
};

/// Between two looks for what other processes have trained, unless said otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What was learned, served from memory.
///
/// Of users who were deleted nothing is given ([`Learned::forget_user`]).
///
/// The vectors of a factor model are served as spaces of [`Vectors`], which are filled
/// from its blob before the model is served, and again when they are lost. Those of
/// the version before stay for the requests that still use it.
pub struct LearnedModels {
    blobs: Arc<dyn Blobs>,
    vectors: Arc<dyn Vectors>,
    gone: Arc<Gone>,
    similarity: Arc<Shelf<OfSimilarity>>,
    factors: Arc<Shelf<OfFactors>>,
    slates: Arc<Shelf<OfSlates>>,
}

impl LearnedModels {
    /// Serves what is in `blobs`, its vectors in `vectors`.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>, vectors: Arc<dyn Vectors>) -> Self {
        Self::looking_every(LOOK_EVERY, blobs, vectors)
    }

    /// The same, looking for newer versions so often.
    #[must_use]
    pub fn looking_every(every: Duration, blobs: Arc<dyn Blobs>, vectors: Arc<dyn Vectors>) -> Self {
        let gone = Gone::new(Arc::clone(&blobs), every);
        let load = OfSimilarity { blobs: Arc::clone(&blobs) };
        let similarity = Shelf::new(load, Arc::clone(&blobs), every, limits::LEARNED_CACHE_BYTES);
        let load = OfFactors { blobs: Arc::clone(&blobs), vectors: Arc::clone(&vectors), gone: Arc::clone(&gone) };
        let factors = Shelf::new(load, Arc::clone(&blobs), every, limits::FOLD_IN_CACHE_BYTES);
        let slates = Shelf::new(OfSlates, Arc::clone(&blobs), every, limits::PRECOMPUTED_CACHE_BYTES);
        Self { blobs, vectors, gone, similarity, factors, slates }
    }

    /// Takes a user's vector out of the spaces of a scenario's factor models.
    async fn remove_vector(&self, tenant: &Tenant, scenario_id: &str, user: u64) -> Result<(), Error> {
        let spaces = self.vectors.spaces(tenant, scenario_id).await?;
        for space in spaces.iter().filter(|space| names::is_of_users(space)) {
            if self.vectors.get(tenant, scenario_id, space, vec![user]).await?.found.is_empty() {
                continue;
            }
            self.vectors.delete(tenant, scenario_id, space, vec![user]).await?;
            if let Some(served) = self.factors.peek(tenant, scenario_id).filter(|of| of.model.user_space == *space) {
                served.one_user_less();
            }
        }
        Ok(())
    }

    /// Removes the marks of users who are in no model any more.
    async fn prune_gone(&self, tenant: &Tenant) -> Result<(), Error> {
        if self.gone.get(tenant).await?.is_empty() {
            return Ok(());
        }
        let mut oldest_ms = u64::MAX;
        for model in self.blobs.list(tenant, names::LEARNED).await? {
            if names::scenario_of(&model.name).is_some() {
                oldest_ms = oldest_ms.min(began_ms(&*self.blobs, tenant, &model.name, model.version).await?);
            }
        }
        self.gone.prune(tenant, oldest_ms).await
    }
}

#[async_trait]
impl Learned for LearnedModels {
    async fn related(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        relation: Relation,
        handles: &[u64],
        limit: u32,
    ) -> Result<Lists, Error> {
        check::related(scenario_id, handles, limit)?;
        let found = self.similarity.get(tenant, scenario_id).await?;
        let Some(Dated { began_ms, model }) = found.as_deref() else {
            return Ok(Lists::empty(handles.len()));
        };
        let lists = model.related(relation, handles, limit as usize);
        // That many liked both of two items says nothing of one of them.
        if relation == Relation::SimilarItems {
            return Ok(lists);
        }
        let gone = self.gone.get(tenant).await?;
        Ok(without(lists, relation, handles, &gone, *began_ms))
    }

    async fn factors(&self, tenant: &Tenant, scenario_id: &str) -> Result<Option<Arc<FactorModel>>, Error> {
        check::scenario(scenario_id)?;
        let model = self.factors.get(tenant, scenario_id).await?;
        Ok(model.filter(|model| model.items > 0).map(|model| Arc::clone(&model.model)))
    }

    async fn precomputed(&self, tenant: &Tenant, scenario_id: &str, user: u64) -> Result<Option<Slate>, Error> {
        check::scenario(scenario_id)?;
        let slates = self.slates.get(tenant, scenario_id).await?;
        let Some(slate) = slates.and_then(|slates| slates.slate(user)) else { return Ok(None) };
        let gone = self.gone.get(tenant).await?;
        Ok((!gone.has(user, slate.made_ms)).then_some(slate))
    }

    async fn refresh(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        check::scenario(scenario_id)?;
        let similarity = self.similarity.refresh(tenant, scenario_id).await;
        let slates = self.slates.refresh(tenant, scenario_id).await;
        self.factors.refresh(tenant, scenario_id).await.and(similarity).and(slates)?;
        if let Err(error) = self.prune_gone(tenant).await {
            tracing::warn!(%tenant, %error, "marks of deleted users stay until the next training");
        }
        Ok(())
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        check::user(user_id)?;
        let user = id::handle(user_id);
        self.gone.mark(tenant, user).await?;
        let blobs = self.blobs.list(tenant, names::LEARNED).await?;
        let scenarios: BTreeSet<&str> = blobs.iter().filter_map(|blob| names::scenario_of(&blob.name)).collect();
        for scenario_id in scenarios {
            self.remove_vector(tenant, scenario_id, user).await?;
        }
        Ok(())
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        check::scenario(scenario_id)?;
        self.blobs.delete_prefix(tenant, &names::folder(scenario_id)).await?;
        for space in self.vectors.spaces(tenant, scenario_id).await? {
            if names::version_of(&space).is_some() {
                self.vectors.drop_space(tenant, scenario_id, &space).await?;
            }
        }
        self.similarity.forget(tenant, scenario_id);
        self.factors.forget(tenant, scenario_id);
        self.slates.forget(tenant, scenario_id);
        Ok(())
    }
}

/// Lists without users who are gone: neither of them nor with them.
fn without(lists: Lists, relation: Relation, handles: &[u64], gone: &Marks, began_ms: u64) -> Lists {
    if gone.is_empty() {
        return lists;
    }
    let asks = |list: usize| handles.get(list).is_some_and(|user| !gone.has(*user, began_ms));
    let names_users = relation == Relation::SimilarUsers;
    lists.filtered(|list, entry| asks(list) && !(names_users && gone.has(entry, began_ms)))
}

/// When the training of a model began to read; long ago where that is not known.
async fn began_ms(blobs: &dyn Blobs, tenant: &Tenant, name: &str, version: u64) -> Result<u64, Error> {
    match blobs.get(tenant, &names::began(name), version).await {
        Ok(bytes) => Ok(bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes.as_ref().try_into().ok()?))).unwrap_or(0)),
        Err(BlobError::Damaged { .. }) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A model, and when its training began to read.
struct Dated<M> {
    began_ms: u64,
    model: M,
}

struct OfSimilarity {
    blobs: Arc<dyn Blobs>,
}

#[async_trait]
impl Load for OfSimilarity {
    type Model = Dated<Similarity>;

    fn blob(&self, scenario_id: &str) -> String {
        names::similarity(scenario_id)
    }

    async fn load(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        version: u64,
        bytes: Bytes,
    ) -> Result<Self::Model, Unloaded> {
        let began_ms = began_ms(&*self.blobs, tenant, &self.blob(scenario_id), version).await?;
        Ok(Dated { began_ms, model: decoded(bytes, Similarity::decode).await? })
    }

    async fn is_whole(&self, _: &Tenant, _: &str, _: &Self::Model) -> Result<bool, Error> {
        Ok(true)
    }

    fn bytes(&self, of: &Self::Model) -> usize {
        of.model.bytes()
    }
}

struct OfSlates;

#[async_trait]
impl Load for OfSlates {
    type Model = Slates;

    fn blob(&self, scenario_id: &str) -> String {
        names::slates(scenario_id)
    }

    async fn load(&self, _: &Tenant, _: &str, _: u64, bytes: Bytes) -> Result<Slates, Unloaded> {
        decoded(bytes, Slates::decode).await
    }

    async fn is_whole(&self, _: &Tenant, _: &str, _: &Slates) -> Result<bool, Error> {
        Ok(true)
    }

    fn bytes(&self, slates: &Slates) -> usize {
        slates.bytes()
    }
}

struct OfFactors {
    blobs: Arc<dyn Blobs>,
    vectors: Arc<dyn Vectors>,
    gone: Arc<Gone>,
}

/// A factor model whose vectors are in spaces.
struct Placed {
    model: Arc<FactorModel>,
    items: u32,
    /// How many vectors the spaces have.
    placed: [AtomicU64; 2],
}

impl Placed {
    fn one_user_less(&self) {
        let [_, users] = &self.placed;
        // There is nothing to update when there was none.
        let _ = users.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |users| users.checked_sub(1));
    }
}

#[async_trait]
impl Load for OfFactors {
    type Model = Placed;

    fn blob(&self, scenario_id: &str) -> String {
        names::factors(scenario_id)
    }

    async fn load(&self, tenant: &Tenant, scenario_id: &str, version: u64, bytes: Bytes) -> Result<Placed, Unloaded> {
        let factors = decoded(bytes, Factors::decode).await?;
        let [item_space, user_space] = names::spaces(version);
        let dimension = factors.dimension;
        let began_ms = began_ms(&*self.blobs, tenant, &self.blob(scenario_id), version).await?;
        let gone = self.gone.look(tenant).await?.of(began_ms);
        let user_values = without_vectors(&factors.users, factors.user_values, dimension, &gone);
        let place = async |space: &str, handles: &Handles, values: &[f32]| {
            let place = Place { vectors: &*self.vectors, tenant, scenario_id, space, dimension };
            place.fill(handles.all(), values).await
        };
        let placed = [
            place(&item_space, &factors.items, &factors.item_values).await?,
            place(&user_space, &factors.users, &user_values).await?,
        ];
        self.remove_gone(tenant, scenario_id, &user_space, began_ms).await?;
        self.drop_older(tenant, scenario_id, version).await?;
        // Handles are no more than a u32 counts.
        let items = factors.items.len() as u32;
        let model = FactorModel {
            version,
            item_space,
            user_space,
            dimension,
            gramian: factors.gramian,
            items,
            mean_weight: factors.mean_weight,
            unobserved_weight: factors.unobserved_weight,
            regularisation: factors.regularisation,
            regularisation_exponent: factors.regularisation_exponent,
        };
        Ok(Placed { model: Arc::new(model), items, placed: placed.map(AtomicU64::new) })
    }

    async fn is_whole(&self, tenant: &Tenant, scenario_id: &str, of: &Placed) -> Result<bool, Error> {
        for (space, placed) in [&of.model.item_space, &of.model.user_space].into_iter().zip(&of.placed) {
            let vectors = self.vectors.describe(tenant, scenario_id, space).await?.map_or(0, |space| space.vectors);
            if vectors < placed.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn bytes(&self, of: &Placed) -> usize {
        4 * of.model.gramian.len() + size_of::<FactorModel>()
    }
}

impl OfFactors {
    /// Takes out those who were deleted before the space was filled to its end: who
    /// deleted them may have come before their vector did.
    async fn remove_gone(&self, tenant: &Tenant, scenario_id: &str, space: &str, began_ms: u64) -> Result<(), Error> {
        let gone = self.gone.look(tenant).await?.of(began_ms);
        for gone in gone.chunks(limits::VECTOR_BATCH) {
            self.vectors.delete(tenant, scenario_id, space, gone.to_vec()).await?;
        }
        Ok(())
    }

    /// Drops the spaces of versions before the one that was served before this.
    async fn drop_older(&self, tenant: &Tenant, scenario_id: &str, version: u64) -> Result<(), Error> {
        let spaces = self.vectors.spaces(tenant, scenario_id).await?;
        let older = || spaces.iter().filter_map(|space| Some((space, names::version_of(space)?)));
        let before = older().map(|(_, of)| of).filter(|of| *of < version).max();
        for (space, _) in older().filter(|(_, of)| before.is_some_and(|before| *of < before)) {
            self.vectors.drop_space(tenant, scenario_id, space).await?;
        }
        Ok(())
    }
}

/// A space to fill.
struct Place<'a> {
    vectors: &'a dyn Vectors,
    tenant: &'a Tenant,
    scenario_id: &'a str,
    space: &'a str,
    dimension: u32,
}

impl Place<'_> {
    /// Has the space hold these vectors, all but those of zeros, which are like
    /// nothing; how many that are.
    async fn fill(&self, handles: &[u64], values: &[f32]) -> Result<u64, Error> {
        let &Self { vectors, tenant, scenario_id, space, dimension } = self;
        let dimensions = dimension.max(1) as usize;
        let wanted = values.chunks_exact(dimensions).filter(|vector| is_something(vector)).count() as u64;
        match vectors.describe(tenant, scenario_id, space).await? {
            Some(there) if there.vectors >= wanted && there.dimension == dimension => return Ok(wanted),
            Some(there) if there.dimension != dimension => vectors.drop_space(tenant, scenario_id, space).await?,
            _ => {}
        }
        if wanted == 0 {
            return Ok(0);
        }
        vectors.create(tenant, scenario_id, space, dimension, Metric::InnerProduct).await?;
        let batches = values.chunks(limits::VECTOR_BATCH.saturating_mul(dimensions));
        for (handles, values) in handles.chunks(limits::VECTOR_BATCH).zip(batches) {
            let (handles, values) = somethings(handles, values, dimensions);
            vectors.upsert(tenant, scenario_id, space, handles, values).await?;
        }
        vectors.settle(tenant, scenario_id, space).await?;
        Ok(wanted)
    }
}

/// Zeros in the places of these users' vectors: they are like nothing.
fn without_vectors(users: &Handles, mut values: Vec<f32>, dimension: u32, gone: &[u64]) -> Vec<f32> {
    let dimensions = dimension.max(1) as usize;
    for id in gone.iter().filter_map(|user| users.id(*user)) {
        values.iter_mut().skip(id as usize * dimensions).take(dimensions).for_each(|value| *value = 0.0);
    }
    values
}

fn is_something(vector: &[f32]) -> bool {
    vector.iter().any(|value| *value != 0.0)
}

/// Those that are not all zeros.
fn somethings(handles: &[u64], values: &[f32], dimensions: usize) -> (Vec<u64>, Vec<f32>) {
    let mut kept = (Vec::with_capacity(handles.len()), Vec::with_capacity(values.len()));
    for (handle, vector) in handles.iter().zip(values.chunks_exact(dimensions)) {
        if is_something(vector) {
            kept.0.push(*handle);
            kept.1.extend_from_slice(vector);
        }
    }
    kept
}

/// On a thread that may be busy for long.
async fn decoded<T: Send + 'static>(
    bytes: Bytes,
    decode: impl FnOnce(&[u8]) -> Result<T, format::Error> + Send + 'static,
) -> Result<T, Unloaded> {
    match spawn_blocking(move || decode(&bytes)).await {
        Ok(decoded) => decoded.map_err(|error| Unloaded::Damaged(error.to_string())),
        Err(error) => Err(Error::Unavailable(format!("loading was abandoned: {error}")).into()),
    }
}

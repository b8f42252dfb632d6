//! [`Learned`] over blobs, with the vectors in `vectors`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use funnelweb_blob_store::store::Blobs;
use funnelweb_core::limits;
use funnelweb_factor_vectors::store::{Metric, Vectors};
use tokio::task::spawn_blocking;

use crate::{
    Factors, Similarity, Slates, check, format,
    handles::Handles,
    names,
    shelf::{Load, Shelf, Unloaded},
    store::{Error, FactorModel, Learned, Lists, Relation, Slate, Tenant},
};

/// Between two looks for what other processes have trained, unless said otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What was learned, served from memory.
///
/// The vectors of a factor model are served as spaces of [`Vectors`], which are filled
/// from its blob before the model is served, and again when they are lost. Those of
/// the version before stay for the requests that still use it.
pub struct LearnedModels {
    blobs: Arc<dyn Blobs>,
    vectors: Arc<dyn Vectors>,
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
        let similarity = Shelf::new(OfSimilarity, Arc::clone(&blobs), every, limits::LEARNED_CACHE_BYTES);
        let load = OfFactors { vectors: Arc::clone(&vectors) };
        let factors = Shelf::new(load, Arc::clone(&blobs), every, limits::FOLD_IN_CACHE_BYTES);
        let slates = Shelf::new(OfSlates, Arc::clone(&blobs), every, limits::PRECOMPUTED_CACHE_BYTES);
        Self { blobs, vectors, similarity, factors, slates }
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
        let model = self.similarity.get(tenant, scenario_id).await?;
        let empty = || Lists::empty(handles.len());
        Ok(model.map_or_else(empty, |model| model.related(relation, handles, limit as usize)))
    }

    async fn factors(&self, tenant: &Tenant, scenario_id: &str) -> Result<Option<Arc<FactorModel>>, Error> {
        check::scenario(scenario_id)?;
        let model = self.factors.get(tenant, scenario_id).await?;
        Ok(model.filter(|model| model.items > 0).map(|model| Arc::clone(&model.model)))
    }

    async fn precomputed(&self, tenant: &Tenant, scenario_id: &str, user: u64) -> Result<Option<Slate>, Error> {
        check::scenario(scenario_id)?;
        let slates = self.slates.get(tenant, scenario_id).await?;
        Ok(slates.and_then(|slates| slates.slate(user)))
    }

    async fn refresh(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        check::scenario(scenario_id)?;
        let similarity = self.similarity.refresh(tenant, scenario_id).await;
        let slates = self.slates.refresh(tenant, scenario_id).await;
        self.factors.refresh(tenant, scenario_id).await.and(similarity).and(slates)
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

struct OfSimilarity;

#[async_trait]
impl Load for OfSimilarity {
    type Model = Similarity;

    fn blob(&self, scenario_id: &str) -> String {
        names::similarity(scenario_id)
    }

    async fn load(&self, _: &Tenant, _: &str, _: u64, bytes: Bytes) -> Result<Similarity, Unloaded> {
        decoded(bytes, Similarity::decode).await
    }

    async fn is_whole(&self, _: &Tenant, _: &str, _: &Similarity) -> Result<bool, Error> {
        Ok(true)
    }

    fn bytes(&self, model: &Similarity) -> usize {
        model.bytes()
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
    vectors: Arc<dyn Vectors>,
}

/// A factor model whose vectors are in spaces.
struct Placed {
    model: Arc<FactorModel>,
    items: u32,
    /// How many vectors the spaces have.
    placed: [u64; 2],
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
        let place = async |space: &str, handles: &Handles, values: &[f32]| {
            let place = Place { vectors: &*self.vectors, tenant, scenario_id, space, dimension };
            place.fill(handles.all(), values).await
        };
        let placed = [
            place(&item_space, &factors.items, &factors.item_values).await?,
            place(&user_space, &factors.users, &factors.user_values).await?,
        ];
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
        Ok(Placed { model: Arc::new(model), items, placed })
    }

    async fn is_whole(&self, tenant: &Tenant, scenario_id: &str, of: &Placed) -> Result<bool, Error> {
        for (space, placed) in [&of.model.item_space, &of.model.user_space].into_iter().zip(of.placed) {
            let vectors = self.vectors.describe(tenant, scenario_id, space).await?.map_or(0, |space| space.vectors);
            if vectors < placed {
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

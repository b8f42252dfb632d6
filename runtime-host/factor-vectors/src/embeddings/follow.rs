//! What becomes of the space `embedding` when items are written.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use funnelweb_core::{limits, row::ItemRow};
use funnelweb_tenant_store::lock;
use memchr::memmem;

use super::EMBEDDING;
use crate::{
    check,
    store::{Error, Metric, Tenant, Vectors},
};

/// Between two lines in the log about the same kind of trouble.
const QUIET: Duration = Duration::from_secs(60);

// What is inserted at once is one batch.
const _: () = assert!(limits::INSERT_DOCUMENTS <= limits::VECTOR_BATCH);

/// An item that was written: its handle and its vector; an empty one stands for none.
pub(super) type Written = (u64, Vec<f32>);

/// Applies what was written to the space.
pub(super) struct Follower {
    vectors: Arc<dyn Vectors>,
    misfits: Count,
    failures: Count,
}

impl Follower {
    pub fn new(vectors: Arc<dyn Vectors>) -> Self {
        Self { vectors, misfits: Count::default(), failures: Count::default() }
    }

    /// Vectors that did not fit so far.
    pub fn misfits(&self) -> u64 {
        self.misfits.all.load(Relaxed)
    }

    /// These items of a scenario are so now, each of them named once.
    pub async fn follow(&self, tenant: &Tenant, scenario_id: &str, written: Vec<Written>) {
        let result = self.apply(tenant, scenario_id, written).await;
        self.note(tenant, scenario_id, result);
    }

    /// The scenario is gone.
    pub async fn forget(&self, tenant: &Tenant, scenario_id: &str) {
        let result = self.vectors.drop_scenario(tenant, scenario_id).await;
        self.note(tenant, scenario_id, result);
    }

    /// The documents are written, whatever became of the vectors.
    fn note(&self, tenant: &Tenant, scenario_id: &str, result: Result<(), Error>) {
        let Err(error) = result else { return };
        if let Some(failures) = self.failures.add(1) {
            tracing::warn!(%tenant, scenario_id, failures, %error, "vectors do not follow items, training mends it");
        }
    }

    async fn apply(&self, tenant: &Tenant, scenario_id: &str, written: Vec<Written>) -> Result<(), Error> {
        let (mut handles, mut values, mut without) = (Vec::new(), Vec::new(), Vec::new());
        let dimension = self.dimension(tenant, scenario_id, &written).await?;
        let mut misfits = 0;
        for (handle, vector) in written {
            match dimension {
                Some(dimension) if check::vector("", dimension, &vector).is_ok() => {
                    handles.push(handle);
                    values.extend(vector);
                }
                _ => {
                    misfits += u64::from(!vector.is_empty());
                    without.push(handle);
                }
            }
        }
        if misfits > 0
            && let Some(misfits) = self.misfits.add(misfits)
        {
            tracing::warn!(%tenant, scenario_id, dimension, misfits, "embeddings of items do not fit and are not searched");
        }
        if !without.is_empty() && dimension.is_some() {
            self.vectors.delete(tenant, scenario_id, EMBEDDING, without).await?;
        }
        if handles.is_empty() {
            return Ok(());
        }
        self.vectors.upsert(tenant, scenario_id, EMBEDDING, handles, values).await
    }

    /// That of the space, which the first vector makes; a space that has become empty is
    /// made again. None where there is neither.
    async fn dimension(&self, tenant: &Tenant, scenario_id: &str, written: &[Written]) -> Result<Option<usize>, Error> {
        let there = self.vectors.describe(tenant, scenario_id, EMBEDDING).await?;
        let fits = |vector: &Vec<f32>| !vector.is_empty() && check::vector("", vector.len(), vector).is_ok();
        let first = written.iter().map(|(_, vector)| vector).find(|vector| fits(vector)).map(Vec::len);
        let Some(first) = first else { return Ok(there.map(|space| space.dimension as usize)) };
        match there {
            Some(space) if space.vectors > 0 || space.dimension as usize == first => {
                return Ok(Some(space.dimension as usize));
            }
            Some(_) => self.vectors.drop_space(tenant, scenario_id, EMBEDDING).await?,
            None => {}
        }
        self.vectors.create(tenant, scenario_id, EMBEDDING, first as u32, Metric::Cosine).await?;
        Ok(Some(first))
    }
}

/// The vector that ranking reads from an item's body; empty when it has none.
pub(super) fn vector_of(body: &str) -> Vec<f32> {
    // Most items have none. A name may be spelled with escapes.
    let bytes = body.as_bytes();
    if memmem::find(bytes, b"\"embedding\"").is_none() && memmem::find(bytes, b"\\u").is_none() {
        return Vec::new();
    }
    serde_json::from_str(body).map_or_else(|_| Vec::new(), |item| ItemRow::from_document(&item).embedding)
}

/// Counts what is logged now and then.
#[derive(Debug, Default)]
struct Count {
    all: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Count {
    /// The sum, if it is time to log it.
    fn add(&self, more: u64) -> Option<u64> {
        let all = self.all.fetch_add(more, Relaxed) + more;
        let mut logged = lock(&self.logged);
        let quiet = logged.is_some_and(|at| at.elapsed() < QUIET);
        (!quiet).then(|| {
            *logged = Some(Instant::now());
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_read_as_ranking_reads_it() {
        assert!(vector_of(r#"{"metadata": {"embedding": [1]}}"#).is_empty());
        assert_eq!(vector_of(r#"{"embedding": [1, 2.5]}"#), [1.0, 2.5]);
        assert_eq!(vector_of(r#"{"embe\u0064ding": [1]}"#), [1.0]);
        assert!(vector_of(r#"{"embedding": "#).is_empty());
    }

    #[test]
    fn trouble_is_counted_and_told_once_in_a_while() {
        let count = Count::default();
        assert_eq!((count.add(2), count.add(3)), (Some(2), None));
        *lock(&count.logged) = Instant::now().checked_sub(QUIET);
        assert_eq!(count.add(1), Some(6));
    }
}

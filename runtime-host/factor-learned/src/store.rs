//! The trait of the `learned` capability, in plain types that mirror
//! `wit/capabilities/learned.wit` one to one.

use std::sync::Arc;

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant};

/// What a list relates to what. Users go by handles as items do: XXH3 of the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// To an item the items most like it, by who acted on them.
    SimilarItems,
    /// To a user the users most like them, by what they acted on.
    SimilarUsers,
    /// To a user the items they acted on when the job ran, each with how much.
    UserItems,
}

/// As many lists as were asked for; list `i` is `[offsets[i], offsets[i + 1])` of
/// both lists below, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lists {
    /// One more than there are lists.
    pub offsets: Vec<u32>,
    /// Items or users.
    pub handles: Vec<u64>,
    /// Their scores.
    pub scores: Vec<f32>,
}

impl Lists {
    /// So many lists with nothing in them.
    #[must_use]
    pub fn empty(lists: usize) -> Self {
        Self { offsets: vec![0; lists + 1], ..Self::default() }
    }

    /// Those entries that `keeps` says: it is given the number of the list, and what is
    /// in it.
    #[must_use]
    pub(crate) fn filtered(self, keeps: impl Fn(usize, u64) -> bool) -> Self {
        let mut kept = Self { offsets: vec![0], ..Self::default() };
        for (list, bounds) in self.offsets.windows(2).enumerate() {
            let &[start, end] = bounds else { continue };
            let range = start as usize..end as usize;
            let handles = self.handles.get(range.clone()).unwrap_or_default();
            let scores = self.scores.get(range).unwrap_or_default();
            for (handle, score) in handles.iter().zip(scores).filter(|(handle, _)| keeps(list, **handle)) {
                kept.handles.push(*handle);
                kept.scores.push(*score);
            }
            // No more than there were.
            kept.offsets.push(kept.handles.len() as u32);
        }
        kept
    }
}

/// A factor model: a vector for every item and user, and what it takes to fold
/// somebody new in (implicit ALS; see the crate `algorithms`).
#[derive(Debug, Clone, PartialEq)]
pub struct FactorModel {
    /// Grows with every training.
    pub version: u64,
    /// A space of `vectors`.
    pub item_space: String,
    /// A space of `vectors`.
    pub user_space: String,
    /// Values of a vector.
    pub dimension: u32,
    /// Σ y yᵀ over all items, row-major, `dimension * dimension` long.
    pub gramian: Vec<f32>,
    /// How many items it is a sum over.
    pub items: u32,
    /// The mean weight of the interactions.
    pub mean_weight: f32,
    /// α₀ of the loss.
    pub unobserved_weight: f32,
    /// λ of the loss.
    pub regularisation: f32,
    /// ν of the loss.
    pub regularisation_exponent: f32,
}

/// What the funnel gave a user when it was asked ahead of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Slate {
    /// When, in milliseconds since 1970.
    pub made_ms: u64,
    /// Best first, as long as `scores`.
    pub handles: Vec<u64>,
    /// Those of the funnel: finite, not rising.
    pub scores: Vec<f32>,
}

/// What was learned in one deployment, for every tenant. Arguments must obey
/// [`crate::check`].
#[async_trait]
pub trait Learned: Send + Sync + 'static {
    /// The lists of these handles, of each at most the `limit` first; empty ones of
    /// who or what was not there when the job ran.
    async fn related(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        relation: Relation,
        handles: &[u64],
        limit: u32,
    ) -> Result<Lists, Error>;

    /// None before the first training, and when there was nothing to learn from.
    async fn factors(&self, tenant: &Tenant, scenario_id: &str) -> Result<Option<Arc<FactorModel>>, Error>;

    /// The slate of a user, who may have been deleted since; none of one who was not
    /// there when the job ran.
    async fn precomputed(&self, tenant: &Tenant, scenario_id: &str, user: u64) -> Result<Option<Slate>, Error>;

    // --- for the host ---

    /// Has what a job just wrote be served from here on; other processes notice
    /// within seconds.
    ///
    /// # Errors
    /// When it cannot be: what was served before is served still.
    async fn refresh(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;

    /// Has nothing that was learned of the user be given any more, in any scenario:
    /// neither to them nor to others. What is learned from what they do after this is.
    /// Other processes notice within seconds.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error>;

    /// Deletes everything that was learned of the scenario.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;
}

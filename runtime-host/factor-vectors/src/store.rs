//! The trait of the `vectors` capability, in plain types that mirror
//! `wit/capabilities/vectors.wit` one to one, and the host's own side of it: who
//! fills the spaces.

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant};

/// What makes two vectors similar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Their inner product, as of factors that were trained for it.
    InnerProduct,
    /// The cosine of their angle.
    Cosine,
}

/// A set of vectors of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Values of a vector.
    pub dimension: u32,
    /// How they are compared.
    pub metric: Metric,
    /// How many there are.
    pub vectors: u64,
}

/// Vectors that were found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Positions in the asked `handles`, ascending.
    pub found: Vec<u32>,
    /// Row-major, `found * dimension` long.
    pub values: Vec<f32>,
}

/// Which vectors an answer may hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Filter {
    /// Any.
    #[default]
    All,
    /// All but these.
    Except(Vec<u64>),
    /// Nothing but these.
    Only(Vec<u64>),
}

/// Two lists of the same length, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hits {
    /// Whose vectors.
    pub handles: Vec<u64>,
    /// Inner products, or cosines.
    pub scores: Vec<f32>,
}

/// The spaces of one deployment, for every tenant. They hold nothing that cannot be
/// made again: one that is lost is reported as not there, and whoever made it fills it
/// again.
///
/// What a call changes can be read by every later one of this process; that it
/// survives the machine is what [`settle`](Vectors::settle) is for. Arguments must
/// obey [`crate::check`].
#[async_trait]
pub trait Vectors: Send + Sync + 'static {
    /// None when the scenario has no such space.
    async fn describe(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<Option<Space>, Error>;

    /// The vectors of these handles; none found where there is no such space.
    async fn get(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<Rows, Error>;

    /// The `limit` most similar to `vector`, which is finite and not zero; nothing
    /// where there is no such space.
    async fn query(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        vector: Vec<f32>,
        limit: u32,
        filter: Filter,
    ) -> Result<Hits, Error>;

    // --- for the host ---

    /// Makes the space, empty. Changes nothing when it is there in this shape.
    ///
    /// # Errors
    /// `invalid` when it is there in another shape.
    async fn create(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        dimension: u32,
        metric: Metric,
    ) -> Result<(), Error>;

    /// Gives these handles these vectors, in the place of those they have; `values`
    /// are row-major. At most [`funnelweb_core::limits::VECTOR_BATCH`] rows.
    ///
    /// # Errors
    /// `invalid` when a vector does not fit the space, or there is no such space;
    /// nothing is changed then.
    async fn upsert(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        handles: Vec<u64>,
        values: Vec<f32>,
    ) -> Result<(), Error>;

    /// Removes the vectors of these handles, as many at most; there may be none.
    async fn delete(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<(), Error>;

    /// Makes all changes durable, and the space into what is queried fast. May take
    /// long; meanwhile it is queried and changed as ever.
    async fn settle(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error>;

    /// The names of the scenario's spaces, sorted.
    async fn spaces(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<String>, Error>;

    /// Removes the space, if it is there.
    async fn drop_space(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error>;

    /// Removes all spaces of the scenario.
    async fn drop_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;
}

//! The WIT interface `vectors` over the trait: conversions, and the tenant, which no
//! call names.

use std::sync::Arc;

use funnelweb_bindings::capabilities::{
    errors,
    vectors::{self as wit, Host},
};
use funnelweb_recording::Tape;
use funnelweb_tenant_store::host::bound;
use wasmtime::component::{HasData, Linker};

use crate::store::{Filter, Metric, Tenant, Vectors};

/// What one instance may do: read the spaces of one tenant, or of none.
#[derive(Clone)]
pub struct VectorsCtx {
    store: Arc<dyn Vectors>,
    tenant: Option<Tenant>,
    tape: Tape,
}

impl VectorsCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(store: Arc<dyn Vectors>, tenant: Option<Tenant>) -> Self {
        Self { store, tenant, tape: Tape::default() }
    }

    /// Has its answers pass through `tape`.
    #[must_use]
    pub fn taped(self, tape: Tape) -> Self {
        Self { tape, ..self }
    }

    fn tenant(&self) -> Result<&Tenant, errors::Error> {
        bound(self.tenant.as_ref())
    }
}

struct HasVectors;

impl HasData for HasVectors {
    type Data<'a> = &'a mut VectorsCtx;
}

/// Offers `funnelweb:capabilities/vectors` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut VectorsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasVectors>(linker, ctx)
}

impl Host for VectorsCtx {
    async fn describe(&mut self, scenario_id: String, space: String) -> Result<Option<wit::Space>, errors::Error> {
        let cue = self.tape.cue("vectors.describe", &(&scenario_id, &space));
        cue.play(async {
            let described = self.store.describe(self.tenant()?, &scenario_id, &space).await?;
            Ok(described.map(|space| {
                let metric = match space.metric {
                    Metric::InnerProduct => wit::Metric::InnerProduct,
                    Metric::Cosine => wit::Metric::Cosine,
                };
                wit::Space { dimension: space.dimension, metric, vectors: space.vectors }
            }))
        })
        .await
    }

    async fn get(&mut self, scenario_id: String, space: String, handles: Vec<u64>) -> Result<wit::Rows, errors::Error> {
        let cue = self.tape.cue("vectors.get", &(&scenario_id, &space, &handles));
        cue.play(async {
            let rows = self.store.get(self.tenant()?, &scenario_id, &space, handles).await?;
            Ok(wit::Rows { found: rows.found, values: rows.values })
        })
        .await
    }

    async fn query(
        &mut self,
        scenario_id: String,
        space: String,
        vector: Vec<f32>,
        limit: u32,
        filter: wit::Filter,
    ) -> Result<wit::Hits, errors::Error> {
        let cue = self.tape.cue("vectors.query", &(&scenario_id, &space, &vector, limit, &filter));
        cue.play(async {
            let filter = match filter {
                wit::Filter::All => Filter::All,
                wit::Filter::Except(handles) => Filter::Except(handles),
                wit::Filter::Only(handles) => Filter::Only(handles),
            };
            let hits = self.store.query(self.tenant()?, &scenario_id, &space, vector, limit, filter).await?;
            Ok(wit::Hits { handles: hits.handles, scores: hits.scores })
        })
        .await
    }
}

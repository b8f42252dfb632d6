//! The WIT interface `learned` over the trait: conversions, and the tenant, which no
//! call names.

use std::sync::Arc;

use funnelweb_bindings::capabilities::{
    errors,
    learned::{self as wit, Host},
};
use funnelweb_recording::Tape;
use funnelweb_tenant_store::host::bound;
use wasmtime::component::{HasData, Linker};

use crate::store::{Learned, Relation, Tenant};

/// What one instance may do: ask what was learned of one tenant, or of none.
#[derive(Clone)]
pub struct LearnedCtx {
    store: Arc<dyn Learned>,
    tenant: Option<Tenant>,
    tape: Tape,
}

impl LearnedCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(store: Arc<dyn Learned>, tenant: Option<Tenant>) -> Self {
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

struct HasLearned;

impl HasData for HasLearned {
    type Data<'a> = &'a mut LearnedCtx;
}

/// Offers `funnelweb:capabilities/learned` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut LearnedCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasLearned>(linker, ctx)
}

impl Host for LearnedCtx {
    async fn related(
        &mut self,
        scenario_id: String,
        relation: wit::Relation,
        handles: Vec<u64>,
        limit: u32,
    ) -> Result<wit::Lists, errors::Error> {
        let cue = self.tape.cue("learned.related", &(&scenario_id, relation, &handles, limit));
        cue.play(async {
            let relation = match relation {
                wit::Relation::SimilarItems => Relation::SimilarItems,
                wit::Relation::SimilarUsers => Relation::SimilarUsers,
                wit::Relation::UserItems => Relation::UserItems,
            };
            let lists = self.store.related(self.tenant()?, &scenario_id, relation, &handles, limit).await?;
            Ok(wit::Lists { offsets: lists.offsets, handles: lists.handles, scores: lists.scores })
        })
        .await
    }

    async fn factors(&mut self, scenario_id: String) -> Result<Option<wit::FactorModel>, errors::Error> {
        let cue = self.tape.cue("learned.factors", &&scenario_id);
        cue.play(async {
            let model = self.store.factors(self.tenant()?, &scenario_id).await?;
            Ok(model.map(|model| wit::FactorModel {
                version: model.version,
                item_space: model.item_space.clone(),
                user_space: model.user_space.clone(),
                dimension: model.dimension,
                gramian: model.gramian.clone(),
                items: model.items,
                mean_weight: model.mean_weight,
                unobserved_weight: model.unobserved_weight,
                regularisation: model.regularisation,
                regularisation_exponent: model.regularisation_exponent,
            }))
        })
        .await
    }

    async fn precomputed(&mut self, scenario_id: String, user: u64) -> Result<Option<wit::Slate>, errors::Error> {
        let cue = self.tape.cue("learned.precomputed", &(&scenario_id, user));
        cue.play(async {
            let slate = self.store.precomputed(self.tenant()?, &scenario_id, user).await?;
            Ok(slate.map(|slate| wit::Slate { made_ms: slate.made_ms, handles: slate.handles, scores: slate.scores }))
        })
        .await
    }
}

//! Running the stages of one tenant. Each role has a file of its own, a few lines a stage over
//! [`Runner::run`] and the contract: [`crate::recall`], [`crate::rank`], [`crate::rerank`], and
//! here the features.

use std::{sync::Arc, time::Instant};

use funnelweb_bindings::{
    Recorded, contract,
    dispatch::{FeaturesCall, Role, StageReport},
    stages::features,
    types::{Candidates, Personal, RequestContext, StageError},
};
use funnelweb_core::handles::HandleSet;
use funnelweb_exposure_log::Slate;
use funnelweb_recording::{Journal, Role as RecordedRole, StageTape};
use funnelweb_tenant_store::Tenant;
use tokio::sync::Semaphore;

use crate::{
    Dispatcher,
    call::{Failure, Timer},
    taped,
};

/// Runs stages for one tenant.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) tenant: Option<Tenant>,
    /// The stages that the tenant may have at work at once.
    pub(crate) share: Arc<Semaphore>,
    /// What is noted of the request at work.
    pub(crate) journal: Journal,
}

impl Runner {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, tenant: Option<Tenant>, journal: Journal) -> Self {
        let share = dispatcher.share(tenant.as_ref());
        Self { dispatcher, tenant, share, journal }
    }

    pub(crate) fn tape(&self, role: RecordedRole, stage: &str) -> StageTape {
        StageTape::begin(self.journal.session().as_ref(), role, stage)
    }

    pub(crate) async fn features(
        &self,
        context: RequestContext,
        call: FeaturesCall,
    ) -> (StageReport, Option<features::FeatureTable>) {
        let count = call.candidates.handles.len();
        let tape = self.tape(RecordedRole::Features, "features");
        if let Some(report) = taped::ended(&tape, "features", (count, 0)) {
            return (report, None);
        }
        let (mut report, found) = self.features_now(&tape, context, call).await;
        let answer = found.as_ref().map(|found| (&found.items, &found.user, &found.removed));
        taped::end(&tape, &mut report, &answer);
        (report, found)
    }

    async fn features_now(
        &self,
        tape: &StageTape,
        context: RequestContext,
        call: FeaturesCall,
    ) -> (StageReport, Option<features::FeatureTable>) {
        let count = call.candidates.handles.len();
        let Some(stage) = self.dispatcher.features() else {
            return (Timer::start("features", "", count).failed(Failure::unknown("features"), 0), None);
        };
        let timer = Timer::start_built_in("features", stage, count);
        let request = features::FeaturesRequest {
            context,
            candidates: call.candidates,
            item_features: call.item_features,
            user_features: call.user_features,
            context_features: call.context_features,
            derived_features: call.derived_features,
            evidence: call.evidence,
            columns: call.columns,
        };
        let answer = self
            .run(tape, async |store| {
                let instance = stage.pre.instantiate_async(&mut *store).await?;
                instance.funnelweb_pipeline_features().call_extract(&mut *store, &request).await
            })
            .await;
        match answer.and_then(|answer| checked(answer, |found| check_features(&request.candidates, found))) {
            Ok(found) => (timer.ok(found.items.rows as usize), Some(found)),
            Err(failure) => (timer.failed(failure, 0), None),
        }
    }

    /// Begins to record a request, if it is time to.
    pub(crate) fn record(&self, context: &RequestContext) -> Option<Box<Recorded>> {
        let tenant = self.tenant.as_ref().filter(|_| self.journal.session().is_none_or(|of| !of.is_again()))?;
        let recorder = self.dispatcher.components().recorder();
        let wanted = recorder.wants(tenant, &context.scenario_id, Instant::now());
        wanted.then(|| Box::new(Recorded::new(context.clone())))
    }

    /// Keeps what was recorded of a request.
    pub(crate) fn keep(&self, recorded: Recorded) {
        if let Some(tenant) = self.tenant.as_ref().filter(|_| recorded.is_whole()) {
            self.dispatcher.components().recorder().keep(tenant, recorded);
        }
    }

    /// Logs a slate. One that cannot be logged is missed by training and by nobody else.
    pub(crate) async fn log(&self, slate: Slate) {
        let Some(tenant) = &self.tenant else { return };
        if let Err(error) = self.dispatcher.exposures().append(tenant, slate).await {
            tracing::warn!(%tenant, %error, "a slate is not logged");
        }
    }

    /// What of the context a stage asks for; nothing when it cannot say, and the
    /// call that follows reports why.
    pub(crate) async fn personal(&self, role: Role, stage: &str, params: &str) -> Personal {
        if role == Role::Rank && self.dispatcher.rank(stage).is_none() {
            // A model is given the features that the scenario declares.
            return Personal::empty();
        }
        let requirements = self.check(role, stage.to_owned(), params.to_owned()).await;
        requirements.map_or(Personal::empty(), |requirements| requirements.personal)
    }
}

/// An answer that is no error and keeps its contract.
pub(crate) fn checked<R>(
    answer: Result<R, StageError>,
    contract: impl FnOnce(&R) -> Result<(), String>,
) -> Result<R, Failure> {
    let answer = answer?;
    contract(&answer).map_err(|broken| Failure::failed(format!("broke its contract: {broken}")))?;
    Ok(answer)
}

fn check_features(candidates: &Candidates, found: &features::FeatureTable) -> Result<(), String> {
    contract::table(&found.items)?;
    contract::table(&found.user)?;
    if found.user.rows != 1 {
        return Err(format!("{} rows of user features", found.user.rows));
    }
    let removed: HandleSet = found.removed.iter().copied().collect();
    let kept: Vec<u64> = candidates.handles.iter().copied().filter(|handle| !removed.contains(handle)).collect();
    contract::partition(&candidates.handles, &kept, &found.removed)?;
    if kept.len() == found.items.rows as usize {
        Ok(())
    } else {
        Err(format!("{} rows for {} candidates", found.items.rows, kept.len()))
    }
}

//! The calls that a component of each world takes, each with the promises of its role.

use std::time::Duration;

use funnelweb_bindings::{
    contract,
    stages::{AggregateStage, rank, recall, rerank},
    types::{ParamError, Requirements, StageError},
};
use funnelweb_core::limits;
use funnelweb_engine::bounded;
use funnelweb_instance::State;
use wasmtime::Store;

use crate::{
    handles::{Known, all_narrow},
    record::{Version, columns, personal},
    sandbox::{Fault, FaultKind, Given, Ran, Sandbox, Stage},
};

/// Who is called.
#[derive(Clone, Copy)]
pub(crate) struct Callee<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) stage: &'a Stage,
}

impl Callee<'_> {
    /// What it needs for these params, or why it does not take them.
    pub(crate) async fn check(
        self,
        given: Given,
        took: impl FnOnce(Duration),
        params: &str,
    ) -> Ran<Result<Requirements, ParamError>> {
        self.sandbox
            .run(given, took, async |store| match self.stage {
                Stage::Recall(pre) => {
                    let instance = pre.instantiate_async(&mut *store).await?;
                    instance.funnelweb_pipeline_recall().call_check(&mut *store, params).await
                }
                Stage::Rank(pre) => {
                    let instance = pre.instantiate_async(&mut *store).await?;
                    instance.funnelweb_pipeline_rank().call_check(&mut *store, params).await
                }
                Stage::Rerank(pre) => {
                    let instance = pre.instantiate_async(&mut *store).await?;
                    instance.funnelweb_pipeline_rerank().call_check(&mut *store, params).await
                }
                Stage::Aggregate(_) => Err(wrong_world()),
            })
            .await
    }

    /// Asks a stream operator. Of a request it knows nothing: its clock stands at 0.
    pub(crate) async fn operate<R>(
        self,
        took: impl FnOnce(Duration),
        work: impl AsyncFnOnce(&AggregateStage, &mut Store<State>) -> wasmtime::Result<Result<R, String>>,
    ) -> Ran<R> {
        let ran = self.sandbox.run(Given::new(0, 0), took, async |store| {
            let Stage::Aggregate(pre) = self.stage else { return Err(wrong_world()) };
            let instance = pre.instantiate_async(&mut *store).await?;
            work(&instance, store).await
        });
        let Ran { answer, spent, known } = ran.await;
        let said = |reason| Fault { kind: FaultKind::Error, reason: bounded(reason) };
        Ran { answer: answer.and_then(|answer| answer.map_err(said)), spent, known }
    }

    pub(crate) async fn recall(
        self,
        mut given: Given,
        took: impl FnOnce(Duration),
        mut request: recall::RecallRequest,
    ) -> Ran<recall::Recalled> {
        request.exclude = given.known.give(&request.exclude);
        request.context.user.recent = given.known.give(&request.context.user.recent);
        let ran = self.sandbox.run(given, took, async |store| {
            let Stage::Recall(pre) = self.stage else { return Err(wrong_world()) };
            let instance = pre.instantiate_async(&mut *store).await?;
            instance.funnelweb_pipeline_recall().call_recall(&mut *store, &request).await
        });
        let ran = settle(ran.await, |found| contract::recalled(&found.handles, &found.scores, request.limit));
        let Ran { answer, spent, known } = ran;
        let answer = answer.and_then(|recall::Recalled { handles, scores }| {
            let unknown = |at| Fault::contract(&format!("candidate {at} is none that it was given"));
            Ok(recall::Recalled { handles: known.answered(&handles).map_err(unknown)?, scores })
        });
        Ran { answer, spent, known }
    }

    /// The request is as it was afterwards.
    pub(crate) async fn rank(
        self,
        given: Given,
        took: impl FnOnce(Duration),
        request: &mut rank::RankRequest,
    ) -> Ran<Vec<f32>> {
        let whole = Whole::narrow(&mut request.candidates.handles, &mut request.context.user.recent);
        let ran = self.sandbox.run(given, took, async |store| {
            let Stage::Rank(pre) = self.stage else { return Err(wrong_world()) };
            let instance = pre.instantiate_async(&mut *store).await?;
            instance.funnelweb_pipeline_rank().call_rank(&mut *store, request).await
        });
        let ran = ran.await;
        let ran = settle(ran, |scores| contract::scores(scores, request.candidates.handles.len()));
        whole.back(&mut request.candidates.handles, &mut request.context.user.recent);
        ran
    }

    /// The request is as it was afterwards.
    pub(crate) async fn rerank(
        self,
        given: Given,
        took: impl FnOnce(Duration),
        request: &mut rerank::RerankRequest,
    ) -> Ran<rerank::Reranked> {
        let whole = Whole::narrow(&mut request.candidates.handles, &mut request.context.user.recent);
        let ran = self.sandbox.run(given, took, async |store| {
            let Stage::Rerank(pre) = self.stage else { return Err(wrong_world()) };
            let instance = pre.instantiate_async(&mut *store).await?;
            instance.funnelweb_pipeline_rerank().call_rerank(&mut *store, request).await
        });
        let ran = ran.await;
        let offered = &request.candidates.handles;
        let ran = settle(ran, |found| contract::reranked(offered, &found.handles, &found.scores, &found.removed));
        let known = Known::of(&whole.handles);
        whole.back(&mut request.candidates.handles, &mut request.context.user.recent);
        // The contract was kept: each is known.
        let answer = ran.answer.map(|rerank::Reranked { handles, scores, removed }| rerank::Reranked {
            handles: known.all_wide(&handles),
            scores,
            removed: known.all_wide(&removed),
        });
        Ran { answer, ..ran }
    }
}

/// The handles of a request while a component sees narrow ones in their places.
struct Whole {
    handles: Vec<u64>,
    recent: Vec<u64>,
}

impl Whole {
    fn narrow(handles: &mut Vec<u64>, recent: &mut Vec<u64>) -> Self {
        let narrow = |of: &mut Vec<u64>| {
            let narrow = all_narrow(of);
            std::mem::replace(of, narrow)
        };
        Self { handles: narrow(handles), recent: narrow(recent) }
    }

    fn back(self, handles: &mut Vec<u64>, recent: &mut Vec<u64>) {
        (*handles, *recent) = (self.handles, self.recent);
    }
}

/// It is called for its own world only.
fn wrong_world() -> wasmtime::Error {
    wasmtime::Error::msg("the component is of another world")
}

/// An answer that is no error and keeps its contract.
fn settle<R>(ran: Ran<Result<R, StageError>>, contract: impl FnOnce(&R) -> Result<(), String>) -> Ran<R> {
    let Ran { answer, spent, known } = ran;
    let answer = answer.and_then(|answer| Ok(answer?)).and_then(|answer| match contract(&answer) {
        Ok(()) => Ok(answer),
        Err(broken) => Err(Fault::contract(&broken)),
    });
    Ran { answer, spent, known }
}

/// What a component asks for, unless it is more than its manifest reads.
///
/// # Errors
/// The first that is.
pub(crate) fn within_manifest(
    mut needs: Requirements,
    known: &Known,
    version: &Version,
) -> Result<Requirements, ParamError> {
    let refused = |message: String| Err(ParamError { path: String::new(), message });
    let may = columns(&version.reads.columns);
    let others =
        needs.columns.iter().find(|column| !may.iter().any(|of| of.name == column.name && of.kind == column.kind));
    if let Some(column) = others {
        let name = bounded(column.name.clone());
        return refused(format!("it asks for the column `{name}`, which its manifest does not read so"));
    }
    if !personal(&version.reads.user).contains(needs.personal) {
        return refused("it asks for parts of the user that its manifest does not read".to_owned());
    }
    if needs.items.len() > limits::STAGE_ITEMS {
        return refused(format!("it asks for {} items, {} is the most", needs.items.len(), limits::STAGE_ITEMS));
    }
    let unknown = |at| ParamError {
        path: String::new(),
        message: format!("item {at} that it asks for has no handle that `values.handles` gave"),
    };
    needs.items = known.answered(&needs.items).map_err(unknown)?;
    Ok(needs)
}

impl FaultKind {
    /// Whether a version that ends so is to blame, and not what it was asked.
    pub(crate) fn is_its_own(self) -> bool {
        !matches!(self, Self::Error | Self::Room)
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_admission::{Column, ColumnType, UserPart};
    use funnelweb_bindings::types::{ColumnKind, ColumnSpec, Personal};

    use super::*;
    use crate::record::tests::version;

    #[test]
    fn nothing_is_given_that_the_manifest_does_not_read() {
        let mut version = version("boost", "1");
        version.reads.columns = vec![Column { name: "price".to_owned(), kind: ColumnType::Numeric }];
        version.reads.user = vec![UserPart::Recent];
        let asks = |name: &str, kind, personal, items: usize| {
            let columns = vec![ColumnSpec { name: name.to_owned(), kind }];
            let known = Known::of(&[7]);
            within_manifest(Requirements { columns, items: vec![7; items], personal }, &known, &version)
        };
        let numeric = ColumnKind::Numeric;
        assert!(asks("price", numeric, Personal::RECENT, limits::STAGE_ITEMS).is_ok());
        assert!(asks("price", numeric, Personal::empty(), 0).is_ok());
        for refused in [
            asks("cost", numeric, Personal::empty(), 0),
            asks("price", ColumnKind::Categorical, Personal::empty(), 0),
            asks("price", numeric, Personal::RECENT | Personal::ID, 0),
            asks("price", numeric, Personal::RECENT, limits::STAGE_ITEMS + 1),
        ] {
            assert!(refused.is_err());
        }
        let unknown = Requirements { columns: Vec::new(), items: vec![8], personal: Personal::empty() };
        assert!(within_manifest(unknown, &Known::of(&[7]), &version).is_err());
    }
}

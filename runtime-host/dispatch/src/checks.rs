//! What a stage answers to `check`: whether it takes these params, and what it
//! needs. Answers are remembered: a stage is a function of its params.

use std::time::{Duration, Instant};

use funnelweb_bindings::{
    dispatch::{CheckError, Role},
    types::{ParamError, Personal, Requirements},
};
use funnelweb_core::limits;
use funnelweb_engine::bounded;
use funnelweb_recording::StageTape;
use funnelweb_tenant_store::{Error as StoreError, bounded_cache};
use quick_cache::{Weighter, sync::Cache};

use crate::{call::Failure, runner::Runner, uploads::Named};

/// Answers that are remembered, about; what they may weigh decides.
const CHECKS: usize = 10_000;

/// How long a stage that gave no answer is not asked again. It may be able to
/// the next time, but not every request should wait to see.
const RETRY: Duration = Duration::from_secs(1);

/// Role (its number), name and params.
pub(crate) type CheckKey = (u8, String, String);

#[derive(Clone)]
struct Remembered {
    answer: Result<Requirements, CheckError>,
    /// None for an answer of the stage's own.
    until: Option<Instant>,
}

/// Answers of all stages.
pub(crate) struct Checks(Cache<CheckKey, Remembered, Bytes>);

impl Checks {
    pub(crate) fn new() -> Self {
        Self(bounded_cache(CHECKS, limits::CHECK_CACHE_BYTES, Bytes))
    }

    /// Remembers an answer of a stage's own.
    pub(crate) fn keep(&self, key: CheckKey, answer: Result<Requirements, CheckError>) {
        self.0.insert(key, Remembered { answer, until: None });
    }

    pub(crate) fn get(&self, key: &CheckKey) -> Option<Result<Requirements, CheckError>> {
        let known = self.0.get(key)?;
        known.until.is_none_or(|until| Instant::now() < until).then_some(known.answer)
    }
}

/// Weighs an answer.
#[derive(Clone)]
struct Bytes;

impl Weighter<CheckKey, Remembered> for Bytes {
    fn weight(&self, (_, name, params): &CheckKey, known: &Remembered) -> u64 {
        let answer = match &known.answer {
            Ok(needs) => {
                let names: usize = needs.columns.iter().map(|column| 32 + column.name.len()).sum();
                names + 8 * needs.items.len()
            }
            Err(CheckError::Unknown(names)) => names.iter().map(|name| 24 + name.len()).sum(),
            Err(CheckError::Invalid(error)) => error.path.len() + error.message.len(),
            Err(CheckError::Unavailable(reason)) => reason.len(),
        };
        (200 + name.len() + params.len() + answer) as u64
    }
}

impl Runner {
    pub(crate) async fn check(&self, role: Role, stage: String, params: String) -> Result<Requirements, CheckError> {
        if let Some(named) = Named::parse(&stage) {
            return self.check_upload(role, named, &params).await;
        }
        if role == Role::Rank {
            match self.is_own_model(&stage).await {
                Ok(true) => return model_params(&params).map_err(CheckError::Invalid),
                Ok(false) => {}
                Err(error) => return Err(CheckError::Unavailable(bounded(error.to_string()))),
            }
        }
        let key = (role as u8, stage, params);
        let checks = &self.dispatcher.checks;
        if let Some(known) = checks.get(&key) {
            return known;
        }
        let (answer, until) = match self.check_now(role, &key.1, &key.2).await {
            Ok(answer) => (answer, None),
            Err(failure) => {
                let error = ParamError { path: String::new(), message: failure.reason };
                (Err(CheckError::Invalid(error)), Some(Instant::now() + RETRY))
            }
        };
        checks.0.insert(key, Remembered { answer: answer.clone(), until });
        answer
    }

    /// Whether it is the name of a model of the tenant's that is no stage's name: the
    /// only answer that is about one tenant, and so not remembered.
    async fn is_own_model(&self, name: &str) -> Result<bool, StoreError> {
        let dispatcher = &self.dispatcher;
        if dispatcher.rank(name).is_some() || dispatcher.is_model_name(name) {
            return Ok(false);
        }
        let Some(tenant) = &self.tenant else { return Ok(false) };
        dispatcher.models().has(tenant, name).await
    }

    /// The error is a stage's that gave no answer.
    async fn check_now(
        &self,
        role: Role,
        name: &str,
        params: &str,
    ) -> Result<Result<Requirements, CheckError>, Failure> {
        let dispatcher = &self.dispatcher;
        // The answer is remembered for all tenants, so it cannot be about one.
        let nobody = Self { tenant: None, ..self.clone() };
        let answer = match role {
            Role::Recall => match dispatcher.recall(name) {
                None => None,
                Some(stage) => Some(
                    nobody
                        .run(&StageTape::default(), async |store| {
                            let instance = stage.pre.instantiate_async(&mut *store).await?;
                            instance.funnelweb_pipeline_recall().call_check(&mut *store, params).await
                        })
                        .await?,
                ),
            },
            Role::Rank => match dispatcher.rank(name) {
                None => None,
                Some(stage) => Some(
                    nobody
                        .run(&StageTape::default(), async |store| {
                            let instance = stage.pre.instantiate_async(&mut *store).await?;
                            instance.funnelweb_pipeline_rank().call_check(&mut *store, params).await
                        })
                        .await?,
                ),
            },
            Role::Rerank => match dispatcher.rerank(name) {
                None => None,
                Some(stage) => Some(
                    nobody
                        .run(&StageTape::default(), async |store| {
                            let instance = stage.pre.instantiate_async(&mut *store).await?;
                            instance.funnelweb_pipeline_rerank().call_check(&mut *store, params).await
                        })
                        .await?,
                ),
            },
        };
        Ok(match answer {
            // A model is given the features that the scenario declares, and nothing else.
            None if role == Role::Rank && dispatcher.is_model_name(name) => {
                model_params(params).map_err(CheckError::Invalid)
            }
            None => Err(CheckError::Unknown(dispatcher.names(role))),
            Some(Ok(requirements)) => within_limits(requirements).map_err(CheckError::Invalid),
            Some(Err(ParamError { path, message })) => {
                Err(CheckError::Invalid(ParamError { path: bounded(path), message: bounded(message) }))
            }
        })
    }
}

fn model_params(params: &str) -> Result<Requirements, ParamError> {
    if matches!(params.trim(), "" | "{}") {
        return Ok(Requirements { columns: Vec::new(), items: Vec::new(), personal: Personal::empty() });
    }
    Err(ParamError { path: String::new(), message: "a model takes no params".to_owned() })
}

fn within_limits(requirements: Requirements) -> Result<Requirements, ParamError> {
    let over = |what: &str, count: usize, limit: usize| {
        let message = format!("these params need {count} {what}, {limit} is the most");
        (count > limit).then(|| ParamError { path: String::new(), message })
    };
    over("columns", requirements.columns.len(), limits::STAGE_COLUMNS)
        .or_else(|| over("items", requirements.items.len(), limits::STAGE_ITEMS))
        .or_else(|| {
            let longest = requirements.columns.iter().map(|column| column.name.len()).max().unwrap_or_default();
            over("bytes in a column's name", longest, limits::NAME_BYTES)
        })
        .map_or(Ok(requirements), Err)
}

/// For a report.
pub(crate) fn describe(error: &ParamError) -> String {
    format!("params{}: {}", error.path, error.message)
}

#[cfg(test)]
mod tests {
    use funnelweb_bindings::types::{ColumnKind, ColumnSpec};

    use super::*;

    fn needs(columns: usize, name_bytes: usize, items: usize) -> Requirements {
        let column = ColumnSpec { name: "x".repeat(name_bytes), kind: ColumnKind::Numeric };
        Requirements { columns: vec![column; columns], items: vec![0; items], personal: Personal::empty() }
    }

    #[test]
    fn a_stage_may_need_so_much() {
        let (columns, bytes, items) = (limits::STAGE_COLUMNS, limits::NAME_BYTES, limits::STAGE_ITEMS);
        assert!(within_limits(needs(columns, bytes, items)).is_ok());
        for (more, said) in [
            (needs(columns + 1, 1, 0), format!("{} columns, {columns} is", columns + 1)),
            (needs(1, bytes + 1, 0), format!("{} bytes in a column's name, {bytes} is", bytes + 1)),
            (needs(0, 0, items + 1), format!("{} items, {items} is", items + 1)),
        ] {
            let error = within_limits(more).unwrap_err();
            assert!(error.message.contains(&said), "{}", error.message);
        }
    }

    #[test]
    fn answers_are_remembered_up_to_so_many_bytes() {
        let checks = Checks::new();
        let params = "x".repeat(limits::PARAMS_BYTES);
        let key = |at: usize| (0_u8, at.to_string(), params.clone());
        let remembered = || Remembered { answer: Ok(needs(0, 0, 0)), until: None };
        let weight = Bytes.weight(&key(1000), &remembered());
        assert!(weight > limits::PARAMS_BYTES as u64);
        let count = usize::try_from(limits::CHECK_CACHE_BYTES / weight * 2).unwrap();
        for at in 0..count {
            checks.0.insert(key(at), remembered());
        }
        let held = (0..count).filter(|at| checks.get(&key(*at)).is_some()).count() as u64 * weight;
        assert!((limits::CHECK_CACHE_BYTES / 2..=limits::CHECK_CACHE_BYTES).contains(&held), "{held}");
    }
}

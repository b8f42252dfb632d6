//! What a stage answers to `check`: whether it takes these params, and what it
//! needs. Answers are remembered: a stage is a function of its params.

use std::time::{Duration, Instant};

use funnelweb_bindings::{
    dispatch::{CheckError, Role},
    types::{ParamError, Personal, Requirements},
};
use funnelweb_core::limits;
use quick_cache::{Weighter, sync::Cache};

use crate::{
    Dispatcher,
    call::{Failure, bounded},
    runner::Runner,
};

/// Answers that are remembered, about; what they may weigh decides.
const CHECKS: usize = 10_000;

/// How long a stage that gave no answer is not asked again. It may be able to
/// the next time, but not every request should wait to see.
const RETRY: Duration = Duration::from_secs(1);

/// Role (its number), name and params.
type CheckKey = (u8, String, String);

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
        Self(Cache::with_weighter(CHECKS, limits::CHECK_CACHE_BYTES, Bytes))
    }

    fn get(&self, key: &CheckKey) -> Option<Result<Requirements, CheckError>> {
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
        };
        (200 + name.len() + params.len() + answer) as u64
    }
}

impl Runner {
    pub(crate) async fn check(&self, role: Role, stage: String, params: String) -> Result<Requirements, CheckError> {
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
                        .run(async |store| {
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
                        .run(async |store| {
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
                        .run(async |store| {
                            let instance = stage.pre.instantiate_async(&mut *store).await?;
                            instance.funnelweb_pipeline_rerank().call_check(&mut *store, params).await
                        })
                        .await?,
                ),
            },
        };
        Ok(match answer {
            None if Dispatcher::is_known_name(role, name) => {
                Ok(Requirements { columns: Vec::new(), items: Vec::new(), personal: Personal::empty() })
            }
            None => Err(CheckError::Unknown(dispatcher.names(role))),
            Some(Ok(requirements)) => within_limits(requirements).map_err(CheckError::Invalid),
            Some(Err(ParamError { path, message })) => {
                Err(CheckError::Invalid(ParamError { path: bounded(path), message: bounded(message) }))
            }
        })
    }
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

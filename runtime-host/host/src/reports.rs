//! The job `experiments`: reports of all experiments of a scenario, each of what is new in its logs
//! since the last, and what its guardrails make of that.

mod case;
mod counted;
mod follow;
mod states;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use funnelweb_core::{
    experiment::{Status, StoppedBy},
    limits,
    scenario::Scenario,
    time,
};
use funnelweb_exposure_log::store::ExposureLog;
use funnelweb_factor_documents::store::{Collection, Document, Documents, Key, Precondition, Query, Sort, WriteError};
use funnelweb_factor_events::store::Events;
use funnelweb_jobs::work::{Failure, ParamError, Task, Work};
use funnelweb_tenant_store::Tenant;
use http::Method;
use serde_json::{Map, Value, json};

use self::{
    case::{Case, Kept},
    counted::Made,
    follow::{Ends, Run},
    states::{State, deleted_user},
};
use crate::{
    inside::{self, Call, Endpoints, JSON},
    stores::Stores,
};

pub(crate) use self::states::States;

const DAY_MS: f64 = 86_400_000.0;
/// The endpoint that stops experiments.
const ENDPOINT: &str = "experiments";
/// How often a document that somebody else changed meanwhile is written again.
const ATTEMPTS: usize = 5;
/// Experiments that an outcome lists.
const LISTED: usize = 50;
/// Experiments of a scenario that are looked through.
const PAGE: u32 = limits::PAGE_DOCUMENTS;

/// The work.
pub(crate) struct Reports {
    documents: Arc<dyn Documents>,
    events: Arc<dyn Events>,
    exposures: Arc<dyn ExposureLog>,
    states: States,
    endpoints: Arc<Endpoints>,
}

/// The experiments of a scenario.
#[derive(Default)]
struct Found {
    /// Those that were started, and had not ended when they were reported on last.
    cases: Vec<Case>,
    /// Those whose documents say that they were stopped.
    stopped: BTreeSet<String>,
    /// Those whose documents do not read, which somebody may mend.
    unreadable: BTreeSet<String>,
}

impl Reports {
    pub(crate) fn new(stores: &Stores, endpoints: Arc<Endpoints>) -> Self {
        Self {
            documents: Arc::clone(&stores.documents),
            events: Arc::clone(&stores.events),
            exposures: Arc::clone(&stores.exposures),
            states: States::new(Arc::clone(&stores.blobs)),
            endpoints,
        }
    }
}

#[async_trait]
impl Work for Reports {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        match params.as_object().and_then(|params| params.keys().next()) {
            Some(name) => Err((format!("/{name}"), "the job takes no params".to_owned())),
            None => Ok(()),
        }
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let (tenant, scenario_id) = (&task.tenant, task.scenario_id.as_str());
        let Found { cases, stopped, unreadable } = self.experiments(tenant, scenario_id).await?;
        let mut unstopped = self.finish_stops(&task, &stopped).await?;
        let (mut reported, mut failed, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
        let now_ms = now_ms();
        // A user who is deleted may be in a state that is not written anew.
        let mut are_all_written = unreadable.is_empty();
        let mut open = unreadable;
        open.extend(cases.iter().filter(|case| !case.has_ended(now_ms)).map(|case| case.id().to_owned()));
        if !cases.is_empty() {
            let deleted = self.states.deleted(tenant, scenario_id).await?;
            // In this order: what was done before the one was shown before the other.
            let behaviors = self.events.last_offset(tenant).await?;
            let ends = Ends { behaviors, slates: self.exposures.end(tenant).await? };
            let run = Run { task: &task, ends, deleted: deleted.iter().filter_map(deleted_user).collect(), now_ms };
            let count = cases.len() as f32;
            for (at, mut case) in cases.into_iter().enumerate() {
                go_on(&task, case.id(), 100.0 * at as f32 / count)?;
                let id = case.id().to_owned();
                let followed = go_past(&task, &id, self.follow(&run, &case).await)?;
                are_all_written &= followed.is_ok();
                let made = match followed {
                    Ok(state) => go_past(&task, &id, self.report(tenant, &mut case, &state, now_ms).await)?,
                    Err(failure) => Err(failure),
                };
                match made {
                    Ok(harm) => {
                        reported.push(id.clone());
                        if let Some(by) = harm.filter(|_| !case.has_ended(now_ms)) {
                            match go_past(&task, &id, self.stop(&task, &id, Some(&by)).await)? {
                                Ok(()) => stopped.push(id),
                                Err(failure) => unstopped.push(failure),
                            }
                        }
                    }
                    Err(failure) => {
                        failed.push(failure);
                        // The next run goes on from what is known.
                        open.insert(id);
                    }
                }
            }
            if are_all_written {
                self.states.are_forgotten(tenant, deleted).await?;
            }
        }
        self.states.keep_only(tenant, scenario_id, &open).await?;
        if !unstopped.is_empty() {
            // What does harm goes on: that is no success.
            return Err(Failure::Permanent(format!("not stopped: {}", Value::Array(unstopped))));
        }
        let count = reported.len();
        [&mut reported, &mut stopped].into_iter().for_each(|listed| listed.truncate(LISTED));
        failed.truncate(LISTED);
        Ok(json!({ "reported": count, "experiments": reported, "failed": failed, "stopped": stopped }))
    }
}

impl Reports {
    async fn experiments(&self, tenant: &Tenant, scenario_id: &str) -> Result<Found, Failure> {
        let mut found = Found::default();
        let mut cursor = None;
        loop {
            let query = Query {
                scenario_id: Some(scenario_id.to_owned()),
                sort: Sort::Newest,
                limit: PAGE,
                cursor: cursor.take(),
                ..Query::default()
            };
            let page = self.documents.query(tenant, Collection::Experiments, query).await?;
            for document in page.documents {
                let id = document.key.id.clone();
                if status(&document) == Some(Status::Stopped) {
                    found.stopped.insert(id.clone());
                }
                match Case::new(document) {
                    Ok(case) => found.cases.extend(case),
                    // The others' reports do not wait for it.
                    Err(reason) => {
                        tracing::warn!(%tenant, experiment = %id, %reason, "an experiment is not reported on");
                        found.unreadable.insert(id);
                    }
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Takes out of the scenario what was stopped, where that was cut off; those that it could not.
    async fn finish_stops(&self, task: &Task, stopped: &BTreeSet<String>) -> Result<Vec<Value>, Failure> {
        let key = Key::new(task.scenario_id.as_str(), task.scenario_id.as_str());
        let Some(document) = self.documents.get(&task.tenant, Collection::Scenarios, key).await? else {
            return Ok(Vec::new());
        };
        let Ok(scenario) = serde_json::from_str::<Scenario>(&document.body) else { return Ok(Vec::new()) };
        let mut failed = Vec::new();
        for running in scenario.experiments.iter().filter(|running| stopped.contains(&running.experiment_id)) {
            let id = &running.experiment_id;
            failed.extend(go_past(task, id, self.stop(task, id, None).await)?.err());
        }
        Ok(failed)
    }

    /// Has the endpoint stop one.
    async fn stop(&self, task: &Task, id: &str, by: Option<&StoppedBy>) -> Result<(), Failure> {
        let endpoint = self.endpoints.get(ENDPOINT)?;
        let path = format!("/internal/experiments/{}/{id}/stop", task.scenario_id);
        let body = serde_json::to_vec(&by).map_err(|error| Failure::Permanent(error.to_string()))?;
        let call = Call { method: Method::POST, path: &path, user_id: None, media: JSON, body };
        match inside::ask(&endpoint, &task.tenant, &task.run_id, call).await {
            // It was deleted meanwhile.
            Err(refusal) if refusal.status == 404 => return Ok(()),
            answer => answer?,
        };
        if let Some(by) = by {
            let guardrail = String::from(by.metric);
            tracing::warn!(tenant = %task.tenant, experiment = %id, guardrail, group = by.group_id, "an experiment is stopped");
        }
        Ok(())
    }

    /// Keeps the report with its experiment; what it harms, if it does.
    async fn report(
        &self,
        tenant: &Tenant,
        case: &mut Case,
        state: &State,
        now_ms: u64,
    ) -> Result<Option<StoppedBy>, Failure> {
        let at_ms = case.ends_ms.map_or(now_ms, |end| end.min(now_ms));
        let days = at_ms.saturating_sub(case.from_ms) as f64 / DAY_MS;
        let made = case.reading.report(&state.counted, at_ms, days).map_err(Failure::Permanent)?;
        let Made { report, looks, history, harm } = made;
        let first_ms = [case.known_first_ms, state.first_ms].into_iter().flatten().min();
        let kept = Kept { at: time::format_ms(at_ms), days, report, first_ms, looks, history };
        self.keep(tenant, case, &kept).await?;
        Ok(harm)
    }

    /// Writes it into the experiment's document, which others may be changing.
    async fn keep(&self, tenant: &Tenant, case: &Case, kept: &Kept) -> Result<(), Failure> {
        let text = |error: serde_json::Error| Failure::Permanent(error.to_string());
        let value = serde_json::to_value(kept).map_err(text)?;
        let key = case.document.key.clone();
        let mut found = Some(case.document.clone());
        for _ in 0..ATTEMPTS {
            // It may have been deleted meanwhile.
            let Some(document) = found else { return Ok(()) };
            let mut body: Map<String, Value> = serde_json::from_str(&document.body).map_err(text)?;
            // One that was made anew under its id, and one that a later run has reported on.
            let started = body.get("started_at").and_then(Value::as_str);
            let reported = body.get("report").and_then(|report| report.get("at")?.as_str());
            let is_later = reported.is_some_and(|reported| reported > kept.at.as_str());
            if started != case.experiment.started_at.as_deref() || is_later {
                return Ok(());
            }
            body.insert("report".to_owned(), value.clone());
            let when = Precondition::Version(document.version);
            let text = Value::Object(body).to_string();
            match self.documents.replace(tenant, Collection::Experiments, key.clone(), text, when).await {
                Ok(_) => return Ok(()),
                Err(WriteError::Conflict(_)) => {}
                Err(WriteError::Store(error)) => return Err(error.into()),
                Err(WriteError::Collision) => return Err(Failure::Permanent("its id is another's".to_owned())),
            }
            found = self.documents.get(tenant, Collection::Experiments, key.clone()).await?;
        }
        Err(Failure::Transient(format!("{} is being changed by others", case.id())))
    }
}

/// What a document says of where its experiment stands.
fn status(document: &Document) -> Option<Status> {
    #[derive(serde::Deserialize)]
    struct Standing {
        status: Status,
    }
    serde_json::from_str::<Standing>(&document.body).ok().map(|standing| standing.status)
}

/// What can never succeed is an experiment's own, as the outcome lists it: the others do not wait.
fn go_past<T>(task: &Task, id: &str, made: Result<T, Failure>) -> Result<Result<T, Value>, Failure> {
    match made {
        Err(Failure::Permanent(reason)) => {
            tracing::warn!(tenant = %task.tenant, experiment = %id, %reason, "an experiment is passed over");
            Ok(Err(json!({"experiment_id": id, "reason": reason})))
        }
        made => made.map(Ok),
    }
}

fn go_on(task: &Task, phase: &str, percent: f32) -> Result<(), Failure> {
    task.progress.report(phase, percent);
    task.go_on()
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

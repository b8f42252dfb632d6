//! The job `experiments`: reports of all experiments of a scenario, in two passes over its logs.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use funnelweb_core::{
    experiment::{Experiment, Status, label},
    limits, time,
};
use funnelweb_experiment_report::{Act, GroupPlan, Looks, Plan, Report, Users};
use funnelweb_exposure_log::store::ExposureLog;
use funnelweb_factor_documents::store::{Collection, Document, Documents, Precondition, Query, Sort, WriteError};
use funnelweb_factor_events::{effects::Details, store::Events};
use funnelweb_jobs::work::{Failure, ParamError, Task, Work};
use funnelweb_tenant_store::Tenant;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::stores::Stores;

const DAY_MS: f64 = 86_400_000.0;
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
}

/// What is kept with an experiment.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    at: String,
    /// For which it has run.
    days: f64,
    report: Value,
    /// When the first slate of it was shown.
    #[serde(default)]
    first_ms: Option<u64>,
    /// [`Looks`] as text: names of groups are no names of fields.
    looks: String,
}

/// An experiment that is reported on.
struct Case {
    document: Document,
    experiment: Experiment,
    plan: Plan,
    users: Users,
    looks: Looks,
    /// The first slate of it, as the last report knew it, and as there is one now.
    known_first_ms: Option<u64>,
    first_ms: Option<u64>,
    from_ms: u64,
    /// Up to its end, or to now.
    to_ms: u64,
}

impl Reports {
    pub(crate) fn new(stores: &Stores) -> Self {
        Self {
            documents: Arc::clone(&stores.documents),
            events: Arc::clone(&stores.events),
            exposures: Arc::clone(&stores.exposures),
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
        let now_ms = now_ms();
        let mut cases = self.cases(&task.tenant, &task.scenario_id, now_ms).await?;
        // By the label that slates have.
        let mut places = HashMap::new();
        for (at, case) in cases.iter().enumerate() {
            for (group, of) in case.experiment.groups.iter().enumerate() {
                places.insert(label(&case.experiment.experiment_id, &of.group_id), (at, group));
            }
        }
        if !cases.is_empty() {
            self.slates(&task, &places, &mut cases).await?;
            self.behaviors(&task, &mut cases).await?;
        }
        let (mut reported, mut failed) = (Vec::new(), Vec::new());
        for case in cases {
            let id = case.experiment.experiment_id.clone();
            match self.report(&task.tenant, case, now_ms).await {
                Ok(()) => reported.push(id),
                Err(Failure::Permanent(reason)) => failed.push(json!({"experiment_id": id, "reason": reason})),
                Err(failure) => return Err(failure),
            }
        }
        let count = reported.len();
        reported.truncate(LISTED);
        failed.truncate(LISTED);
        Ok(json!({ "reported": count, "experiments": reported, "failed": failed }))
    }
}

impl Reports {
    /// Those that were started, and had not ended when they were reported on last.
    async fn cases(&self, tenant: &Tenant, scenario_id: &str, now_ms: u64) -> Result<Vec<Case>, Failure> {
        let mut cases = Vec::new();
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
                match Case::new(document, now_ms) {
                    Ok(case) => cases.extend(case),
                    // The others' reports do not wait for it.
                    Err(reason) => {
                        tracing::warn!(%tenant, experiment = %id, %reason, "an experiment is not reported on")
                    }
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(cases),
            }
        }
    }

    /// Who was shown a slate of which group.
    async fn slates(
        &self,
        task: &Task,
        places: &HashMap<String, (usize, usize)>,
        cases: &mut [Case],
    ) -> Result<(), Failure> {
        // What this process has noted is written down first.
        self.exposures.settle(&task.tenant).await?;
        let mut after = None;
        loop {
            go_on(task, "slates", 0.0)?;
            let page = self.exposures.read(&task.tenant, &task.scenario_id, after, limits::LOGGED_SLATES).await?;
            for slate in &page.slates {
                for (at, group) in slate.groups.iter().filter_map(|group| places.get(group)) {
                    let Some(case) = cases.get_mut(*at) else { continue };
                    if (case.from_ms..case.to_ms).contains(&slate.shown_at_ms) {
                        let items = u32::try_from(slate.items.len()).unwrap_or(u32::MAX);
                        case.users.shown(&slate.user_id, *group, slate.shown_at_ms, items);
                        let first_ms = case.first_ms.map_or(slate.shown_at_ms, |first| first.min(slate.shown_at_ms));
                        case.first_ms = Some(first_ms);
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// What users did.
    async fn behaviors(&self, task: &Task, cases: &mut [Case]) -> Result<(), Failure> {
        let end = self.events.last_offset(&task.tenant).await?;
        let mut offset = 0;
        while offset <= end {
            go_on(task, "behaviours", 50.0 + 50.0 * offset as f32 / end.max(1) as f32)?;
            let page = self.events.read(&task.tenant, offset, limits::HISTORY_EVENTS).await?;
            let Some(last) = page.last().map(|stored| stored.offset) else { return Ok(()) };
            for stored in &page {
                let event = &stored.event;
                if event.scenario_id != task.scenario_id {
                    continue;
                }
                let details = Details::of(&event.body);
                let act =
                    Act { action_type: &event.action_type, watch_s: details.watch_duration, revenue: details.revenue };
                for case in cases.iter_mut() {
                    if (case.from_ms..case.to_ms).contains(&event.timestamp_ms) {
                        case.users.did(&event.user_id, event.timestamp_ms, &act);
                    }
                }
            }
            offset = last + 1;
        }
        Ok(())
    }

    /// Keeps the report with its experiment.
    async fn report(&self, tenant: &Tenant, mut case: Case, now_ms: u64) -> Result<(), Failure> {
        if case.has_lost_its_begin(now_ms) {
            case.users.lose_begin();
        }
        let Case { document, experiment, plan, users, mut looks, known_first_ms, first_ms, from_ms, to_ms } = case;
        let permanent = |error: String| Failure::Permanent(format!("{}: {error}", experiment.experiment_id));
        let days = to_ms.saturating_sub(from_ms) as f64 / DAY_MS;
        let report = Report::new(&plan, &users, days, &mut looks).map_err(|error| permanent(error.to_string()))?;
        let report = serde_json::to_value(&report).map_err(|error| permanent(error.to_string()))?;
        let looks = serde_json::to_string(&looks).map_err(|error| permanent(error.to_string()))?;
        let first_ms = [known_first_ms, first_ms].into_iter().flatten().min();
        let kept = Kept { at: time::format_ms(to_ms), days, report, first_ms, looks };
        let at = kept.at.clone();
        let kept = serde_json::to_value(&kept).map_err(|error| permanent(error.to_string()))?;
        let key = document.key.clone();
        let mut found = Some(document);
        for _ in 0..ATTEMPTS {
            // It may have been deleted meanwhile.
            let Some(document) = found else { return Ok(()) };
            let mut body: Map<String, Value> =
                serde_json::from_str(&document.body).map_err(|error| permanent(error.to_string()))?;
            // One that was made anew under its id, and one that a later run has reported on.
            let started = body.get("started_at").and_then(Value::as_str);
            let reported = body.get("report").and_then(|report| report.get("at")?.as_str());
            let is_later = reported.is_some_and(|reported| reported > at.as_str());
            if started != experiment.started_at.as_deref() || is_later {
                return Ok(());
            }
            body.insert("report".to_owned(), kept.clone());
            let when = Precondition::Version(document.version);
            let text = Value::Object(body).to_string();
            match self.documents.replace(tenant, Collection::Experiments, key.clone(), text, when).await {
                Ok(_) => return Ok(()),
                Err(WriteError::Conflict(_)) => {}
                Err(WriteError::Store(error)) => return Err(error.into()),
                Err(WriteError::Collision) => return Err(permanent("its id is another's".to_owned())),
            }
            found = self.documents.get(tenant, Collection::Experiments, key.clone()).await?;
        }
        Err(Failure::Transient(format!("{} is being changed by others", experiment.experiment_id)))
    }
}

impl Case {
    /// Slates are kept for so long, and so many: those of its begin may be gone.
    fn has_lost_its_begin(&self, now_ms: u64) -> bool {
        let is_gone = self.known_first_ms.is_some_and(|known| self.first_ms.is_none_or(|first| first > known));
        is_gone || self.from_ms + limits::EXPOSURE_LOG_MS < now_ms
    }

    /// None of a draft, and of one whose last report was of all of it.
    fn new(document: Document, now_ms: u64) -> Result<Option<Self>, String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        let experiment: Experiment = serde_json::from_str(&document.body).map_err(unreadable)?;
        let ms = |text: &Option<String>| text.as_deref().and_then(time::parse_ms);
        let Some(started_ms) = ms(&experiment.started_at).filter(|_| experiment.status != Status::Draft) else {
            return Ok(None);
        };
        let ends_ms = [ms(&experiment.end_time), ms(&experiment.stopped_at)].into_iter().flatten().min();
        let kept: Option<Kept> = experiment.report.clone().and_then(|report| serde_json::from_value(report).ok());
        let is_done = |kept: &Kept| ends_ms.is_some_and(|end| time::parse_ms(&kept.at).is_some_and(|at| end <= at));
        if kept.as_ref().is_some_and(is_done) {
            return Ok(None);
        }
        let control = experiment.control().map(|control| control.group_id.clone());
        let groups = experiment
            .groups
            .iter()
            .map(|group| GroupPlan { group_id: group.group_id.clone(), traffic_ratio: group.traffic_ratio });
        let plan = Plan {
            control: experiment.groups.iter().position(|group| Some(&group.group_id) == control.as_ref()).unwrap_or(0),
            groups: groups.collect(),
            ..Plan::default()
        };
        let users = Users::new(&plan).map_err(|error| error.to_string())?;
        let from_ms = started_ms.max(ms(&experiment.start_time).unwrap_or_default());
        Ok(Some(Self {
            plan,
            users,
            known_first_ms: kept.as_ref().and_then(|kept| kept.first_ms),
            first_ms: None,
            looks: kept.and_then(|kept| serde_json::from_str(&kept.looks).ok()).unwrap_or_default(),
            from_ms,
            to_ms: ends_ms.unwrap_or(now_ms).min(now_ms),
            experiment,
            document,
        }))
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

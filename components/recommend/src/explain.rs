//! What every stage did: always the reports, and with `?explain=true` the lists.

use funnelweb_core::error::ApiError;
use funnelweb_guest::{
    dispatch::{Draft, FeatureTable, RecallOutcome, RerankStep, StageReport, StageStatus},
    handles::{HandleMap, HandleSet},
    types::{Candidates, Handle, Table},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{capabilities::Capabilities, draft};

/// What is noted while a request runs.
pub(crate) struct Trace {
    reports: Vec<StageReport>,
    lists: Option<Lists>,
}

#[derive(Default)]
struct Lists {
    recalled: Vec<(String, Vec<Handle>, Vec<f32>)>,
    merged: Vec<(Handle, f32, u32)>,
    extracted: Vec<Handle>,
    features: Option<Table>,
    user: Option<Table>,
    removed: Vec<Handle>,
    ranked: Vec<(Handle, f32)>,
    reranked: Vec<(String, RerankStep)>,
    explored: Vec<(usize, Handle)>,
    /// The rankings that drafted the slate: the control's, and the treatment's.
    contested: Option<[Vec<(Handle, f32)>; 2]>,
}

/// The `explain` part of a response.
#[derive(Debug, Serialize)]
pub(crate) struct Explain {
    /// One entry per call, in order: who ran, what became of it, how long it took.
    stages: Vec<Value>,
    /// Per channel, what it offered.
    recall: Vec<Value>,
    /// After the merge: score and channels.
    merged: Vec<Value>,
    /// The feature table: the user's row, and a row per candidate.
    features: Value,
    /// The ranker's scores, best first.
    rank: Vec<Value>,
    /// The list after each rule, and what the rule took out.
    rerank: Vec<Value>,
    /// The places that went to items of the channel `explore`, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exploration: Vec<Value>,
    /// Of an interleaved slate: which ranking drafted each place, and both of them as they were;
    /// all else here is the control's.
    #[serde(skip_serializing_if = "Option::is_none")]
    interleaving: Option<Value>,
}

impl Trace {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { reports: Vec::new(), lists: wanted.then(Lists::default) }
    }

    pub(crate) fn wanted(&self) -> bool {
        self.lists.is_some()
    }

    pub(crate) fn reports(&self) -> &[StageReport] {
        &self.reports
    }

    pub(crate) fn report(&mut self, report: StageReport) {
        self.reports.push(report);
    }

    /// Notes that experiments, or one of them, do not count, and why.
    pub(crate) fn without_experiments(&mut self, fault: &str) {
        self.reports.push(StageReport {
            stage: "experiments".to_owned(),
            component: "recommend".to_owned(),
            version: String::new(),
            digest: String::new(),
            status: StageStatus::Failed,
            reason: fault.to_owned(),
            elapsed_us: 0,
            candidates_in: 0,
            candidates_out: 0,
        });
    }

    pub(crate) fn recalled(&mut self, outcomes: &[RecallOutcome]) {
        self.reports.extend(outcomes.iter().map(|outcome| outcome.report.clone()));
        if let Some(lists) = &mut self.lists {
            let list = |outcome: &RecallOutcome| {
                (outcome.report.stage.clone(), outcome.handles.clone(), outcome.scores.clone())
            };
            lists.recalled = outcomes.iter().map(list).collect();
        }
    }

    pub(crate) fn merged(&mut self, candidates: &Candidates) {
        if let Some(lists) = &mut self.lists {
            let rows = candidates.handles.iter().zip(&candidates.scores).zip(&candidates.sources);
            lists.merged = rows.map(|((handle, score), sources)| (*handle, *score, *sources)).collect();
        }
    }

    pub(crate) fn extracted(
        &mut self,
        kept: &Candidates,
        removed: Vec<Handle>,
        table: impl FnOnce() -> Option<FeatureTable>,
    ) {
        if let Some(lists) = &mut self.lists {
            lists.extracted.clone_from(&kept.handles);
            lists.removed = removed;
            if let Some(table) = table() {
                lists.features = Some(table.items);
                lists.user = Some(table.user);
            }
        }
    }

    pub(crate) fn ranked(&mut self, ranked: &Candidates) {
        if let Some(lists) = &mut self.lists {
            lists.ranked = ranked.handles.iter().copied().zip(ranked.scores.iter().copied()).collect();
        }
    }

    pub(crate) fn reranked(&mut self, reports: Vec<StageReport>, steps: Vec<RerankStep>) {
        if let Some(lists) = &mut self.lists {
            lists.reranked = reports.iter().map(|report| report.stage.clone()).zip(steps).collect();
        }
        self.reports.extend(reports);
    }

    pub(crate) fn explored(&mut self, ranked: &Candidates, explored: &HandleSet) {
        if let Some(lists) = &mut self.lists {
            let places = (1..).zip(ranked.handles.iter().copied());
            lists.explored = places.filter(|(_, handle)| explored.contains(handle)).collect();
        }
    }

    /// Adds what the stages of another ranking did.
    pub(crate) fn beside(&mut self, other: Self) {
        self.reports.extend(other.reports);
    }

    pub(crate) fn contested(&mut self, control: &Candidates, treatment: &Candidates) {
        if let Some(lists) = &mut self.lists {
            let list = |of: &Candidates| of.handles.iter().copied().zip(of.scores.iter().copied()).collect();
            lists.contested = Some([list(control), list(treatment)]);
        }
    }

    /// The lists with items' ids in place of handles; none unless asked for. `draft` says whose the
    /// slate's places are, where two rankings drafted them.
    pub(crate) fn explain(
        self,
        host: &impl Capabilities,
        scenario_id: &str,
        draft: Option<&Draft>,
        sources: impl Fn(u32) -> Vec<String>,
    ) -> Result<Option<Explain>, ApiError> {
        let Some(lists) = self.lists else { return Ok(None) };
        let ids = Ids::load(host, scenario_id, &lists)?;
        let recall = lists.recalled.iter().map(|(stage, handles, scores)| {
            json!({"stage": stage, "items": ids.scored(handles.iter().copied().zip(scores.iter().copied()))})
        });
        let merged = lists.merged.iter().map(
            |(handle, score, bits)| json!({"item_id": ids.of(*handle), "score": score, "sources": sources(*bits)}),
        );
        let reranked = lists.reranked.iter().map(|(stage, step)| {
            let kept = step.handles.iter().copied().zip(step.scores.iter().copied());
            let removed: Vec<&str> = step.removed.iter().map(|handle| ids.of(*handle)).collect();
            json!({"stage": stage, "items": ids.scored(kept), "removed": removed})
        });
        let explored = lists.explored.iter().map(|(rank, handle)| json!({"rank": rank, "item_id": ids.of(*handle)}));
        let rows =
            lists.features.iter().flat_map(|table| lists.extracted.iter().enumerate().map(move |row| (table, row)));
        let rows = rows.map(|(table, (row, handle))| {
            let mut object = cells(table, row);
            object.insert("item_id".to_owned(), json!(ids.of(*handle)));
            Value::Object(object)
        });
        Ok(Some(Explain {
            stages: self.reports.iter().map(stage).collect(),
            recall: recall.collect(),
            merged: merged.collect(),
            features: json!({
                "user": lists.user.as_ref().map(|table| cells(table, 0)),
                "items": rows.collect::<Vec<_>>(),
                "removed": lists.removed.iter().map(|handle| ids.of(*handle)).collect::<Vec<_>>(),
            }),
            rank: ids.scored(lists.ranked.iter().copied()),
            rerank: reranked.collect(),
            exploration: explored.collect(),
            interleaving: draft.zip(lists.contested.as_ref()).map(|(draft, [control, treatment])| {
                json!({
                    "experiment_id": draft.experiment,
                    "teams": draft.teams.iter().map(|team| draft::name(*team)).collect::<Vec<_>>(),
                    "control": ids.scored(control.iter().copied()),
                    "treatment": ids.scored(treatment.iter().copied()),
                })
            }),
        }))
    }
}

fn stage(report: &StageReport) -> Value {
    let status = match report.status {
        StageStatus::Ok => "ok",
        StageStatus::Unavailable => "unavailable",
        StageStatus::Failed => "failed",
        StageStatus::TimedOut => "timed_out",
    };
    json!({
        "stage": report.stage,
        "component": report.component,
        "version": report.version,
        "digest": report.digest,
        "status": status,
        "reason": report.reason,
        "elapsed_us": report.elapsed_us,
        "candidates_in": report.candidates_in,
        "candidates_out": report.candidates_out,
    })
}

/// The numeric cells of a row by name (null where missing), and the value hashes
/// of its other columns.
fn cells(table: &Table, row: usize) -> Map<String, Value> {
    let mut object = Map::new();
    for name in &table.numeric_names {
        let value = table.numeric_column(name).map_or(f32::NAN, |column| column.get(row));
        object.insert(name.clone(), json!(if value.is_nan() { None } else { Some(value) }));
    }
    for name in &table.categorical_names {
        let value = table.categorical_column(name).map_or(0, |column| column.get(row));
        object.insert(format!("{name}:hash"), json!(if value == 0 { None } else { Some(value) }));
    }
    for name in &table.multi_names {
        let values = table.multi_column(name).map(|column| column.get(row)).unwrap_or_default();
        object.insert(format!("{name}:hashes"), json!(values));
    }
    object
}

/// Handles back to ids.
struct Ids(HandleMap<String>);

impl Ids {
    fn load(host: &impl Capabilities, scenario_id: &str, lists: &Lists) -> Result<Self, ApiError> {
        let recalled = lists.recalled.iter().flat_map(|(_, handles, _)| handles.iter().copied());
        let treatment = lists.contested.iter().flat_map(|[_, treatment]| treatment.iter().map(|(handle, _)| *handle));
        let merged = lists.merged.iter().map(|(handle, _, _)| *handle);
        let mut all: Vec<Handle> = recalled.chain(merged).chain(treatment).collect();
        all.sort_unstable();
        all.dedup();
        let mut known = HandleMap::default();
        for part in all.chunks(funnelweb_core::limits::GET_KEYS) {
            let ids = host.item_ids(scenario_id, part)?;
            known.extend(part.iter().copied().zip(ids).filter_map(|(handle, id)| Some((handle, id?))));
        }
        Ok(Self(known))
    }

    fn of(&self, handle: Handle) -> &str {
        self.0.get(&handle).map_or("(unknown item)", String::as_str)
    }

    fn scored(&self, list: impl Iterator<Item = (Handle, f32)>) -> Vec<Value> {
        list.map(|(handle, score)| json!({"item_id": self.of(handle), "score": score})).collect()
    }
}

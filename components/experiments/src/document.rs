//! An experiment's document: what a client wrote, with its ids and what the server sets.

use funnelweb_core::{
    error::{ApiError, Code},
    experiment::{Experiment, Status, StoppedBy, merge},
    limits,
    scenario::Scenario,
    time,
};
use funnelweb_guest::{documents::Key, http::json};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::running::Step;

/// What the server sets beside the status.
const SET: [&str; 5] = ["created_at", "updated_at", STARTED, STOPPED, STOPPED_BY];
/// The last one; what is shown of an experiment is without it.
const REPORT: &str = "report";
const STATUS: &str = "status";
const STARTED: &str = "started_at";
const STOPPED: &str = "stopped_at";
const STOPPED_BY: &str = "stopped_by";

/// What a client makes of an experiment that is there.
pub(crate) enum Change<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// A merge patch (RFC 7386).
    Patch(&'a [u8]),
}

/// Experiments as they stand at a time, which their scenario tells.
pub(crate) struct View {
    scenario: Scenario,
    now_ms: u64,
}

impl View {
    pub(crate) fn new(scenario: Scenario, now_ms: u64) -> Self {
        Self { scenario, now_ms }
    }

    /// Where an experiment stands, of this document if there is one.
    pub(crate) fn status(&self, experiment_id: &str, stored: Option<&str>) -> Result<Status, ApiError> {
        let stored = stored.map(read).transpose()?.map(|stored| stored.status);
        Ok(match (self.scenario.experiment(experiment_id), stored) {
            (Some(running), _) if running.end_ms.is_none_or(|end_ms| self.now_ms < end_ms) => Status::Running,
            // It came to its end, and may have made room.
            (_, Some(Status::Running)) | (Some(_), Some(_)) => Status::Stopped,
            (None, Some(stored)) => stored,
            (_, None) => Status::Draft,
        })
    }

    /// The last report, with what it is of.
    pub(crate) fn report(&self, stored: &str) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        struct Kept {
            at: Value,
            days: Value,
            report: Map<String, Value>,
            #[serde(default)]
            history: Option<String>,
        }
        let experiment = read(stored)?;
        let id = &experiment.experiment_id;
        let Some(kept) = experiment.report else {
            let message = format!("there is no report of `{id}` yet: the job `experiments` makes one");
            return Err(ApiError::new(Code::ExperimentStatus, message));
        };
        let unreadable = |error| ApiError::new(Code::Internal, format!("the stored report does not read: {error}"));
        let Kept { at, days, report, history } = serde_json::from_value(kept).map_err(unreadable)?;
        let status = self.status(id, Some(stored))?;
        let mut said = Map::from_iter([
            ("experiment_id".to_owned(), id.as_str().into()),
            ("type".to_owned(), experiment.design.as_str().into()),
            ("status".to_owned(), status.as_str().into()),
            ("at".to_owned(), at),
            ("days".to_owned(), days),
        ]);
        let by = experiment.stopped_by.filter(|_| status == Status::Stopped);
        let by = by.map(serde_json::to_value).transpose().map_err(unreadable)?;
        said.extend(by.map(|by| (STOPPED_BY.to_owned(), by)));
        said.extend(report);
        let history = history.map(|history| serde_json::from_str(&history)).transpose().map_err(unreadable)?;
        said.extend(history.map(|history| ("history".to_owned(), history)));
        text(&said)
    }

    /// The document as it is shown.
    pub(crate) fn of(&self, stored: &str) -> Result<String, ApiError> {
        let mut document: Map<String, Value> = json::parse(stored.as_bytes())?;
        let id = document.get("experiment_id").and_then(Value::as_str).unwrap_or_default();
        let status = self.status(id, Some(stored))?;
        document.remove(REPORT);
        if status == Status::Running {
            // Of a stop that was cut off.
            document.remove(STOPPED);
            document.remove(STOPPED_BY);
        }
        document.insert(STATUS.to_owned(), status.as_str().into());
        if status == Status::Stopped && !document.contains_key(STOPPED) {
            let has_passed =
                |end: &&Value| end.as_str().and_then(time::parse_ms).is_some_and(|end_ms| end_ms <= self.now_ms);
            let end = document.get("end_time").filter(has_passed).cloned();
            document.extend(end.map(|end| (STOPPED.to_owned(), end)));
        }
        text(&document)
    }
}

/// The document that a client's body makes, of the scenario and, if the path has one, the id.
pub(crate) fn new(body: &[u8], scenario_id: &str, id: Option<&str>) -> Result<(String, Experiment), ApiError> {
    let mut document: Map<String, Value> = json::parse(body)?;
    named(&mut document, "scenario_id", scenario_id)?;
    if let Some(id) = id {
        named(&mut document, "experiment_id", id)?;
    }
    finish(document, &Map::new(), Status::Draft)
}

/// What a change makes of a stored document, which is shown with this status.
pub(crate) fn changed(
    stored: &str,
    key: &Key,
    change: &Change<'_>,
    shown: Status,
) -> Result<(String, Experiment), ApiError> {
    let stored: Map<String, Value> = json::parse(stored.as_bytes())?;
    let mut document = match change {
        Change::Whole(body) => json::parse(body)?,
        Change::Patch(body) => {
            let patch: Map<String, Value> = json::parse(body)?;
            if let Some(name) = SET.into_iter().chain([REPORT]).find(|name| patch.contains_key(*name)) {
                return Err(ApiError::field(Code::InvalidField, name, format!("`{name}` is set by the server")));
            }
            let mut document = Value::Object(stored.clone());
            merge(&mut document, &Value::Object(patch));
            // A merge can add levels.
            json::parse(document.to_string().as_bytes())?
        }
    };
    named(&mut document, "scenario_id", &key.scenario_id)?;
    named(&mut document, "experiment_id", &key.id)?;
    finish(document, &stored, shown)
}

/// The document with what the server set of the stored one, checked.
fn finish(
    mut document: Map<String, Value>,
    stored: &Map<String, Value>,
    shown: Status,
) -> Result<(String, Experiment), ApiError> {
    for name in SET {
        document.remove(name);
        // The store sets the others.
        if [STARTED, STOPPED, STOPPED_BY].contains(&name) {
            document.extend(stored.get(name).map(|value| (name.to_owned(), value.clone())));
        }
    }
    document.remove(REPORT);
    document.extend(stored.get(REPORT).map(|report| (REPORT.to_owned(), report.clone())));
    let draft = Value::from(Status::Draft.as_str());
    let status = stored.get(STATUS).unwrap_or(&draft);
    match document.insert(STATUS.to_owned(), status.clone()) {
        Some(given) if given != *status && given != shown.as_str() => {
            let shown = shown.as_str();
            let message = format!("is `{shown}` until it is started or stopped, got {given}");
            return Err(ApiError::field(Code::InvalidField, STATUS, message));
        }
        _ => {}
    }
    let text = text(&document)?;
    let read = Experiment::parse(text.as_bytes());
    let experiment = read.map_err(|error| json::explain::<Experiment>(text.as_bytes(), error))?;
    Ok((text, experiment))
}

/// Puts an id into the document; one that is there must be the path's.
fn named(document: &mut Map<String, Value>, field: &str, id: &str) -> Result<(), ApiError> {
    match document.insert(field.to_owned(), id.into()) {
        Some(given) if given != id => {
            let message = format!("must be the `{id}` of the path, got {given}");
            Err(ApiError::field(Code::InvalidField, field, message))
        }
        _ => Ok(()),
    }
}

pub(crate) fn read(stored: &str) -> Result<Experiment, ApiError> {
    serde_json::from_str(stored)
        .map_err(|error| ApiError::new(Code::Internal, format!("the stored experiment does not read: {error}")))
}

/// The stored document after a step.
pub(crate) fn stepped(stored: &str, step: Step, now: &str) -> Result<String, ApiError> {
    let (status, time) = match step {
        Step::Started => (Status::Running, STARTED),
        Step::Stopped => (Status::Stopped, STOPPED),
    };
    let mut document: Map<String, Value> = json::parse(stored.as_bytes())?;
    document.insert(STATUS.to_owned(), status.as_str().into());
    document.insert(time.to_owned(), now.into());
    text(&document)
}

/// The stored document after a guardrail has stopped it. One that was stopped already stays as it
/// is: its scenario may not know of that yet.
pub(crate) fn stopped_by(stored: &str, by: Option<&StoppedBy>, now: &str) -> Result<String, ApiError> {
    if read(stored)?.status != Status::Running {
        return Ok(stored.to_owned());
    }
    let mut document: Map<String, Value> = json::parse(stepped(stored, Step::Stopped, now)?.as_bytes())?;
    let by = by.map(serde_json::to_value).transpose();
    let by = by.map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    document.extend(by.map(|by| (STOPPED_BY.to_owned(), by)));
    text(&document)
}

/// An experiment that was started keeps what it splits by: what came of its users before
/// would not be of the same groups as what comes after.
pub(crate) fn check_change(stored: &str, changed: &Experiment, status: Status) -> Result<(), ApiError> {
    if status == Status::Draft {
        return Ok(());
    }
    let stored = read(stored)?;
    let frozen = [
        ("type", stored.design == changed.design),
        // The one that the places of slates were noted for.
        ("control", stored.interleaved_control() == changed.interleaved_control()),
        ("groups", stored.groups == changed.groups),
        ("traffic", (stored.traffic - changed.traffic).abs() < f64::EPSILON),
        ("layer", stored.layer == changed.layer),
        ("targeting", stored.targeting == changed.targeting),
        ("guardrails", stored.guardrails == changed.guardrails),
        ("start_time", stored.start_time == changed.start_time),
        ("end_time", status == Status::Running || stored.end_time == changed.end_time),
    ];
    match frozen.into_iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((field, _)) => {
            let message = format!(
                "the experiment is {}: {field} stays as it is; make another experiment of what is to be changed",
                status.as_str()
            );
            Err(ApiError::field(Code::ExperimentStatus, field, message))
        }
    }
}

pub(crate) fn check_draft(experiment: &Experiment) -> Result<(), ApiError> {
    refuse_unless(experiment.status == Status::Draft, &experiment.experiment_id, experiment.status, "cannot be started")
}

/// One whose document says that it runs is to be stopped there too, whether it splits or not.
pub(crate) fn check_running(stored: &Experiment, status: Status) -> Result<(), ApiError> {
    let runs = status == Status::Running || stored.status == Status::Running;
    refuse_unless(runs, &stored.experiment_id, status, "cannot be stopped")
}

pub(crate) fn check_deleted(key: &Key, status: Status) -> Result<(), ApiError> {
    refuse_unless(status != Status::Running, &key.id, status, "is to be stopped first")
}

fn refuse_unless(holds: bool, id: &str, status: Status, what: &str) -> Result<(), ApiError> {
    if holds {
        return Ok(());
    }
    Err(ApiError::new(Code::ExperimentStatus, format!("the experiment `{id}` is {} and {what}", status.as_str())))
}

fn text(document: &Map<String, Value>) -> Result<String, ApiError> {
    let text = serde_json::to_string(document).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    // The report is not a client's to make smaller.
    let report = document.get(REPORT).map_or(0, |report| report.to_string().len());
    let bytes = text.len().saturating_sub(report);
    if bytes > limits::DOCUMENT_BYTES {
        let message = format!("the experiment has {bytes} bytes, more than the limit of {}", limits::DOCUMENT_BYTES);
        return Err(ApiError::new(Code::BodyTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BODY: &str = r#"{"experiment_id":"exp","groups":[{"group_id":"a","traffic_ratio":0.5},
        {"group_id":"b","traffic_ratio":0.5,"config":{"rank":{"model":"deepfm"}}}]}"#;

    fn key() -> Key {
        Key { scenario_id: "feed".to_owned(), id: "exp".to_owned() }
    }

    fn stored(step: Option<Step>) -> String {
        let (text, _) = new(BODY.as_bytes(), "feed", None).unwrap();
        step.map_or(text.clone(), |step| stepped(&text, step, "2026-01-01T00:00:00.000Z").unwrap())
    }

    fn scenario(experiments: &Value) -> Scenario {
        let body = json!({"scenario_id": "feed", "scenario_type": "news",
                          "config": {"recall": {"strategies": [{"name": "latest"}]}}, "experiments": experiments});
        serde_json::from_value(body).unwrap()
    }

    fn refused(result: Result<impl Sized, ApiError>) -> (Code, String) {
        let error = result.err().unwrap();
        (error.code, error.field.unwrap_or_default())
    }

    #[test]
    fn ids_stand_in_the_path_or_the_body_and_what_was_read_can_be_written_back() {
        let (text, experiment) = new(BODY.as_bytes(), "feed", Some("exp")).unwrap();
        assert_eq!((&*experiment.scenario_id, experiment.status), ("feed", Status::Draft));
        assert_eq!(refused(new(BODY.as_bytes(), "feed", Some("other"))), (Code::InvalidField, "experiment_id".into()));
        assert_eq!(refused(new(text.as_bytes(), "other", None)), (Code::InvalidField, "scenario_id".into()));
        let view = View::new(scenario(&json!([])), 0);
        for step in [None, Some(Step::Started), Some(Step::Stopped)] {
            let there = stored(step);
            let (shown, status) = (view.of(&there).unwrap(), view.status("exp", Some(&there)).unwrap());
            assert_eq!(changed(&there, &key(), &Change::Whole(shown.as_bytes()), status).unwrap().0, there);
        }
        let running = stored(Some(Step::Started));
        let back = changed(&running, &key(), &Change::Whole(text.as_bytes()), Status::Running);
        assert_eq!(refused(back), (Code::InvalidField, "status".into()), "it says what it is no more");
    }

    #[test]
    fn nobody_sets_what_the_server_sets() {
        let with = |name: &str, value: Value| {
            let mut body: Value = serde_json::from_str(BODY).unwrap();
            body[name] = value;
            new(body.to_string().as_bytes(), "feed", None)
        };
        assert_eq!(refused(with("status", json!("running"))), (Code::InvalidField, "status".into()));
        assert!(!with("started_at", json!("2026-01-01")).unwrap().0.contains("started_at"));
        let patch = br#"{"stopped_at":"2026-01-01"}"#;
        let change = |patch: &[u8]| changed(&stored(None), &key(), &Change::Patch(patch), Status::Draft);
        assert_eq!(refused(change(patch)), (Code::InvalidField, "stopped_at".into()));
        assert_eq!(refused(change(br#"{"status":"stopped"}"#)).1, "status");
        let patch = Change::Patch(br#"{"name":"New ranker"}"#);
        let (text, _) = changed(&stored(Some(Step::Started)), &key(), &patch, Status::Running).unwrap();
        let text: Value = serde_json::from_str(&text).unwrap();
        assert_eq!([&text["name"], &text["status"]], ["New ranker", "running"]);
        assert_eq!(text["started_at"], "2026-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_a_guardrail_has_stopped_says_so_and_stays_so() {
        let by: StoppedBy = serde_json::from_value(json!({"metric": "ctr", "margin": 0.1, "group_id": "b"})).unwrap();
        let running = stored(Some(Step::Started));
        let stopped = stopped_by(&running, Some(&by), "2026-01-02T00:00:00.000Z").unwrap();
        let view = View::new(scenario(&json!([])), 0);
        let shown: Value = serde_json::from_str(&view.of(&stopped).unwrap()).unwrap();
        let expected = [json!("stopped"), json!("2026-01-02T00:00:00.000Z"), serde_json::to_value(&by).unwrap()];
        assert_eq!(["status", "stopped_at", "stopped_by"].map(|name| shown[name].clone()), expected);
        assert_eq!(stopped_by(&stopped, None, "2026-01-03").unwrap(), stopped);
        let draft = stored(None);
        assert_eq!(stopped_by(&draft, Some(&by), "2026-01-03").unwrap(), draft);
        // What was read can be written back, and a client cannot set it.
        let change = |change: Change<'_>| changed(&stopped, &key(), &change, Status::Stopped).map(|(text, _)| text);
        assert_eq!(change(Change::Whole(shown.to_string().as_bytes())).unwrap(), stopped);
        assert_eq!(refused(change(Change::Patch(br#"{"stopped_by":null}"#))).1, "stopped_by");
        // The scenario does not know of it yet.
        let running = json!([{"experiment_id": "exp", "layer": "default", "buckets": [[0, 1]], "groups": [],
                              "start_ms": 0}]);
        let shown = View::new(scenario(&running), 0).of(&stopped).unwrap();
        assert!(!shown.contains("stopped"), "{shown}");
    }

    #[test]
    fn a_report_is_kept_and_shown_apart() {
        let view = View::new(scenario(&json!([])), 0);
        let running = stored(Some(Step::Started));
        assert_eq!(refused(view.report(&running)).0, Code::ExperimentStatus);
        let mut document: Value = serde_json::from_str(&running).unwrap();
        let history = r#"{"at_ms":[1],"series":[]}"#;
        let kept =
            json!({"at": "2026-02-01", "days": 3.5, "report": {"groups": []}, "history": history, "looks": "{}"});
        document["report"] = kept;
        let with = document.to_string();
        let said: Value = serde_json::from_str(&view.report(&with).unwrap()).unwrap();
        let expected = json!({"experiment_id": "exp", "type": "split", "status": "stopped", "at": "2026-02-01",
                              "days": 3.5, "groups": [], "history": {"at_ms": [1], "series": []}});
        assert_eq!(said, expected);
        assert!(!view.of(&with).unwrap().contains("looks"));
        let patch = |patch: &[u8]| changed(&with, &key(), &Change::Patch(patch), Status::Running);
        assert!(patch(br#"{"name":"x"}"#).unwrap().0.contains("looks"), "it stays");
        assert_eq!(refused(patch(br#"{"report":null}"#)).1, "report");
    }

    #[test]
    fn what_it_splits_by_stays_once_it_was_started() {
        let stored = stored(Some(Step::Started));
        let change = |patch: Value, status| {
            let patch = patch.to_string();
            let (_, experiment) = changed(&stored, &key(), &Change::Patch(patch.as_bytes()), status).unwrap();
            check_change(&stored, &experiment, status).map_err(|error| (error.code, error.field.unwrap()))
        };
        let frozen = |field: &str| Err((Code::ExperimentStatus, field.to_owned()));
        let third = json!([{"group_id": "a", "traffic_ratio": 0.3}, {"group_id": "b", "traffic_ratio": 0.7}]);
        for (field, value) in [
            ("groups", third),
            ("traffic", json!(0.5)),
            ("layer", json!("other")),
            ("targeting", json!([{"field": "user.country", "in": ["se"]}])),
            ("start_time", json!("2026-01-01")),
            ("guardrails", json!([{"metric": "ctr"}])),
        ] {
            assert_eq!(change(json!({field: value}), Status::Running), frozen(field));
            assert_eq!(change(json!({field: value}), Status::Draft), Ok(()));
        }
        let end = json!({"end_time": "2126-01-01"});
        assert_eq!(change(end.clone(), Status::Running), Ok(()));
        assert_eq!(change(end, Status::Stopped), frozen("end_time"));
        assert_eq!(change(json!({"name": "x", "control": "b", "hypothesis": "more"}), Status::Stopped), Ok(()));
        let rankings = json!([{"group_id": "a"}, {"group_id": "b", "config": {"rank": {"model": "deepfm"}}}]);
        let interleaving = json!({"type": "interleaving", "groups": rankings});
        assert_eq!(change(interleaving.clone(), Status::Running), frozen("type"));
        assert_eq!(change(interleaving.clone(), Status::Draft), Ok(()));
        let patch = interleaving.to_string();
        let (text, _) = changed(&stored, &key(), &Change::Patch(patch.as_bytes()), Status::Running).unwrap();
        let (_, turned) = changed(&text, &key(), &Change::Patch(br#"{"control":"b"}"#), Status::Running).unwrap();
        let error = check_change(&text, &turned, Status::Running).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("control"), "places were noted as the control's");
    }

    #[test]
    fn the_scenario_tells_where_it_stands() {
        let running = json!([{"experiment_id": "exp", "layer": "default", "buckets": [[0, 1]], "groups": [],
                              "start_ms": 0, "end_ms": 2000}]);
        let at = |experiments: &Value, now_ms, step| {
            View::new(scenario(experiments), now_ms).status("exp", Some(&stored(step))).unwrap()
        };
        let of_none = |now_ms| View::new(scenario(&running), now_ms).status("exp", None).unwrap();
        assert_eq!([of_none(1999), of_none(2000)], [Status::Running, Status::Draft]);
        // A crash came between the two writes.
        assert_eq!(at(&running, 1999, None), Status::Running);
        assert_eq!(at(&running, 1999, Some(Step::Started)), Status::Running);
        assert_eq!(at(&running, 2000, Some(Step::Started)), Status::Stopped);
        assert_eq!(at(&json!([]), 0, Some(Step::Started)), Status::Stopped);
        assert_eq!(at(&json!([]), 0, None), Status::Draft);
        assert_eq!(at(&json!([]), 0, Some(Step::Stopped)), Status::Stopped);
    }
}

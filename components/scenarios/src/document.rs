//! A scenario's document: what a client wrote, with its id and status. Defaults
//! are not written into it: a patch that takes a setting out brings the default
//! back.

use funnelweb_core::{
    error::{ApiError, Code},
    experiment::{Running, merge},
    limits,
    scenario::Scenario,
};
use funnelweb_guest::http::{
    config::{self, Ask},
    json,
};
use serde_json::{Map, Value};

/// The times that the store sets.
const TIMES: [&str; 2] = ["created_at", "updated_at"];
/// The experiments that were started: they stay as they are.
const EXPERIMENTS: &str = "experiments";

/// What is there already when something is written.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) text: &'a str,
    /// The time of the write: experiments that have ended go.
    pub(crate) now_ms: u64,
}

impl Stored<'_> {
    fn read(self) -> Result<Scenario, ApiError> {
        serde_json::from_str(self.text)
            .map_err(|error| ApiError::new(Code::Internal, format!("the stored scenario does not read: {error}")))
    }

    /// The experiments that stay. Where there were any the list does, too: they are reported on
    /// once more.
    fn experiments(self) -> Result<Option<Value>, ApiError> {
        let mut stored: Map<String, Value> = json::parse(self.text.as_bytes())?;
        let Some(listed) = stored.remove(EXPERIMENTS) else { return Ok(None) };
        let internal = |error: serde_json::Error| ApiError::new(Code::Internal, error.to_string());
        let mut stay: Vec<Running> = serde_json::from_value(listed).map_err(internal)?;
        stay.retain(|running| running.end_ms.is_none_or(|end_ms| self.now_ms < end_ms));
        serde_json::to_value(&stay).map(Some).map_err(internal)
    }
}

/// The document that a client's body makes of the stored one, if there is one. The id may
/// stand in the path (`id`), in the body, or in both if it is the same. What the server sets
/// is left out: what was read can be written back.
pub(crate) fn complete(body: &[u8], id: Option<&str>, stored: Option<Stored<'_>>) -> Result<String, ApiError> {
    let mut document: Map<String, Value> = json::parse(body)?;
    for name in TIMES {
        document.remove(name);
    }
    document.remove(EXPERIMENTS);
    if let Some(experiments) = stored.map(Stored::experiments).transpose()?.flatten() {
        document.insert(EXPERIMENTS.to_owned(), experiments);
    }
    if let Some(id) = id {
        same_id(document.get("scenario_id"), id)?;
        document.insert("scenario_id".to_owned(), id.into());
    }
    document.entry("status").or_insert_with(|| "active".into());
    text(&document)
}

/// A merge patch (RFC 7386) that may be applied to the scenario `id`.
pub(crate) fn patch(body: &[u8], id: &str) -> Result<Map<String, Value>, ApiError> {
    let patch: Map<String, Value> = json::parse(body)?;
    for name in TIMES.into_iter().chain([EXPERIMENTS]) {
        if patch.contains_key(name) {
            return Err(ApiError::field(Code::InvalidField, name, format!("`{name}` is set by the server")));
        }
    }
    same_id(patch.get("scenario_id"), id)?;
    Ok(patch)
}

/// A stored document after a patch.
pub(crate) fn merged(stored: Stored<'_>, patch: &Map<String, Value>, id: &str) -> Result<String, ApiError> {
    let mut document: Value = json::parse(stored.text.as_bytes())?;
    merge(&mut document, &Value::Object(patch.clone()));
    let text = document.to_string();
    // A merge can add levels.
    json::check(text.as_bytes())?;
    complete(text.as_bytes(), Some(id), Some(stored))
}

/// Reads a document and checks everything about it, also what experiments make of it, unless
/// they are switched off.
pub(crate) fn checked(text: &str, stored: Option<Stored<'_>>, ask: &dyn Ask) -> Result<Scenario, ApiError> {
    let scenario =
        Scenario::parse(text.as_bytes()).map_err(|error| json::explain::<Scenario>(text.as_bytes(), error))?;
    config::all(&scenario.config, ask)?;
    if scenario.experiments.is_empty() {
        return Ok(scenario);
    }
    if let Some(stored) = stored {
        check_holdout(stored.read()?.config.experiments.holdout, scenario.config.experiments.holdout)?;
    }
    if scenario.config.experiments.enabled {
        let document: Value = json::parse(text.as_bytes())?;
        let config = document.get("config").unwrap_or(&Value::Null);
        config::with_experiments(config, &scenario.experiments, ask)
            .map_err(|fault| fault.of_scenario(&scenario.experiments))?;
    }
    Ok(scenario)
}

/// Another holdout would move users into or out of groups.
fn check_holdout(before: f64, now: f64) -> Result<(), ApiError> {
    if (before - now).abs() < f64::EPSILON {
        return Ok(());
    }
    let message = format!("stays {before} while experiments run: stop them first");
    Err(ApiError::field(Code::ExperimentStatus, "config.experiments.holdout", message))
}

fn same_id(given: Option<&Value>, id: &str) -> Result<(), ApiError> {
    match given {
        None => Ok(()),
        Some(Value::String(given)) if given == id => Ok(()),
        Some(given) => {
            let message = format!("must be the `{id}` of the path, got {given}");
            Err(ApiError::field(Code::InvalidField, "scenario_id", message))
        }
    }
}

fn text(document: &Map<String, Value>) -> Result<String, ApiError> {
    let text = serde_json::to_string(document).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    if text.len() > limits::DOCUMENT_BYTES {
        let message =
            format!("the scenario has {} bytes, more than the limit of {}", text.len(), limits::DOCUMENT_BYTES);
        return Err(ApiError::new(Code::BodyTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use funnelweb_guest::fixtures::Known;
    use serde_json::json;

    use super::*;

    const BODY: &str =
        r#"{"scenario_id":"s1","scenario_type":"news","config":{"recall":{"strategies":[{"name":"latest"}]}}}"#;

    fn refused(result: Result<impl Sized, ApiError>) -> (Code, String) {
        let error = result.err().unwrap();
        (error.code, error.field.unwrap_or_default())
    }

    #[test]
    fn the_id_stands_in_the_path_or_the_body() {
        let without = BODY.replace(r#""scenario_id":"s1","#, "");
        assert!(complete(without.as_bytes(), Some("s1"), None).unwrap().contains(r#""scenario_id":"s1""#));
        assert!(complete(BODY.as_bytes(), Some("s1"), None).is_ok());
        let field = (Code::InvalidField, "scenario_id".to_owned());
        assert_eq!(refused(complete(BODY.as_bytes(), Some("s2"), None)), field);
        assert_eq!(refused(complete(br#"{"scenario_id":1}"#, Some("s2"), None)), field);
        assert_eq!(refused(checked(&complete(without.as_bytes(), None, None).unwrap(), None, &Known)), field);
    }

    #[test]
    fn what_was_read_can_be_written_back() {
        let read = BODY.replacen('{', r#"{"created_at":"2026-01-01T00:00:00.000Z","updated_at":"x","#, 1);
        let text = complete(read.as_bytes(), None, None).unwrap();
        assert!(!text.contains("created_at") && !text.contains("updated_at"));
        assert!(text.contains(r#""status":"active""#));
        assert_eq!(checked(&text, None, &Known).unwrap().scenario_id, "s1");
    }

    #[test]
    fn every_fault_names_its_field() {
        let refused = |from: &str, to: &str| {
            let body = BODY.replacen(from, to, 1);
            assert_ne!(body, BODY);
            refused(complete(body.as_bytes(), None, None).and_then(|text| checked(&text, None, &Known)))
        };
        let field = |path: &str| (Code::InvalidField, path.to_owned());
        let config = |path: &str| (Code::InvalidConfig, path.to_owned());
        assert_eq!(refused("news", ""), field("scenario_type"));
        assert_eq!(refused("\"news\"", "[]"), field("scenario_type"));
        assert_eq!(refused("\"scenario_type\"", "\"scenario_kind\""), field("scenario_kind"));
        assert_eq!(refused("\"scenario_type\":\"news\",", ""), field("scenario_type"));
        assert_eq!(refused("{", "{\"status\":\"asleep\","), field("status"));
        assert_eq!(refused("{", "{\"status\":1,"), field("status"));
        assert_eq!(refused("{", "{\"name\":7,"), field("name"));
        assert_eq!(refused("\"s1\"", "\"../s1\""), field("scenario_id"));
        assert_eq!(refused("\"recall\"", "\"recal\""), config("config.recal"));
        assert_eq!(refused("\"strategies\"", "\"x\""), config("config.recall.x"));
        assert_eq!(refused("{\"strategies\":[{\"name\":\"latest\"}]}", "{}"), config("config.recall.strategies"));
        assert_eq!(refused("\"name\":\"latest\"", ""), config("config.recall.strategies[0].name"));
        assert_eq!(refused("\"latest\"", "\"latest\",\"limit\":-1"), config("config.recall.strategies[0].limit"));
        let jobs = |jobs: &str| refused("{\"recall\"", &format!("{{\"jobs\":{jobs},\"recall\""));
        assert_eq!(jobs(r#"{"similarity":{"schedule":"daily"}}"#), config("config.jobs.similarity.schedule"));
        assert_eq!(jobs(r#"{"similarity":{"schedule":3}}"#), config("config.jobs.similarity.schedule"));
        assert_eq!(jobs(r#"{"similarities":{}}"#), config("config.jobs.similarities"));
        assert_eq!(refused("[{", "{"), (Code::InvalidJson, String::new()));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
        assert_eq!(complete(deep.as_bytes(), None, None).unwrap_err().code, Code::InvalidField);
        assert_eq!(complete(b"[]", None, None).unwrap_err().code, Code::InvalidField);
    }

    #[test]
    fn patches_merge_and_are_checked_whole() {
        let patch = |body: &str| patch(body.as_bytes(), "s1");
        let stored = Stored { text: BODY, now_ms: 0 };
        let apply = |body: &str| merged(stored, &patch(body).unwrap(), "s1");
        let text = apply(r#"{"name":"N","config":{"exposure":{"enabled":false}}}"#).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["config"]["exposure"], json!({"enabled": false}));
        assert_eq!(document["config"]["recall"]["strategies"][0]["name"], "latest");
        let text = apply(r#"{"config":{"recall":null}}"#).unwrap();
        assert_eq!(refused(checked(&text, None, &Known)), (Code::InvalidConfig, "config.recall".into()));
        assert_eq!(refused(patch(r#"{"scenario_id":"s2"}"#)).1, "scenario_id");
        assert_eq!(refused(patch(r#"{"created_at":"x"}"#)).1, "created_at");
        assert_eq!(refused(patch(r#"{"experiments":[]}"#)).1, "experiments");
        assert_eq!(refused(patch("[]")).0, Code::InvalidField);
    }

    /// With an experiment that a scenario's `merge.k` matters to, until 2000.
    fn with_experiment() -> String {
        let running = json!([{
            "experiment_id": "exp", "layer": "default", "buckets": [[0, 1_000_000]], "start_ms": 0, "end_ms": 2000,
            "groups": [
                {"group_id": "a", "traffic_ratio": 0.5},
                {"group_id": "b", "traffic_ratio": 0.5, "config": {"recall": {"merge": {"k": 7}}}},
            ],
        }]);
        BODY.replacen('{', &format!("{{\"experiments\":{running},"), 1)
    }

    fn patched(patch: &Value, now_ms: u64) -> Result<Scenario, ApiError> {
        let text = with_experiment();
        let stored = Stored { text: &text, now_ms };
        checked(&merged(stored, patch.as_object().unwrap(), "s1")?, Some(stored), &Known)
    }

    #[test]
    fn experiments_stay_until_they_end_and_no_client_sets_them() {
        let text = with_experiment();
        let written = BODY.replacen('{', "{\"experiments\":[],", 1);
        let at = |now_ms| complete(written.as_bytes(), None, Some(Stored { text: &text, now_ms })).unwrap();
        assert_eq!(checked(&at(1999), None, &Known).unwrap().experiments.len(), 1);
        assert!(at(2000).contains(r#""experiments":[]"#), "they are reported on once more");
        assert!(!complete(text.as_bytes(), None, None).unwrap().contains("experiments"));
    }

    #[test]
    fn a_config_is_checked_with_what_experiments_make_of_it() {
        let by_score = json!({"config": {"recall": {"merge": {"method": "score"}}}});
        let error = patched(&by_score, 1999).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("config.recall.merge.k"));
        assert!(error.message.ends_with("so it is in the group `b` of `exp`"), "{}", error.message);
        assert!(patched(&by_score, 2000).unwrap().experiments.is_empty(), "it has ended");
        // Whatever is wrong with a group, it can be switched off.
        let off = json!({"config": {"recall": {"merge": {"method": "score"}}, "experiments": {"enabled": false}}});
        assert!(!patched(&off, 1999).unwrap().config.experiments.enabled);
    }

    #[test]
    fn nobody_is_moved_out_of_a_group_while_it_runs() {
        let holdout = json!({"config": {"experiments": {"holdout": 0.1}}});
        let error = patched(&holdout, 1999).unwrap_err();
        assert_eq!(error.code, Code::ExperimentStatus);
        assert_eq!(error.field.as_deref(), Some("config.experiments.holdout"));
        assert!((patched(&holdout, 2000).unwrap().config.experiments.holdout - 0.1).abs() < 1e-9);
    }
}

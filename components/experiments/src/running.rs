//! What starting and stopping an experiment makes of its scenario's document.

use funnelweb_core::{
    error::{ApiError, Code},
    experiment::{Experiment, Running},
    limits,
    scenario::Scenario,
};
use funnelweb_guest::http::{
    config::{self, Ask},
    json,
};
use serde_json::{Map, Value};

/// What became of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Started,
    Stopped,
}

/// Checks what the groups make of the scenario's config.
pub(crate) fn check(scenario: &str, experiment: &Experiment, ask: &dyn Ask) -> Result<(), ApiError> {
    let alone = Running {
        experiment_id: experiment.experiment_id.clone(),
        layer: experiment.layer.clone(),
        buckets: Vec::new(),
        targeting: Vec::new(),
        groups: experiment.groups.clone(),
        control: experiment.interleaved_control(),
        start_ms: 0,
        end_ms: None,
    };
    checked(scenario, &[alone], ask)
}

/// What is wrong with a group of the last of these is told by where it stands in that
/// experiment.
fn checked(scenario: &str, experiments: &[Running], ask: &dyn Ask) -> Result<(), ApiError> {
    let document: Value = json::parse(scenario.as_bytes())?;
    let config = document.get("config").unwrap_or(&Value::Null);
    config::with_experiments(config, experiments, ask).map_err(|fault| {
        let own = fault.groups.iter().find(|(of, _)| of + 1 == experiments.len()).map(|(_, group)| *group);
        let error = fault.of_scenario(experiments);
        match (own, &error.field) {
            (Some(group), Some(path)) => ApiError { field: Some(format!("groups[{group}].{path}")), ..error },
            _ => error,
        }
    })
}

/// The scenario with the experiment in it. What is in it of this one, which is still a draft,
/// is of a start that was cut off.
pub(crate) fn started(text: &str, experiment: &Experiment, now_ms: u64, ask: &dyn Ask) -> Result<String, ApiError> {
    let mut scenario = read(text)?;
    scenario.experiments.retain(|running| running.experiment_id != experiment.experiment_id);
    scenario.begin(experiment, now_ms)?;
    checked(text, &scenario.experiments, ask)?;
    with(text, &scenario)
}

/// The scenario without it; none when it is not in it.
pub(crate) fn stopped(text: &str, experiment_id: &str) -> Result<Option<String>, ApiError> {
    let mut scenario = read(text)?;
    if scenario.experiment(experiment_id).is_none() {
        return Ok(None);
    }
    scenario.experiments.retain(|running| running.experiment_id != experiment_id);
    with(text, &scenario).map(Some)
}

/// The scenario with another end of the experiment; none when it is not in it, or that is its
/// end.
pub(crate) fn until(text: &str, experiment: &Experiment, now_ms: u64) -> Result<Option<String>, ApiError> {
    let (_, end_ms) = experiment.times_ms()?;
    let Some(changed) = as_written(text, experiment)? else { return Ok(None) };
    if end_ms.is_some_and(|end_ms| end_ms <= now_ms) {
        let end = experiment.end_time.as_deref().unwrap_or_default();
        return Err(ApiError::field(Code::InvalidField, "end_time", format!("has passed: {end}; stop it instead")));
    }
    Ok(Some(changed))
}

/// The same, whatever the time.
pub(crate) fn as_written(text: &str, experiment: &Experiment) -> Result<Option<String>, ApiError> {
    let (_, end_ms) = experiment.times_ms()?;
    let mut scenario = read(text)?;
    let named = |running: &&mut Running| running.experiment_id == experiment.experiment_id;
    let Some(running) = scenario.experiments.iter_mut().find(named) else { return Ok(None) };
    if running.end_ms == end_ms {
        return Ok(None);
    }
    running.end_ms = end_ms;
    with(text, &scenario).map(Some)
}

pub(crate) fn read(text: &str) -> Result<Scenario, ApiError> {
    serde_json::from_str(text)
        .map_err(|error| ApiError::new(Code::Internal, format!("the stored scenario does not read: {error}")))
}

/// The document with the scenario's experiments, and all else as it is.
fn with(text: &str, scenario: &Scenario) -> Result<String, ApiError> {
    let mut document: Map<String, Value> = json::parse(text.as_bytes())?;
    let unwritable = |error: serde_json::Error| ApiError::new(Code::Internal, error.to_string());
    let experiments = serde_json::to_value(&scenario.experiments).map_err(unwritable)?;
    document.insert("experiments".to_owned(), experiments);
    let text = serde_json::to_string(&document).map_err(unwritable)?;
    if text.len() > limits::DOCUMENT_BYTES {
        let message = format!(
            "the scenario with its experiments has {} bytes, more than the limit of {}",
            text.len(),
            limits::DOCUMENT_BYTES
        );
        return Err(ApiError::new(Code::BodyTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use funnelweb_guest::fixtures::Known;
    use serde_json::json;

    use super::*;

    const SCENARIO: &str = r#"{"scenario_id":"feed","scenario_type":"news","created_at":"2026-01-01T00:00:00.000Z",
        "config":{"recall":{"strategies":[{"name":"latest"}]}}}"#;

    fn experiment(name: &str, config: &Value) -> Experiment {
        let body = json!({"experiment_id": name, "scenario_id": "feed", "traffic": 0.5, "groups": [
            {"group_id": "a", "traffic_ratio": 0.5},
            {"group_id": "b", "traffic_ratio": 0.5, "config": config},
        ]});
        Experiment::parse(body.to_string().as_bytes()).unwrap()
    }

    fn deepfm() -> Value {
        json!({"rank": {"model": "deepfm"}})
    }

    #[test]
    fn what_is_started_is_in_the_scenario_until_it_is_stopped() {
        let one = started(SCENARIO, &experiment("one", &deepfm()), 7, &Known).unwrap();
        let both = started(&one, &experiment("two", &deepfm()), 8, &Known).unwrap();
        let ids = |text: &str| {
            read(text).unwrap().experiments.iter().map(|running| running.experiment_id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&both), ["one", "two"]);
        let without = stopped(&both, "one").unwrap().unwrap();
        assert_eq!(ids(&without), ["two"]);
        assert_eq!(stopped(&without, "one").unwrap(), None);
        let of = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let (mut then, mut now) = (of(SCENARIO), of(&without));
        assert_eq!(now.remove("experiments").unwrap().as_array().unwrap().len(), 1);
        then.remove("experiments");
        assert_eq!(now, then, "all else stays as it was");
        // It was changed after a start that was cut off.
        let again = started(&both, &experiment("two", &json!({})), 9, &Known).unwrap();
        let again = read(&again).unwrap();
        assert_eq!((again.experiments.len(), again.experiment("two").unwrap().start_ms), (2, 9));
        assert!(again.experiment("two").unwrap().groups[1].config.is_empty());
    }

    #[test]
    fn what_breaks_the_scenario_is_refused() {
        let refused = |config: &Value| {
            let experiment = experiment("one", config);
            let error = started(SCENARIO, &experiment, 7, &Known).unwrap_err();
            assert_eq!(check(SCENARIO, &experiment, &Known).unwrap_err(), error);
            (error.code, error.field.unwrap())
        };
        assert_eq!(
            refused(&json!({"rank": {"model": "nothing"}})),
            (Code::InvalidConfig, "groups[1].config.rank.model".into())
        );
        assert_eq!(refused(&json!({"recall": null})), (Code::InvalidConfig, "groups[1].config.recall".into()));
        assert_eq!(
            refused(&json!({"rank": {"modell": "x"}})),
            (Code::InvalidConfig, "groups[1].config.rank.modell".into())
        );
    }

    #[test]
    fn an_end_can_be_moved_and_not_into_the_past() {
        let text = started(SCENARIO, &experiment("one", &deepfm()), 7, &Known).unwrap();
        let mut experiment = experiment("one", &deepfm());
        assert_eq!(until(&text, &experiment, 1000).unwrap(), None);
        experiment.end_time = Some("1970-01-01T00:00:02Z".to_owned());
        let ends = until(&text, &experiment, 1000).unwrap().unwrap();
        assert_eq!(read(&ends).unwrap().experiments[0].end_ms, Some(2000));
        assert_eq!(until(&text, &experiment, 2000).unwrap_err().field.as_deref(), Some("end_time"));
        experiment.experiment_id = "two".to_owned();
        assert_eq!(until(&text, &experiment, 1000).unwrap(), None);
    }

    #[test]
    fn a_scenario_that_grows_too_large_starts_nothing() {
        let mut text = SCENARIO.to_owned();
        let large =
            json!({"rank": {"model": "linear", "params": {"x": "y".repeat(limits::EXPERIMENT_OVERLAY_BYTES - 64)}}});
        let mut count = 0;
        let error = loop {
            let mut experiment = experiment(&format!("e{count}"), &large);
            experiment.traffic = 0.01;
            experiment.groups[0].config = experiment.groups[1].config.clone();
            match started(&text, &experiment, 7, &Known) {
                Ok(more) => (text, count) = (more, count + 1),
                Err(error) => break error,
            }
        };
        assert_eq!((error.code, count), (Code::BodyTooLarge, 7), "{}", error.message);
        assert!(error.message.contains(&limits::DOCUMENT_BYTES.to_string()), "{}", error.message);
    }
}

//! A run as a client sees it.

use funnelweb_core::{
    error::{ApiError, Code},
    job::{Kind, State},
    time,
};
use funnelweb_guest::{http::Reply, jobs::Run};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct View<'a> {
    run_id: &'a str,
    scenario_id: &'a str,
    kind: Kind,
    state: State,
    trigger: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    phase: &'a str,
    percent: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<u32>,
    attempts: u32,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

/// A run.
pub(crate) fn run(status: StatusCode, run: &Run) -> Result<Reply, ApiError> {
    Ok(Reply::json_text(status, text(run)?))
}

/// A page of at most `limit` runs; after a full one there may be another.
pub(crate) fn page(runs: &[Run], limit: u32) -> Result<Reply, ApiError> {
    let texts = runs.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::page("jobs", texts.iter().map(String::as_str), next(runs, limit)))
}

fn next(runs: &[Run], limit: u32) -> Option<&str> {
    let full = runs.len() >= limit as usize;
    runs.last().filter(|_| full).map(|run| run.id.as_str())
}

fn text(run: &Run) -> Result<String, ApiError> {
    let fault = |error: serde_json::Error| ApiError::new(Code::Internal, error.to_string());
    let outcome = match run.outcome.as_str() {
        "" => None,
        outcome => Some(serde_json::from_str(outcome).map_err(fault)?),
    };
    let view = View {
        run_id: &run.id,
        scenario_id: &run.scenario_id,
        kind: run.kind.into(),
        state: run.state.into(),
        trigger: &run.trigger,
        phase: &run.phase,
        percent: run.percent,
        eta_s: run.eta_s,
        attempts: run.attempts,
        created_at: time::format_ms(run.created_ms),
        started_at: run.started_ms.map(time::format_ms),
        finished_at: run.finished_ms.map(time::format_ms),
        outcome,
        error: &run.error,
    };
    serde_json::to_string(&view).map_err(fault)
}

#[cfg(test)]
mod tests {
    use funnelweb_guest::jobs as wit;

    use super::*;

    fn queued() -> Run {
        Run {
            id: "run-1".to_owned(),
            scenario_id: "feed".to_owned(),
            kind: wit::Kind::Similarity,
            state: wit::State::Queued,
            trigger: "api".to_owned(),
            phase: String::new(),
            percent: 0.0,
            eta_s: None,
            attempts: 0,
            created_ms: 0,
            started_ms: None,
            finished_ms: None,
            outcome: String::new(),
            error: String::new(),
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let expected = r#"{"run_id":"run-1","scenario_id":"feed","kind":"similarity","state":"queued","trigger":"api","percent":0.0,"attempts":0,"created_at":"1970-01-01T00:00:00.000Z"}"#;
        assert_eq!(text(&queued()).unwrap(), expected);
        let over = Run {
            state: wit::State::Succeeded,
            percent: 33.5,
            eta_s: Some(7),
            started_ms: Some(1),
            finished_ms: Some(2),
            outcome: r#"{"b": 1.10, "a": 2}"#.to_owned(),
            ..queued()
        };
        let text = text(&over).unwrap();
        assert!(text.contains(r#""percent":33.5,"eta_s":7"#), "{text}");
        assert!(text.ends_with(r#""started_at":"1970-01-01T00:00:00.001Z","finished_at":"1970-01-01T00:00:00.002Z","outcome":{"b": 1.10, "a": 2}}"#), "{text}");
    }

    #[test]
    fn a_full_page_says_where_the_next_begins() {
        let runs = [queued(), Run { id: "run-0".to_owned(), ..queued() }];
        assert_eq!((next(&runs, 2), next(&runs, 3), next(&[], 1)), (Some("run-0"), None, None));
    }
}

//! Certification of a stream operator: events of before are given to it, each twice, under
//! the very limits that it will run under, and once more in parts.

use std::time::SystemTime;

use funnelweb_core::{limits, time};
use funnelweb_stream::{operator::Event, trial::try_out};
use serde_json::Map;

use crate::{
    Fault,
    certificate::{Certificate, Check, Source, Spread},
    certify::said,
    operator::{OwnOperator, STEP_EVENTS},
    sandbox::Spent,
};

/// Tries an operator out with these events.
pub async fn certify(operator: &OwnOperator, scenario_id: &str, source: Source, events: &[Event]) -> Certificate {
    let trial = try_out(operator, events, STEP_EVENTS as usize).await;
    let spent = operator.spent();
    let times = Spread::of(spent.iter().map(Spent::micros).collect());
    let most = u64::try_from(limits::COMPONENT_TIMEOUT.as_micros() / 2).unwrap_or(u64::MAX);
    let slow = format!(
        "99 of 100 calls take up to {} µs of a processor; {most} is the most here, half of the limit",
        times.p99
    );
    let unlike = format!("{} of {} steps have other answers when they are repeated", trial.differing, trial.steps);
    let other = trial.other_sums.first().map(|first| {
        format!("what it adds depends on how the log is cut into steps ({} times): {first}", trial.other_sums.len())
    });
    let checks = vec![
        check("events", events.is_empty().then(|| "there are no events to be taken".to_owned())),
        check("answers", said(trial.failed.iter().map(String::as_str))),
        check("contract", said(trial.broken.iter().map(String::as_str))),
        check("deterministic", (trial.differing > 0).then_some(unlike)),
        check("sums", other),
        check("time", (times.p99 > most).then_some(slow)),
    ];
    Certificate {
        requests: u32::try_from(events.len()).unwrap_or(u32::MAX),
        time_us: times,
        fuel: Spread::of(spent.iter().map(|spent| spent.fuel).collect()),
        memory_bytes: spent.iter().map(|spent| spent.memory_bytes).max().unwrap_or_default(),
        ..of(scenario_id, source, checks)
    }
}

/// Of an operator that does not say what it declares.
#[must_use]
pub fn undeclared(scenario_id: &str, fault: &Fault) -> Certificate {
    let reason = Some(format!("declare: {}", fault.reason));
    of(scenario_id, Source::Samples, vec![check("answers", reason)])
}

fn check(name: &str, detail: Option<String>) -> Check {
    Check { check: name.to_owned(), passed: detail.is_none(), detail: detail.unwrap_or_default() }
}

fn of(scenario_id: &str, source: Source, checks: Vec<Check>) -> Certificate {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Certificate {
        passed: checks.iter().all(|check| check.passed),
        at: time::format_ms(u64::try_from(now.as_millis()).unwrap_or_default()),
        scenario_id: scenario_id.to_owned(),
        params: Map::new(),
        requests: 0,
        source,
        checks,
        time_us: Spread::default(),
        fuel: Spread::default(),
        memory_bytes: 0,
        effect: None,
    }
}

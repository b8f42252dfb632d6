//! What the API answers of components, for people.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

/// The state of a version that is called.
const AT_WORK: &str = "at_work";

#[derive(Deserialize)]
struct List {
    components: Vec<Component>,
}

/// Of a certificate, what a list has of it too.
#[derive(Deserialize)]
struct Verdict {
    passed: bool,
}

#[derive(Deserialize)]
struct Component {
    stage: String,
    world: String,
    active: Option<String>,
    previous: Option<String>,
    canary: Option<Canary>,
    disabled: bool,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Canary {
    version: String,
    percent: f64,
    of: String,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    version: String,
    world: String,
    bytes: u64,
    status: String,
    created_at: String,
    overridden: bool,
    certificate: Option<Verdict>,
    state: State,
}

#[derive(Deserialize)]
struct State {
    calls: String,
    reason: Option<String>,
}

/// A version, as far as its certificate goes.
#[derive(Deserialize)]
struct Certified {
    certificate: Option<Certificate>,
}

#[derive(Deserialize)]
struct Certificate {
    scenario_id: String,
    requests: u64,
    source: String,
    checks: Vec<Check>,
    time_us: Times,
    fuel: Times,
    memory_bytes: u64,
    effect: Option<Effect>,
}

#[derive(Deserialize)]
struct Check {
    check: String,
    passed: bool,
    detail: String,
}

#[derive(Deserialize)]
struct Times {
    p50: u64,
    p99: u64,
    max: Option<u64>,
}

#[derive(Deserialize)]
struct Effect {
    rank_correlation: f64,
    overlap: f64,
    diversity_before: f64,
    diversity_after: f64,
}

#[derive(Deserialize)]
struct Usage {
    calls: u64,
    ok: u64,
    failures: serde_json::Map<String, Value>,
    skipped: serde_json::Map<String, Value>,
    time_us: Times,
    fuel: Times,
    state: String,
    last_failure: Option<String>,
}

/// Components, a line each.
pub(super) fn list(answer: &str) -> anyhow::Result<String> {
    let List { components } = serde_json::from_str(answer)?;
    if components.is_empty() {
        return Ok("there are no components\n".to_owned());
    }
    let width = components.iter().map(|component| component.stage.len()).max().unwrap_or_default();
    Ok(components.iter().map(|component| head(component, width)).collect())
}

/// A component, and a line for each version.
pub(super) fn component(answer: &str) -> anyhow::Result<String> {
    let component: Component = serde_json::from_str(answer)?;
    let mut text = head(&component, 0);
    for version in &component.versions {
        text.push_str("  ");
        text.push_str(&line(version));
    }
    Ok(text)
}

fn head(component: &Component, width: usize) -> String {
    let Component { stage, world, active, previous, canary, disabled, .. } = component;
    let mut parts = vec![match active {
        Some(version) => format!("{version} is active"),
        None => "no version is active".to_owned(),
    }];
    parts.extend(previous.as_ref().map(|version| format!("{version} was before")));
    let canary = canary.as_ref();
    parts.extend(canary.map(|Canary { version, percent, of }| format!("{version} runs for {percent} % of {of}")));
    parts.extend(disabled.then(|| "disabled".to_owned()));
    format!("{stage:<width$}  {world:<9}  {}\n", parts.join(", "))
}

fn line(version: &Version) -> String {
    let mut parts = vec![format!("{} bytes", version.bytes)];
    parts.extend(version.certificate.as_ref().map(|Verdict { passed }| match passed {
        true => "certified".to_owned(),
        false => "NOT certified".to_owned(),
    }));
    parts.extend(version.overridden.then(|| "overridden by an operator".to_owned()));
    let State { calls, reason } = &version.state;
    parts.extend((calls != AT_WORK).then(|| described(calls, reason.as_deref())));
    format!("{:<12}  {:<6}  {}  {}\n", version.version, version.status, version.created_at, parts.join(", "))
}

fn described(state: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}"))
}

/// A version with its certificate.
pub(super) fn version(answer: &str) -> anyhow::Result<String> {
    let version: Version = serde_json::from_str(answer)?;
    let mut text = format!("{} ({})  {}", version.name, version.world, line(&version));
    let Certified { certificate } = serde_json::from_str(answer)?;
    if let Some(certificate) = certificate {
        text.push_str(&report(&certificate)?);
    }
    Ok(text)
}

fn report(certificate: &Certificate) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let Certificate { scenario_id, requests, source, checks, time_us, fuel, memory_bytes, effect } = certificate;
    let source = if source == "samples" { "of the demo's, too few of" } else { "of" };
    // A stream operator is given what was done, not what was asked for.
    let given = if checks.iter().any(|check| check.check == "events") { "behaviours" } else { "requests" };
    writeln!(text, "  {requests} {given} {source} {scenario_id}")?;
    for Check { check, passed, detail } in checks {
        let passed = if *passed { "ok" } else { "FAILED" };
        writeln!(text, "    {}", format!("{check:<14} {passed:<7} {detail}").trim_end())?;
    }
    writeln!(text, "    {:<14} {}", "time", quantiles(time_us, " us"))?;
    writeln!(text, "    {:<14} {}", "fuel", quantiles(fuel, ""))?;
    writeln!(text, "    {:<14} {memory_bytes} bytes", "memory")?;
    if let Some(Effect { rank_correlation, overlap, diversity_before, diversity_after }) = effect {
        writeln!(
            text,
            "    {:<14} rank correlation {rank_correlation:.2}, overlap {overlap:.2}, \
             diversity {diversity_before:.2} to {diversity_after:.2}",
            "effect"
        )?;
    }
    Ok(text)
}

fn quantiles(Times { p50, p99, max }: &Times, unit: &str) -> String {
    let most = max.map(|max| format!(", at most {max}{unit}")).unwrap_or_default();
    format!("p50 {p50}{unit}, p99 {p99}{unit}{most}")
}

/// What a version did.
pub(super) fn usage(answer: &str) -> anyhow::Result<String> {
    let Usage { calls, ok, failures, skipped, time_us, fuel, state, last_failure } = serde_json::from_str(answer)?;
    let mut text = format!("{calls} calls, {ok} ok\n");
    writeln!(text, "  failed   {}", counts(&failures))?;
    writeln!(text, "  skipped  {}", counts(&skipped))?;
    writeln!(text, "  time     {}", quantiles(&time_us, " us"))?;
    writeln!(text, "  fuel     {}", quantiles(&fuel, ""))?;
    writeln!(text, "  state    {}", described(&state, last_failure.as_deref()))?;
    Ok(text)
}

/// Those that are not 0.
fn counts(counts: &serde_json::Map<String, Value>) -> String {
    let some = counts.iter().filter(|(_, count)| count.as_u64() != Some(0));
    let some: Vec<String> = some.map(|(name, count)| format!("{name} {count}")).collect();
    if some.is_empty() { "none".to_owned() } else { some.join(", ") }
}

/// What a version is called.
pub(super) fn named(answer: &str) -> anyhow::Result<(String, String)> {
    let version: Version = serde_json::from_str(answer)?;
    Ok((version.name, version.version))
}

/// Whether a version has a certificate that it passed.
pub(super) fn is_certified(answer: &str) -> anyhow::Result<bool> {
    let version: Version = serde_json::from_str(answer)?;
    Ok(version.certificate.is_some_and(|certificate| certificate.passed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn a_version(certificate: &Value) -> Value {
        json!({
            "name": "boost", "version": "1.0.0", "world": "rerank", "sha256": "00", "bytes": 48211,
            "certificate": certificate, "overridden": false, "status": "ready",
            "state": {"calls": "at_work", "reason": null}, "created_at": "2026-01-31T12:00:00Z"
        })
    }

    fn a_certificate(passed: bool) -> Value {
        let detail = if passed { "" } else { "p99 60000 us is over 50000 us" };
        json!({
            "passed": passed, "at": "2026-01-31T12:01:00Z", "scenario_id": "feed", "params": {}, "requests": 100,
            "source": "recorded",
            "checks": [{"check": "contract", "passed": true, "detail": ""},
                       {"check": "time", "passed": passed, "detail": detail}],
            "time_us": {"p50": 310, "p99": 620, "max": 800}, "fuel": {"p50": 4, "p99": 5, "max": 6},
            "memory_bytes": 1245184,
            "effect": {"rank_correlation": 0.914, "overlap": 0.85, "diversity_before": 0.62, "diversity_after": 0.58}
        })
    }

    fn a_component(canary: &Value, disabled: bool) -> Value {
        json!({
            "name": "boost", "stage": "acme/boost", "world": "rerank", "active": "1.0.0", "previous": null,
            "canary": canary, "disabled": disabled, "created_at": "", "updated_at": "",
            "versions": [a_version(&json!({"passed": true, "at": "2026-01-31T12:01:00Z"}))]
        })
    }

    #[test]
    fn components_are_a_line_each() {
        let canary = json!({"version": "1.1.0", "percent": 2.5, "of": "users"});
        let answer = json!({"components": [a_component(&canary, false), a_component(&json!(null), true)]});
        let expected = "acme/boost  rerank     1.0.0 is active, 1.1.0 runs for 2.5 % of users\n\
                        acme/boost  rerank     1.0.0 is active, disabled\n";
        assert_eq!(list(&answer.to_string()).unwrap(), expected);
        assert_eq!(list(r#"{"components":[]}"#).unwrap(), "there are no components\n");
        let one = component(&a_component(&canary, false).to_string()).unwrap();
        let versions = "  1.0.0         ready   2026-01-31T12:00:00Z  48211 bytes, certified\n";
        assert!(one.ends_with(versions), "{one}");
        let mut rests = a_component(&canary, false);
        rests["versions"][0]["state"] = json!({"calls": "resting", "reason": "it was too late"});
        rests["versions"][0]["overridden"] = json!(true);
        let one = component(&rests.to_string()).unwrap();
        assert!(one.ends_with("certified, overridden by an operator, resting: it was too late\n"), "{one}");
    }

    #[test]
    fn a_certificate_says_what_was_checked() {
        let answer = a_version(&a_certificate(false)).to_string();
        let expected = "\
boost (rerank)  1.0.0         ready   2026-01-31T12:00:00Z  48211 bytes, NOT certified
  100 requests of feed
    contract       ok
    time           FAILED  p99 60000 us is over 50000 us
    time           p50 310 us, p99 620 us, at most 800 us
    fuel           p50 4, p99 5, at most 6
    memory         1245184 bytes
    effect         rank correlation 0.91, overlap 0.85, diversity 0.62 to 0.58
";
        assert_eq!(version(&answer).unwrap(), expected);
        assert!(!is_certified(&answer).unwrap());
        assert!(is_certified(&a_version(&a_certificate(true)).to_string()).unwrap());
        assert!(!is_certified(&a_version(&json!(null)).to_string()).unwrap());
        assert_eq!(named(&answer).unwrap(), ("boost".to_owned(), "1.0.0".to_owned()));
    }

    #[test]
    fn usage_names_what_failed_alone() {
        let mut answer = json!({
            "calls": 12, "ok": 9, "failures": {"trap": 0, "timeout": 2, "contract": 1}, "skipped": {"busy": 0},
            "time_us": {"p50": 310, "p99": 640}, "fuel": {"p50": 4, "p99": 5},
            "state": "resting", "last_failure": "it was too late"
        });
        let expected = "\
12 calls, 9 ok
  failed   contract 1, timeout 2
  skipped  none
  time     p50 310 us, p99 640 us
  fuel     p50 4, p99 5
  state    resting: it was too late
";
        assert_eq!(usage(&answer.to_string()).unwrap(), expected);
        (answer["state"], answer["last_failure"]) = (json!("at_work"), json!(null));
        assert!(usage(&answer.to_string()).unwrap().ends_with("state    at_work\n"));
    }
}

//! Requests that a server has recorded, run again by it.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, bail};
use funnelweb_core::job::{Kind, State};
use funnelweb_import::{Bar, follow};
use serde_json::{Map, Value, json};

use super::client;
use crate::cli::Replay;

/// Runs requests again, and says how they differ; fails when they should not and do.
pub fn replay(args: &Replay) -> anyhow::Result<()> {
    let mut changes = changes(&args.with)?;
    let is_changed = !changes.is_empty();
    let client = client(&args.server, &args.tenant)?;
    let answer = match (&args.request_id, &args.scenario) {
        (Some(request_id), _) => client.replay(request_id, &Value::Object(changes))?,
        (None, Some(scenario)) => {
            changes.insert("last".to_owned(), json!(args.last));
            let begun = client.start_job(scenario, Kind::Replay, &changes)?;
            let mut bar = Bar::default();
            let run = follow(&client, begun, &mut |run| {
                if args.server.json {
                    println!("{}", json!({ "progress": run }));
                } else {
                    bar.show_run(run);
                }
            })?;
            bar.finish();
            match (run.state, run.outcome) {
                (State::Succeeded, Some(outcome)) => outcome,
                (state, _) => bail!("the run {}: {}", state.as_str(), run.error),
            }
        }
        // The arguments ask for one of them.
        (None, None) => bail!("a request, or --scenario"),
    };
    if args.server.json {
        println!("{}", json!({ "report": answer }));
    } else {
        print!("{}", said(&answer, is_changed));
    }
    if !is_changed && !is_identical(&answer) {
        bail!("not all are identical");
    }
    Ok(())
}

/// `config` and `with` from what was given.
fn changes(given: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut changes = Map::new();
    let (files, versions): (Vec<_>, Vec<_>) = given.iter().partition(|one| one.ends_with(".json"));
    match files.as_slice() {
        [] => {}
        [file] => {
            let text = fs::read_to_string(file).with_context(|| format!("--with {file}"))?;
            let config: Map<String, Value> =
                serde_json::from_str(&text).with_context(|| format!("--with {file}: must be a JSON object"))?;
            changes.insert("config".to_owned(), Value::Object(config));
        }
        [_, second, ..] => bail!("--with {second}: one config at a time"),
    }
    if !versions.is_empty() {
        changes.insert("with".to_owned(), json!(versions));
    }
    Ok(changes)
}

/// Of one request, or of many.
fn is_identical(answer: &Value) -> bool {
    match &answer["identical"] {
        Value::Bool(identical) => *identical,
        identical => *identical == answer["requests"] && answer["failures"] == 0,
    }
}

/// For people.
fn said(answer: &Value, is_changed: bool) -> String {
    let mut text = String::new();
    // A string takes everything.
    if is_changed {
        let _ = writeln!(text, "{:#}", answer["comparison"]);
        for (name, value) in
            [("degraded", &answer["degraded"]), ("drifted", &answer["drifted"]), ("failures", &answer["failures"])]
        {
            if !value.is_null() {
                let _ = writeln!(text, "{name}: {value}");
            }
        }
    } else if let Some(requests) = answer["requests"].as_u64() {
        let _ = writeln!(text, "{requests} requests, {} identical, {} failed", answer["identical"], answer["failures"]);
    } else {
        let same = if is_identical(answer) { "identical" } else { "not identical" };
        let _ = writeln!(text, "{}: {same}", answer["request_id"].as_str().unwrap_or_default());
    }
    let listed = answer["differing"].as_array().into_iter().chain(answer["failed"].as_array()).flatten();
    for one in listed {
        let _ = writeln!(text, "{}: {}", one["request_id"].as_str().unwrap_or_default(), differences(one));
    }
    if let Some(differences) = answer["differences"].as_array() {
        for difference in differences {
            let _ = writeln!(text, "  {}", difference.as_str().unwrap_or_default());
        }
    }
    text
}

fn differences(one: &Value) -> String {
    let reason = one["reason"].as_str().map(str::to_owned);
    let listed =
        one["differences"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "));
    reason.or(listed.filter(|listed| !listed.is_empty())).unwrap_or_else(|| "other bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_a_version_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, r#"{"rank":{"model":"deepfm"}}"#).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let all = changes(&["acme/boost@2.0.0".to_owned(), file.clone()]).unwrap();
        assert_eq!(all["with"], json!(["acme/boost@2.0.0"]));
        assert_eq!(all["config"]["rank"]["model"], "deepfm");
        assert!(changes(&[]).unwrap().is_empty());
        assert!(changes(&[file.clone(), file]).unwrap_err().to_string().contains("one config"));
        assert!(changes(&["missing.json".to_owned()]).is_err());
    }

    #[test]
    fn it_says_what_differs() {
        let same = json!({"requests": 2, "identical": 2, "differing": [], "failures": 0, "failed": []});
        assert_eq!((said(&same, false).as_str(), is_identical(&same)), ("2 requests, 2 identical, 0 failed\n", true));
        let other = json!({"requests": 2, "identical": 1, "failures": 0, "failed": [],
            "differing": [{"request_id": "r1", "differences": ["rank `linear` answered otherwise"]}]});
        assert!(said(&other, false).contains("r1: rank `linear` answered otherwise") && !is_identical(&other));
        let one =
            json!({"request_id": "r1", "identical": false, "differences": ["features `features` answered otherwise"]});
        assert_eq!(said(&one, false), "r1: not identical\n  features `features` answered otherwise\n");
    }
}

//! Jobs of a running server.

use anyhow::{Context as _, bail};
use funnelweb_core::job::{Kind, State};
use funnelweb_import::{Bar, Client, Run, follow};
use serde_json::{Map, Value, json};

use super::{client, runtime};
use crate::cli::{Jobs, JobsCancel, JobsList, Train};

/// Has jobs done, and waits for them; fails when one of them does.
pub fn train(args: Train) -> anyhow::Result<()> {
    let params: Map<String, Value> = serde_json::from_str(&args.params).context("--params: must be a JSON object")?;
    let client = client(&args.server, &args.tenant)?;
    let tenant = args.tenant.clone();
    let runtime = runtime()?;
    let work = runtime.spawn_blocking(move || each(&client, &args, &params));
    let result = runtime.block_on(async {
        tokio::select! {
            result = work => result?,
            signal = tokio::signal::ctrl_c() => {
                signal.context("waiting for a signal")?;
                bail!("left; what was begun goes on: `funnelweb jobs list --tenant {tenant}` shows it, `funnelweb jobs cancel --tenant {tenant} RUN` stops it")
            }
        }
    });
    // The thread may be waiting for the server still.
    runtime.shutdown_background();
    result
}

fn each(client: &Client, args: &Train, params: &Map<String, Value>) -> anyhow::Result<()> {
    let mut bar = Bar::default();
    for kind in args.jobs.iter().copied().map(Kind::from) {
        let begun = client.start_job(&args.scenario, kind, params)?;
        if args.no_wait {
            println!("{}", serde_json::to_string(&begun)?);
            continue;
        }
        let run = follow(client, begun, &mut |run| {
            if args.server.json {
                println!("{}", json!({"progress": run}));
            } else {
                bar.show_run(run);
            }
        })?;
        bar.finish();
        report(&run, args.server.json)?;
    }
    Ok(())
}

fn report(run: &Run, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", json!({"report": run}));
    } else if let Some(outcome) = &run.outcome {
        println!("{}: {}", run.kind.as_str(), serde_json::to_string_pretty(outcome)?);
    }
    match run.state {
        State::Succeeded => Ok(()),
        State::Failed => bail!("{} failed: {}", run.kind.as_str(), run.error),
        State::Cancelled => bail!("{} was cancelled", run.kind.as_str()),
        State::Queued | State::Running => bail!("{} is not over", run.kind.as_str()),
    }
}

/// Shows runs, or stops one.
pub fn run(command: &Jobs) -> anyhow::Result<()> {
    match command {
        Jobs::List(args) => list(args),
        Jobs::Cancel(args) => cancel(args),
    }
}

fn list(args: &JobsList) -> anyhow::Result<()> {
    let client = client(&args.server, &args.tenant)?;
    for run in client.jobs(args.scenario.as_deref(), args.job.map(Into::into), args.limit)? {
        if args.server.json {
            println!("{}", serde_json::to_string(&run)?);
            continue;
        }
        let Run { run_id, scenario_id, kind, state, percent, created_at, phase, error, .. } = &run;
        let note = if error.is_empty() { phase } else { error };
        let (kind, state) = (kind.as_str(), state.as_str());
        println!("{run_id}  {created_at}  {scenario_id}  {kind:<10}  {state:<9}  {percent:>3.0} %  {note}");
    }
    Ok(())
}

fn cancel(args: &JobsCancel) -> anyhow::Result<()> {
    let run = client(&args.server, &args.tenant)?.cancel_job(&args.run)?;
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

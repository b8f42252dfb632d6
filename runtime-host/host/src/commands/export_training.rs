//! What rankers are trained from.

use std::path::Path;

use anyhow::Context as _;
use funnelweb_core::scenario::Behaviors;
use funnelweb_import::{Progress, Unit};
use funnelweb_training_export::{Actions, Clicks, Options, Progress as Exported, Shares, Sources};

use super::{folder, moving, now_ms, scenario, shower};
use crate::{cli::ExportTraining, runtime_config::RuntimeConfig};

/// Writes what a scenario has shown, with what users did with it, to a file.
pub async fn export(args: &ExportTraining) -> anyhow::Result<()> {
    let config = RuntimeConfig::load_or_default(args.stores.runtime_config.as_deref())?;
    let tenant = moving::tenant(&args.tenant)?;
    let beside = folder(args.out.parent().unwrap_or(Path::new("")));
    let scratch = tempfile::Builder::new().prefix(".export-").tempdir_in(beside);
    let scratch = scratch.with_context(|| format!("making a folder in {}", beside.display()))?;
    // Stores that are served are copied before the clock is read: what is known ends there.
    let stores = moving::snapshot(&config, &args.stores.data_dir, &tenant, scratch.path()).await?;
    let scenario = scenario::stored(&stores, &tenant, &args.scenario).await?;
    let options = options(args, scenario.config.behaviors);
    let from = Sources { tenant: &tenant, exposures: stores.exposures.as_ref(), events: stores.events.as_ref() };
    let mut show = shower(args.stores.json);
    let mut show = |progress: &Exported<'_>| {
        let &Exported { task, done, total } = progress;
        show(&Progress { task, unit: Unit::Lines, done, total: total.unwrap_or(0), lines: done, failed: 0 });
    };
    let report = funnelweb_training_export::export(from, &options, &args.out, now_ms(), &mut show).await?;
    moving::report(args.stores.json, &report)
}

fn options(args: &ExportTraining, behaviors: Behaviors) -> Options {
    let clicks = match args.click_actions.is_empty() {
        true => Clicks::Weighing(behaviors),
        false => Clicks::Named(args.click_actions.iter().cloned().collect()),
    };
    Options {
        scenario_id: args.scenario.clone(),
        // What is no time at all becomes 0, which is refused.
        window_ms: (args.window_hours * 3_600_000.0).round() as u64,
        from_ms: args.from,
        until_ms: args.until,
        shares: Shares { valid: args.valid, test: args.test },
        actions: Actions { clicks, conversions: args.conversion_actions.iter().cloned().collect() },
        only_seen: args.only_seen,
        unfinished: args.unfinished,
        force: args.force,
    }
}

//! What is evaluated: files, or a tenant's scenario; and how it is split.

use anyhow::{Context as _, bail};
use funnelweb_core::scenario::Scenario;
use funnelweb_evaluation::{
    Material,
    split::{self, Config, Cut, Kind, Split},
};
use funnelweb_factor_documents::store::Collection;
use funnelweb_tenant_store::Tenant;
use futures::TryStreamExt as _;

use super::super::{moving, scenario};
use crate::{
    cli::{Evaluate, Part},
    runtime_config::RuntimeConfig,
};

/// What is evaluated.
pub(super) struct Evaluated {
    pub(super) title: String,
    pub(super) scenario: Scenario,
    pub(super) material: Material,
    pub(super) places: Places,
}

/// Which events come from where.
#[derive(Default)]
pub(super) struct Places {
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
}

const DEFAULT_SCENARIO: &[u8] = include_bytes!("../../../../config/scenarios/evaluation.json");
/// Events that are read at once.
const PAGE: u32 = 1000;

/// Reads it.
pub(super) async fn load(args: &Evaluate) -> anyhow::Result<Evaluated> {
    match (&args.tenant, &args.scenario_id) {
        (Some(tenant), Some(scenario_id)) => from_stores(args, tenant, scenario_id).await,
        _ => tokio::task::block_in_place(|| from_files(args)),
    }
}

fn scenario_file(args: &Evaluate) -> anyhow::Result<Option<Scenario>> {
    let Some(path) = &args.scenario else { return Ok(None) };
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    scenario::parse(&text).with_context(|| path.display().to_string()).map(Some)
}

fn from_files(args: &Evaluate) -> anyhow::Result<Evaluated> {
    let scenario = match scenario_file(args)? {
        Some(scenario) => scenario,
        None => scenario::parse(DEFAULT_SCENARIO).context("the scenario of an evaluation")?,
    };
    let mut material = Material::default();
    let mut places = Places::default();
    if let Some(items) = &args.items {
        material.add_items(items, args.items_mapping.as_deref(), &scenario.scenario_id)?;
    }
    let mut add = |path| {
        let behaviors = &scenario.config.behaviors;
        material.add_behaviors(path, args.mapping.as_deref(), &scenario.scenario_id, behaviors)
    };
    for path in &args.behaviors {
        places.train.extend(add(path)?);
    }
    for (file, part) in [(&args.validation, &mut places.validation), (&args.test, &mut places.test)] {
        part.extend(file.as_deref().map(&mut add).transpose()?.into_iter().flatten());
    }
    let names = args.behaviors.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
    let title = names.collect::<Vec<_>>().join(", ");
    Ok(Evaluated { title, scenario, material, places })
}

/// A scenario of a tenant as it was at one moment.
async fn from_stores(args: &Evaluate, tenant: &str, scenario_id: &str) -> anyhow::Result<Evaluated> {
    let config = RuntimeConfig::load_or_default(args.runtime_config.as_deref())?;
    let tenant = Tenant::new(tenant).with_context(|| format!("tenant `{tenant}`"))?;
    let scratch = tempfile::tempdir().context("making a scratch folder")?;
    let stores = moving::snapshot(&config, &args.data_dir, &tenant, scratch.path()).await?;
    let stored = scenario::stored(&stores, &tenant, scenario_id).await?;
    let mut scenario = scenario_file(args)?.unwrap_or(stored);
    scenario.scenario_id = scenario_id.to_owned();
    let mut material = Material::default();
    let mut items = stores.documents.walk(&tenant, Collection::Items);
    while let Some(page) = items.try_next().await? {
        for item in page.iter().filter(|item| item.key.scenario_id == scenario_id) {
            let fault = |message| anyhow::anyhow!("item `{}`: {message}", item.key.id);
            material.add_item(&item.body).map_err(fault)?;
        }
    }
    drop(items);
    let mut offset = 0;
    loop {
        let page = stores.events.read(&tenant, offset, PAGE).await?;
        let Some(last) = page.last() else { break };
        offset = last.offset + 1;
        for event in page.iter().map(|stored| &stored.event).filter(|event| event.scenario_id == scenario_id) {
            let fault = |message| anyhow::anyhow!("event `{}`: {message}", event.event_id);
            material.add_behavior(&event.body, &scenario.config.behaviors).map_err(fault)?;
        }
    }
    let places = Places { train: (0..material.data.events.len()).collect(), ..Places::default() };
    Ok(Evaluated { title: format!("{}, scenario {scenario_id}", tenant.as_str()), scenario, material, places })
}

/// Splits it.
pub(super) fn split(args: &Evaluate, material: &Material, places: Places) -> anyhow::Result<Split> {
    let data = &material.data;
    let config = Config { kind: args.split.0, min_history: args.min_history, seed: args.seed };
    let mut split = match (&args.test, args.part) {
        (Some(_), Part::Test) => split::fixed(data, places.train, places.test, args.min_history)?,
        (Some(_), Part::Validation) if args.validation.is_none() => {
            bail!("--part validation of a fixed split needs --validation")
        }
        (Some(_), Part::Validation) => split::fixed(data, places.train, places.validation, args.min_history)?,
        (None, Part::Test) => split::within(data, places.train, &config)?,
        (None, Part::Validation) => split::within(data, split::within(data, places.train, &config)?.train, &config)?,
    };
    if args.users == Some(0) {
        bail!("--users must be at least 1");
    }
    split.sample(args.users.unwrap_or(usize::MAX), args.seed);
    Ok(split)
}

/// How it is split, in words.
pub(super) fn describe(args: &Evaluate) -> String {
    let how = match (&args.test, args.split.0) {
        (Some(_), _) => "a fixed split".to_owned(),
        (None, Kind::LeaveLastOut) => "of each user, the last new item is asked for".to_owned(),
        (None, Kind::Time(Cut::At(at_ms))) => {
            format!("what happened from {} on is asked for", funnelweb_core::time::format_ms(at_ms))
        }
        (None, Kind::Time(Cut::Share(share))) => {
            format!("what happened after the first {} % of the behaviours is asked for", share * 100.0)
        }
        (None, Kind::UserHoldout { users, history }) => format!(
            "{} % of the users are held out; of each, the first {} % of the items are folded in and the others asked for",
            users * 100.0,
            history * 100.0
        ),
    };
    match args.part {
        Part::Test => how,
        Part::Validation => format!("{how}; the validation part"),
    }
}

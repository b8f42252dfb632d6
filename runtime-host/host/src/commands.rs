//! What each command does.
#![allow(clippy::print_stdout, reason = "a command line writes to standard output")]

mod component;
mod evaluate;
mod export_training;
mod jobs;
mod moving;
mod replay;
mod scenario;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::Command as Process,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, bail};
use funnelweb_demo::{Size, World};
use funnelweb_factor_documents::store::{Collection, Key, Tenant};
use funnelweb_import::{Bar, Client, Progress};
use funnelweb_manifest::Manifest;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::{App, Options},
    cli::{Check, Command, Demo, Import, ManifestArgs, ServerArgs, Up, VariableArgs},
    runtime_config::RuntimeConfig,
    stores::Stores,
};

/// Runs a command.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(args) => runtime()?.block_on(up(args)),
        Command::Build(args) => build(&args),
        Command::Check(args) => check(&args),
        Command::Import(args) => import(args),
        Command::Demo(args) => demo(&args),
        Command::Train(args) => jobs::train(args),
        Command::Jobs(command) => jobs::run(&command),
        Command::Component(command) => component::run(&command),
        Command::Evaluate(args) => runtime()?.block_on(evaluate::evaluate(&args)),
        Command::Replay(args) => replay::replay(&args),
        Command::Export(args) => runtime()?.block_on(moving::export(&args)),
        Command::ExportTraining(args) => runtime()?.block_on(export_training::export(&args)),
        Command::ImportAll(args) => runtime()?.block_on(moving::import_all(&args)),
        Command::Backup(args) => moving::backup(&args),
        Command::Restore(args) => moving::restore(&args),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

async fn up(args: Up) -> anyhow::Result<()> {
    let start = Instant::now();
    let config = RuntimeConfig::load_or_default(args.runtime_config.as_deref())?;
    let stores = Stores::open(&config, &args.data_dir).await?;
    let options = Options {
        manifest: args.manifest.manifest,
        data_dir: args.data_dir,
        variables: variables(&args.variables)?,
        sync: config.sync,
        components: config.components.into(),
    };
    // Compiling takes all cores for a while; nothing else runs yet.
    let app = tokio::task::block_in_place(|| App::load(&options, stores))?;
    // Before the first request can be taken, so that a signal never cuts one off.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let jobs = app.jobs.clone();
    let streams = app.streams().await?;
    let (server, stores) = app.listen(args.listen).await?;
    jobs.spawn();
    let streams = streams.map(|streams| streams.spawn());
    let address = server.address();
    println!("Listening on http://{address} (ready in {} ms)", start.elapsed().as_millis());
    let session = async {
        if args.demo {
            show_demo(address, &stores).await?;
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    let result = tokio::select! {
        result = session => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    tracing::info!("draining");
    server.drain().await;
    jobs.drain().await;
    if let Some(streams) = streams {
        streams.stop().await;
    }
    stores.recordings.drain().await;
    stores.live.flush().await;
    result
}

fn variables(given: &VariableArgs) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').with_context(|| format!("--variable {text}: expected NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    given.variables.iter().map(pair).collect()
}

/// Loads the demo unless it is there, asks for a first recommendation, and shows
/// both question and answer.
async fn show_demo(address: SocketAddr, stores: &Stores) -> anyhow::Result<()> {
    let url = format!("http://{address}");
    let worlds = funnelweb_demo::worlds(Size::default(), funnelweb_demo::SEED, now_ms())?;
    let tenant = Tenant::new(funnelweb_demo::TENANT).context("the demo's tenant")?;
    let mut absent = Vec::new();
    for world in worlds {
        let key = Key::new(world.scenario_id(), world.scenario_id());
        if stores.documents.get(&tenant, Collection::Scenarios, key).await?.is_none() {
            absent.push(world);
        }
    }
    let answer = tokio::task::spawn_blocking({
        let url = url.clone();
        move || {
            let client = Client::new(&url, funnelweb_demo::TENANT)?;
            let mut bar = Bar::default();
            for world in &absent {
                funnelweb_import::load_demo(&client, world, &mut |progress| bar.show(progress))?;
                funnelweb_import::load_demo_model(&client, world)?;
            }
            bar.finish();
            let scenario = funnelweb_demo::Kind::Vlog.scenario_id();
            client.recommend("user_0001", scenario, 10, &json!({"device_type": "mobile"}))
        }
    })
    .await??;
    println!("\nA first recommendation:\n\n{}\n", funnelweb_demo::curl(&url));
    println!("{}\n", serde_json::to_string_pretty(&answer)?);
    println!("The API, to read and to try: {url}/docs");
    Ok(())
}

fn build(args: &ManifestArgs) -> anyhow::Result<()> {
    let manifest = Manifest::load(&args.manifest)?;
    for (id, component) in &manifest.components {
        let Some(build) = &component.build else { continue };
        for command in &build.commands {
            println!("{id}: {command}");
            let status = Process::new("sh").arg("-c").arg(command).current_dir(folder(&build.workdir)).status()?;
            if !status.success() {
                bail!("{id}: `{command}` failed: {status}");
            }
        }
    }
    Ok(())
}

/// A relative folder may be empty, which a process does not take for « here ».
fn folder(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn check(args: &Check) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir().context("making a scratch folder")?;
    let manifest = args.manifest.manifest.clone();
    let variables = variables(&args.variables)?;
    let options = Options {
        manifest,
        data_dir: scratch.path().to_owned(),
        variables,
        sync: None,
        components: Default::default(),
    };
    let stores = Stores::embedded(scratch.path())?;
    runtime()?.block_on(async { tokio::task::block_in_place(|| App::load(&options, stores)) })?;
    println!("{}: every component fits", args.manifest.manifest.display());
    Ok(())
}

fn client(server: &ServerArgs, tenant: &str) -> anyhow::Result<Client> {
    Ok(Client::new(&server.url, tenant)?.with_token(&server.token)?)
}

/// Shows progress as a bar on a terminal, or as JSON lines.
fn shower(json: bool) -> impl FnMut(&Progress<'_>) {
    let mut bar = Bar::default();
    move |progress| {
        if json {
            println!("{}", json!({"progress": progress}));
        } else {
            bar.show(progress);
        }
    }
}

fn import(args: Import) -> anyhow::Result<()> {
    let client = client(&args.server, &args.tenant)?;
    let options = funnelweb_import::Options {
        mapping: args.mapping,
        kind: args.kind.map(Into::into),
        on_duplicate: args.on_duplicate.into(),
        state_dir: args.state_dir,
        restart: args.restart,
        ..funnelweb_import::Options::new(args.source, args.scenario)
    };
    let report = funnelweb_import::run(&client, &options, &mut shower(args.server.json))?;
    if args.server.json {
        println!("{}", json!({"report": report}));
    } else {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    if report.batch.failed > 0 {
        bail!("{} lines were refused; the first of them stand in the report", report.batch.failed);
    }
    Ok(())
}

/// Items of a slate that the demo's users are shown.
const SLATE: u32 = 20;

fn demo(args: &Demo) -> anyhow::Result<()> {
    let client = client(&args.server, &args.tenant)?;
    let size = Size { items: args.items, users: args.users, events: args.events };
    let kinds = args.world.map_or_else(|| funnelweb_demo::Kind::ALL.to_vec(), |world| vec![world.into()]);
    let mut show = shower(args.server.json);
    for kind in kinds {
        let world = World::new(kind, size, args.seed, now_ms())?;
        if !args.only_visits {
            let loaded = funnelweb_import::load_demo(&client, &world, &mut show)?;
            funnelweb_import::load_demo_model(&client, &world)?;
            println!("{}", json!({"scenario_id": world.scenario_id(), "loaded": loaded}));
        }
        if args.visits > 0 {
            let visited = funnelweb_import::visit_demo(&client, &world, args.visits, SLATE, &mut show)?;
            println!("{}", json!({"scenario_id": world.scenario_id(), "visited": visited}));
        }
    }
    Ok(())
}

fn now_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

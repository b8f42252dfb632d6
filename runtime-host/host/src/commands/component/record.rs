//! `funnelweb component record`: requests of a tenant's users, as stages see them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write as _},
    time::Duration,
};

use anyhow::{Context as _, bail};
use flate2::{Compression, write::GzEncoder};
use funnelweb_bindings::Recorded;
use funnelweb_core::limits;
use funnelweb_factor_documents::store::{Collection, Query};
use funnelweb_tenant_store::{DataDirLock, Tenant};

use super::super::runtime;
use crate::{
    app::{App, Options},
    cli::component::Record,
    stores::Stores,
};

/// Records and writes.
pub(super) fn run(args: &Record) -> anyhow::Result<()> {
    if !(1..=limits::RECORDED_REQUESTS as u32).contains(&args.count) {
        bail!("--count: must be 1 to {}, got {}", limits::RECORDED_REQUESTS, args.count);
    }
    runtime()?.block_on(record(args))
}

async fn record(args: &Record) -> anyhow::Result<()> {
    let tenant = Tenant::new(&args.tenant).with_context(|| format!("--tenant {}", args.tenant))?;
    let _lock = DataDirLock::take(&args.data_dir).context("data directory")?;
    let stores = Stores::embedded(&args.data_dir)?;
    let options = Options {
        manifest: args.manifest.manifest.clone(),
        data_dir: args.data_dir.clone(),
        variables: BTreeMap::new(),
        sync: None,
        components: Default::default(),
    };
    let app = tokio::task::block_in_place(|| App::load(&options, stores))?;
    let query = Query { scenario_id: Some(args.scenario.clone()), limit: args.count, ..Query::default() };
    let users = app.stores.documents.query(&tenant, Collection::UserProfiles, query).await?;
    for user in users.documents {
        app.recommend(&tenant, &args.scenario, &user.key.id).await?;
        tokio::time::sleep(limits::RECORDED_EVERY + Duration::from_millis(1)).await;
    }
    let requests = app.stores.recorder.recent(&tenant, &args.scenario);
    if requests.is_empty() {
        bail!(
            "scenario `{}` of tenant `{tenant}` has no users to ask for, or it recommends them nothing",
            args.scenario
        );
    }
    let file = File::create(&args.out).with_context(|| args.out.display().to_string())?;
    let mut to = GzEncoder::new(BufWriter::new(file), Compression::best());
    Recorded::write(&requests, &mut to)?;
    to.finish()?.flush()?;
    println!("{} requests in {}", requests.len(), args.out.display());
    Ok(())
}

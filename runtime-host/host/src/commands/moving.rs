//! Moving tenants between stores, and keeping copies of embedded ones.

use std::path::Path;

use anyhow::{Context as _, bail};
use funnelweb_import::{Progress, Unit};
use funnelweb_migration::{Error, Progress as Moved};
use funnelweb_tenant_store::{Tenant, copy_tenant, tenant_file, tenants_folder};
use serde::Serialize;
use serde_json::json;

use super::{folder, now_ms, shower};
use crate::{
    cli::{Backup, Export, ImportAll, Restore},
    runtime_config::{DocumentsBackend, RuntimeConfig},
    stores::Stores,
};

/// Writes everything that a tenant has to a file.
pub async fn export(args: &Export) -> anyhow::Result<()> {
    let config = RuntimeConfig::load_or_default(args.stores.runtime_config.as_deref())?;
    let tenant = tenant(&args.tenant)?;
    let beside = folder(args.file.parent().unwrap_or(Path::new("")));
    let scratch = tempfile::Builder::new().prefix(".export-").tempdir_in(beside);
    let scratch = scratch.with_context(|| format!("making a folder in {}", beside.display()))?;
    let stores = snapshot(&config, &args.stores.data_dir, &tenant, scratch.path()).await?;
    let json = args.stores.json;
    let exported = funnelweb_migration::export(stores.of(&tenant), &args.file, now_ms(), &mut show(json)).await?;
    report(json, &exported)
}

/// Stores of a tenant to read from; of embedded ones a copy in `scratch`.
///
/// Embedded stores may be served by another process, which keeps in memory what is
/// in them: the copy is of one moment.
pub async fn snapshot(
    config: &RuntimeConfig,
    data_dir: &Path,
    tenant: &Tenant,
    scratch: &Path,
) -> anyhow::Result<Stores> {
    let is_there = tenant_file(data_dir, tenant).exists();
    if config.stores.documents == DocumentsBackend::Embedded || config.stores.any_embedded() && is_there {
        let copies = tenants_folder(scratch);
        std::fs::create_dir(&copies).with_context(|| format!("making {}", copies.display()))?;
        copy_tenant(data_dir, tenant, &tenant_file(scratch, tenant))?;
    }
    Stores::open(config, scratch).await
}

/// Puts an export into stores.
pub async fn import_all(args: &ImportAll) -> anyhow::Result<()> {
    let config = RuntimeConfig::load_or_default(args.stores.runtime_config.as_deref())?;
    let header = funnelweb_migration::header(&args.file)?;
    let tenant = tenant(args.tenant.as_ref().unwrap_or(&header.tenant))?;
    let stores = Stores::open(&config, &args.stores.data_dir).await?;
    let json = args.stores.json;
    let imported =
        funnelweb_migration::import(&args.file, stores.of(&tenant), args.resume, &now_ms, &mut show(json)).await;
    let again = "the import is not complete; repeat it with --resume";
    let imported = match imported {
        Err(error @ Error::Store { .. }) => return Err(error).context(again),
        imported => imported?,
    };
    report(json, &imported)?;
    let different: Vec<String> = imported.different().iter().map(ToString::to_string).collect();
    if !different.is_empty() {
        bail!("what was read back is not what the file has: {}; {again}", different.join(", "));
    }
    Ok(())
}

/// Copies embedded stores.
pub fn backup(args: &Backup) -> anyhow::Result<()> {
    let only = args.tenant.as_ref().map(tenant).transpose()?;
    let report_of =
        funnelweb_migration::backup(&args.data_dir, only.as_ref(), &args.folder, now_ms(), &mut show(args.json))?;
    report(args.json, &report_of)
}

/// Puts copies into a data directory.
pub fn restore(args: &Restore) -> anyhow::Result<()> {
    report(args.json, &funnelweb_migration::restore(&args.folder, &args.data_dir, &mut show(args.json))?)
}

/// A tenant by its id.
pub(super) fn tenant(id: impl AsRef<str>) -> anyhow::Result<Tenant> {
    let id = id.as_ref();
    Tenant::new(id).with_context(|| format!("tenant `{id}`"))
}

/// Shows progress as a bar on a terminal, or as JSON lines.
fn show(json: bool) -> impl FnMut(&Moved<'_>) {
    let mut show = shower(json);
    let mut last = (String::new(), 0);
    move |Moved { task, done, total }| {
        // Records come one by one, and are many.
        let is_new = last.0 != *task || *done >= last.1 + STEP || Some(*done) == *total;
        if is_new {
            last = ((*task).to_owned(), *done);
            let total = total.unwrap_or(0);
            show(&Progress { task, unit: Unit::Lines, done: *done, total, lines: *done, failed: 0 });
        }
    }
}

/// Records after which progress is shown again.
const STEP: u64 = 1000;

/// Prints what came of it.
pub(super) fn report(json: bool, report: &impl Serialize) -> anyhow::Result<()> {
    if json {
        println!("{}", json!({"report": report}));
    } else {
        println!("{}", serde_json::to_string_pretty(report)?);
    }
    Ok(())
}

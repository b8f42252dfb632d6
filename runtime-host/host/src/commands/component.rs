//! Components that are written elsewhere: their projects, and what a server does with
//! them.

mod build;
mod new;
mod project;
mod record;
mod show;
mod test;
mod upload;

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use funnelweb_import::Client;
use serde_json::{Map, Value};

use self::project::Project;
use super::client;
use crate::cli::component::{Activate, Canary, Certify, Component, Delete, Named, Push, Tenant, Version};

/// Runs a command.
pub fn run(command: &Component) -> anyhow::Result<()> {
    match command {
        Component::New(args) => new::new(args),
        Component::Build(args) => build::build(&args.folder),
        Component::Test(args) => test::run(args),
        Component::Record(args) => record::run(args),
        Component::Push(args) => push(args),
        Component::Certify(args) => certify(args),
        Component::Activate(args) => activate(args),
        Component::Canary(args) => canary(args),
        Component::Rollback(args) => {
            told(&args.of, &connect(&args.of)?.roll_back_component(&args.name)?, show::component)
        }
        Component::Disable(args) => set_disabled(args, true),
        Component::Enable(args) => set_disabled(args, false),
        Component::Delete(Delete { name, version, of }) => Ok(connect(of)?.delete_component(name, version.as_deref())?),
        Component::Logs(args) => logs(args),
        Component::Usage(Version { name, version, of }) => {
            told(of, &connect(of)?.component_usage(name, version)?, show::usage)
        }
        Component::List(args) => told(args, &connect(args)?.components()?, show::list),
    }
}

fn connect(of: &Tenant) -> anyhow::Result<Client> {
    client(&of.server, &of.tenant)
}

/// Prints an answer: as it came, or for people.
fn told(of: &Tenant, answer: &str, show: impl Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<()> {
    if of.server.json {
        println!("{answer}");
    } else {
        print!("{}", show(answer).context("the server's answer")?);
    }
    Ok(())
}

fn params(text: Option<&str>) -> anyhow::Result<Option<Map<String, Value>>> {
    text.map(|text| serde_json::from_str(text).context("--params: must be a JSON object")).transpose()
}

fn push(args: &Push) -> anyhow::Result<()> {
    let params = params(args.params.as_deref())?;
    let client = connect(&args.of)?;
    let answer = client.push_component(&built(&args.path)?)?;
    told(&args.of, &answer, show::version)?;
    let (name, version) = show::named(&answer)?;
    if let Some(scenario) = &args.certify {
        certified(&args.of, &client.certify_component(&name, &version, scenario, params.as_ref())?)?;
    }
    if args.activate {
        told(&args.of, &client.activate_component(&name, &version, false)?, show::component)?;
    }
    Ok(())
}

/// What was built: a file, or that of a project.
fn built(path: &Path) -> anyhow::Result<Vec<u8>> {
    if !path.is_dir() {
        return fs::read(path).with_context(|| format!("reading {}", path.display()));
    }
    Project::load(path)?.component()
}

fn certify(Certify { version, scenario, params: given }: &Certify) -> anyhow::Result<()> {
    let params = params(given.as_deref())?;
    let Version { name, version, of } = version;
    certified(of, &connect(of)?.certify_component(name, version, scenario, params.as_ref())?)
}

/// Shows a certificate; one that was not passed is a failure.
fn certified(of: &Tenant, answer: &str) -> anyhow::Result<()> {
    told(of, answer, show::version)?;
    if !show::is_certified(answer)? {
        bail!("it is not certified");
    }
    Ok(())
}

fn activate(Activate { version, is_override, operator_token }: &Activate) -> anyhow::Result<()> {
    let Version { name, version, of } = version;
    let mut client = connect(of)?;
    if let Some(token) = operator_token.as_ref().filter(|_| *is_override) {
        client = client.with_operator_token(token)?;
    }
    told(of, &client.activate_component(name, version, *is_override)?, show::component)
}

fn canary(Canary { name, version, percent, share, of, .. }: &Canary) -> anyhow::Result<()> {
    let canary = version.as_ref().zip(*percent);
    let canary = canary.map(|(version, percent)| funnelweb_import::Canary { version, percent, of: share.as_str() });
    told(of, &connect(of)?.set_component_canary(name, canary)?, show::component)
}

fn set_disabled(Named { name, of }: &Named, disabled: bool) -> anyhow::Result<()> {
    told(of, &connect(of)?.set_component_disabled(name, disabled)?, show::component)
}

/// As it was printed, whether or not JSON is wanted.
fn logs(Version { name, version, of }: &Version) -> anyhow::Result<()> {
    print!("{}", connect(of)?.component_logs(name, version)?);
    Ok(())
}

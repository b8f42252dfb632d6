//! What was built, in a server: each component is pushed, certified, activated, run, looked
//! at, disabled and deleted, by the product's own command line.

use std::{
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{TENANT, funnelweb, within};
use crate::{server::Server, shell::capture};

/// The version of every template.
const VERSION: &str = "0.1.0";
/// Time for a component to do what it was activated for. One that is late the first time, on
/// a busy machine, is not the second.
const SOON: Duration = Duration::from_secs(20);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// What a scenario has to recommend.
const ITEMS: &str = r#"[
    {"item_id": "i1", "metadata": {"title": "One", "category": "news", "quality": 0.9, "price": 3}},
    {"item_id": "i2", "metadata": {"title": "Two", "category": "music", "quality": 0.5, "price": 2}},
    {"item_id": "i3", "metadata": {"title": "Three", "category": "music", "quality": 0.1, "price": 1}},
    {"item_id": "i4", "metadata": {"title": "Four"}}]"#;

/// A project that was built.
pub struct Built {
    pub folder: PathBuf,
    /// What its component is called, and here its scenario, too.
    pub name: String,
    pub world: String,
}

/// Has every component run in a server that takes uploads of so many bytes.
pub fn test(root: &Path, upload_bytes: u32, built: &[Built]) -> Result<()> {
    println!("==> a server for what was built of templates");
    let config = format!("[components]\nupload_bytes = {upload_bytes}\n");
    let server = Server::start(root, &root.join("target/templates/server"), &config)?;
    for project in built {
        println!("==> template {} in the server", project.name);
        let begin = Instant::now();
        let cli = Cli { root, server: &server, folder: &project.folder };
        if let Err(error) = test_one(&cli, project) {
            eprintln!("the server's log:\n{}", server.log());
            return Err(error.context(format!("template {} in the server", project.name)));
        }
        println!("it came, ran and went in {:.1} s", begin.elapsed().as_secs_f64());
    }
    Ok(())
}

fn test_one(cli: &Cli<'_>, project: &Built) -> Result<()> {
    let Built { name, world, .. } = project;
    let server = cli.server;
    server.ask(TENANT, "POST", "/api/v1/scenarios", &scenario(name, None)?)?;
    server.ask(TENANT, "POST", &format!("/api/v1/items/{name}"), ITEMS)?;
    cli.says(&["push", "--certify", name, "--activate"], &format!("{VERSION} is active"))?;
    if world == "aggregate" {
        takes_events(cli, name)?;
    } else {
        server.ask(TENANT, "PUT", &format!("/api/v1/scenarios/{name}"), &scenario(name, Some(world))?)?;
        eventually(|| ran(&recommend(server, name)?, name))?;
    }
    let printed = cli.run(&["logs", name, VERSION])?;
    ensure!(printed.is_empty(), "no template prints anything, and this one printed {printed:?}");
    cli.refuses(&["delete", name], "is active")?;
    cli.says(&["disable", name], "disabled")?;
    if world != "aggregate" {
        let answer = recommend(server, name)?;
        ensure!(answer.contains(&format!("the component `{name}` is disabled")), "it is disabled: {answer}");
    }
    cli.run(&["delete", name])?;
    cli.refuses(&["logs", name, VERSION], "component_not_found")?;
    cli.says(&["list"], "there are no components")
}

/// A stream operator is given what comes after its activation.
fn takes_events(cli: &Cli<'_>, name: &str) -> Result<()> {
    let event = format!(
        r#"{{"scenario_id": "{name}", "item_id": "i1", "action_type": "watch", "extra": {{"completion_rate": 1.0}}}}"#
    );
    cli.server.ask(TENANT, "POST", "/api/v1/behaviors", &event)?;
    eventually(|| {
        let usage = cli.run(&["usage", name, VERSION])?;
        ensure!(answered(&usage) > 0, "it has answered no call: {usage}");
        Ok(())
    })
}

fn recommend(server: &Server, name: &str) -> Result<String> {
    let body = format!(r#"{{"scenario_id": "{name}", "count": 3}}"#);
    server.ask(TENANT, "POST", "/api/v1/recommend?explain=true", &body)
}

/// A scenario of built-in stages, and of the tenant's own component in its place, if it is to
/// be one of this world.
fn scenario(name: &str, world: Option<&str>) -> Result<String> {
    let stage = format!("{TENANT}/{name}");
    let (mut recall, mut rank, mut rerank) = (String::new(), "linear".to_owned(), String::new());
    match world {
        None => {}
        Some("recall") => recall = format!(r#", {{"name": "{stage}", "limit": 10}}"#),
        Some("rank") => rank = stage,
        Some("rerank") => rerank = format!(r#"{{"name": "{stage}"}}"#),
        Some(world) => bail!("a scenario has no place for `{world}`"),
    }
    Ok(format!(
        r#"{{"scenario_id": "{name}", "scenario_type": "test", "config": {{
            "recall": {{"strategies": [{{"name": "latest", "limit": 10}}{recall}]}},
            "rank": {{"model": "{rank}"}},
            "rerank": {{"rules": [{rerank}]}},
            "exposure": {{"enabled": false}}}}}}"#
    ))
}

/// Whether an answer says that the component ran and that nothing is missing in it.
fn ran(answer: &str, name: &str) -> Result<()> {
    let component = format!(r#""component":"{TENANT}/{name}@{VERSION}""#);
    // What is said of a stage has no objects inside.
    let mut stages = answer.split(['{', '}']).filter(|object| object.contains(&component));
    let is_ok = stages.any(|stage| stage.contains(r#""status":"ok""#));
    ensure!(is_ok && answer.contains(r#""degraded":[]"#), "it did not run: {answer}");
    Ok(())
}

/// How many calls a version has answered: `2 calls, 1 ok`, and more lines.
fn answered(usage: &str) -> u64 {
    let count = || usage.split_once(" calls, ")?.1.split_once(" ok")?.0.parse().ok();
    count().unwrap_or_default()
}

/// Until it succeeds, or for as long as it may take.
fn eventually(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(_) if begin.elapsed() < SOON => sleep(PAUSE),
            done => return done.with_context(|| format!("not within {} s", SOON.as_secs())),
        }
    }
}

/// `funnelweb component`, in the folder of a project and with a server.
struct Cli<'a> {
    root: &'a Path,
    server: &'a Server,
    folder: &'a Path,
}

impl Cli<'_> {
    /// Runs a command; returns what it prints.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let url = self.server.url();
        let mut command = within(self.folder, funnelweb(self.root));
        capture(command.arg("component").args(arguments).args(["--tenant", TENANT, "--url", &url]))
    }

    /// Runs a command, which prints this among other things.
    fn says(&self, arguments: &[&str], expected: &str) -> Result<()> {
        let said = self.run(arguments)?;
        println!("{said}");
        ensure!(said.contains(expected), "`{}` does not say {expected:?}", arguments.join(" "));
        Ok(())
    }

    /// Runs a command, which fails and says this.
    fn refuses(&self, arguments: &[&str], expected: &str) -> Result<()> {
        match self.run(arguments) {
            Ok(_) => bail!("`{}` is not refused", arguments.join(" ")),
            Err(error) if error.to_string().contains(expected) => Ok(()),
            Err(error) => Err(error.context(format!("a refusal does not say {expected:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_the_component_ran() {
        let answer = |status: &str, degraded: &str| {
            format!(
                r#"{{"items":[{{"item_id":"i1"}}],"degraded":[{degraded}],"explain":{{"stages":[
                {{"component":"recall-latest","stage":"latest","status":"ok"}},
                {{"component":"acme/boost@0.1.0","stage":"acme/boost","status":"{status}"}}],"recall":[]}}}}"#
            )
        };
        assert!(ran(&answer("ok", ""), "boost").is_ok());
        assert!(ran(&answer("ok", ""), "boos").is_err());
        // The status of another stage is not its own.
        assert!(ran(&answer("failed", ""), "boost").is_err());
        assert!(ran(&answer("ok", r#"{"stage":"latest","reason":"late"}"#), "boost").is_err());
    }

    #[test]
    fn calls_are_read_out_of_what_usage_says() {
        assert_eq!(answered("12 calls, 9 ok\n  failed   timeout 3\n"), 9);
        assert_eq!(answered("there is no such version"), 0);
    }

    #[test]
    fn a_component_stands_where_its_world_is() {
        let with = |world| scenario("boost", Some(world)).unwrap();
        assert!(with("recall").contains(r#"[{"name": "latest", "limit": 10}, {"name": "acme/boost", "limit": 10}]"#));
        assert!(with("rank").contains(r#""rank": {"model": "acme/boost"}"#));
        assert!(with("rerank").contains(r#""rules": [{"name": "acme/boost"}]"#));
        assert!(!scenario("boost", None).unwrap().contains("acme/"));
        assert!(scenario("boost", Some("aggregate")).is_err());
    }
}

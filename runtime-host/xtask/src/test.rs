//! Everything CI runs, step by step, until one fails.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    build, flink, kafka, models, redis_servers, setup,
    shell::{cargo, run},
    templates,
};

/// The package of the end-to-end suites, which need everything to be built.
const END_TO_END: &str = "funnelweb-tests";

struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<()>,
}

/// In the order in which they run: what fails fast comes first, what needs the
/// components and the host after they are built.
const STEPS: &[Step] = &[
    Step { name: "format", run: |root| run(cargo(root).args(["fmt", "--all", "--check"])) },
    Step { name: "setup", run: |root| setup::setup(root, setup::Rustup::First) },
    Step { name: "redis-servers", run: redis_servers::setup },
    Step { name: "models", run: models::test },
    Step { name: "clippy", run: clippy },
    Step { name: "components", run: build::components },
    Step { name: "test-guests", run: build::test_guests },
    Step { name: "host", run: build::host },
    Step { name: "templates", run: |root| templates::test(root, templates::Extent::Fast) },
    Step { name: "ferretdb", run: ferretdb },
    Step { name: "milvus", run: milvus },
    Step { name: "kafka", run: kafka::setup },
    Step { name: "unit", run: unit },
    Step { name: "end-to-end", run: |root| run(workspace(root, "test").args(["--test", "e2e"])) },
    Step { name: "flink", run: flink::test },
];

/// Cargo over the whole workspace. Features of shared dependencies differ with
/// the packages that are asked for, and a runtime built twice is minutes lost:
/// so every step asks for all of them.
fn workspace(root: &Path, what: &str) -> Command {
    let mut command = cargo(root);
    command.args([what, "--release", "--workspace"]);
    command
}

/// Not the examples: clippy has looked at them, and linking them takes a minute. By their kind
/// (`--lib`), targets are built also where they say that they have no tests.
fn unit(root: &Path) -> Result<()> {
    let tests = || {
        let mut command = workspace(root, "test");
        command.args(["--exclude", END_TO_END]);
        command
    };
    run(tests().arg("--tests"))?;
    run(tests().arg("--doc"))
}

fn clippy(root: &Path) -> Result<()> {
    run(workspace(root, "clippy").args(["--all-targets", "--", "-D", "warnings"]))
}

/// Those that the unit tests of backends start and no package manager has.
fn ferretdb(_: &Path) -> Result<()> {
    let ferretdb = funnelweb_test_servers::ferretdb::binary().map_err(anyhow::Error::msg)?;
    println!("{}", ferretdb.display());
    Ok(())
}

fn milvus(_: &Path) -> Result<()> {
    let milvus = funnelweb_test_servers::milvus::binary().map_err(anyhow::Error::msg)?;
    println!("{}", milvus.display());
    Ok(())
}

/// The names of the steps, in order.
pub fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs every step, and says at the end how long each took.
pub fn all(root: &Path) -> Result<()> {
    let mut times = Vec::with_capacity(STEPS.len());
    for (index, step) in STEPS.iter().enumerate() {
        println!("==> {} ({} of {})", step.name, index + 1, STEPS.len());
        times.push((step.name, timed(step, root)?));
    }
    println!("==> all steps passed");
    for (name, time) in &times {
        println!("{name:>14} {:>7.1} s", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| time).sum();
    println!("{:>14} {:>7.1} s", "total", total.as_secs_f64());
    Ok(())
}

/// Runs the one step of that name; what comes before it must have been run.
pub fn only(root: &Path, name: &str) -> Result<()> {
    let step = STEPS.iter().find(|step| step.name == name);
    let step = step.with_context(|| format!("there is no step `{name}`; steps: {}", names().join(", ")))?;
    timed(step, root).map(|_| ())
}

fn timed(step: &Step, root: &Path) -> Result<Duration> {
    let start = Instant::now();
    (step.run)(root).with_context(|| format!("step `{}`", step.name))?;
    let time = start.elapsed();
    println!("==> {} passed in {:.1} s", step.name, time.as_secs_f64());
    Ok(time)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What tests turn on has to be on in every build, or all that is above it is compiled twice.
    #[test]
    fn conformance_is_on_in_every_build() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let asked = fs::read_to_string(root.join("tests/Cargo.toml")).unwrap();
        let (asked, _) = asked.split_once("[dev-dependencies]").unwrap();
        let mut count = 0;
        for entry in fs::read_dir(root.join("runtime-host")).unwrap() {
            let Ok(manifest) = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")) else { continue };
            if manifest.lines().any(|line| line.starts_with("conformance = ")) {
                let (_, name) = manifest.lines().find_map(|line| line.split_once("name = ")).unwrap();
                let name = name.trim_matches('"');
                let expected = format!("{name} = {{ workspace = true, features = [\"conformance\"] }}");
                assert!(asked.contains(&expected), "tests/Cargo.toml has no `{expected}`");
                count += 1;
            }
        }
        assert!(count > 0);
    }
}

//! The training project in `models/`, which is Python: its linter, its types, its tests.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::shell::run;

/// Checks and tests it in an environment of its own under `target`, where pip finds
/// again what it installed before.
pub fn test(root: &Path) -> Result<()> {
    let environment = root.join("target/models");
    let python = environment.join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    let tool =
        |arguments: &[&str]| run(Command::new(&python).current_dir(root.join("models")).arg("-m").args(arguments));
    tool(&["pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ".[test]"])?;
    tool(&["ruff", "format", "--check", "."])?;
    tool(&["ruff", "check", "."])?;
    tool(&["mypy"])?;
    tool(&["pytest", "--quiet"])
}

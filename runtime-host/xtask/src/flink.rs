//! The job for Apache Flink in `runtime-host/deploy/flink`, which is Python: its linter,
//! its types, its tests, and among those a run in a cluster.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    kafka,
    setup::install,
    shell::{capture, run},
};

/// What there may be that Flink runs on, and those that its Python packages are made for.
const PYTHONS: [&str; 3] = ["python3.12", "python3.11", "python3"];
const FITS: &str = "import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))";

/// Checks and tests it. The rest of what that needs, it fetches itself, once.
pub fn test(root: &Path) -> Result<()> {
    kafka::setup(root)?;
    funnelweb_test_servers::ferretdb::binary().map_err(anyhow::Error::msg)?;
    run(Command::new(python()?).arg(root.join("runtime-host/deploy/flink/tests/run.py")))
}

fn python() -> Result<&'static str> {
    let fits = |python: &&&str| capture(Command::new(python).args(["-c", FITS])).is_ok();
    if let Some(python) = PYTHONS.iter().find(fits) {
        return Ok(python);
    }
    install("Python", &["python3", "python3-venv"])?;
    match PYTHONS.iter().find(fits) {
        Some(python) => Ok(python),
        None => bail!("Flink needs Python 3.11 or 3.12 with `venv`; none of {} is that", PYTHONS.join(", ")),
    }
}

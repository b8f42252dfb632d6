//! The Redis and Valkey that tests run on: those of the machine, else Debian's,
//! unpacked into a folder of ours. Nothing is installed.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};

use crate::{debian, shell::exists};

/// The programs, and the variable that names each when it is elsewhere.
const SERVERS: [(&str, &str); 2] =
    [("redis-server", "FUNNELWEB_REDIS_SERVER"), ("valkey-server", "FUNNELWEB_VALKEY_SERVER")];

/// Suites that have them together; the second has what is newer than a release.
const SUITES: [&str; 2] = ["{codename}", "{codename}-backports"];

/// Makes sure of both; says nothing when they are there. The tests look for them
/// where this does: the variable, `PATH`, `target/servers/redis/bin`.
pub fn setup(root: &Path) -> Result<()> {
    let folder = root.join("target/servers/redis");
    let bin = folder.join("bin");
    let missing: Vec<&str> = SERVERS
        .iter()
        .filter(|(program, variable)| {
            let named = std::env::var_os(variable).is_some_and(|path| Path::new(&path).is_file());
            !named && !exists(program) && !bin.join(program).is_file()
        })
        .map(|(program, _)| *program)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("==> downloading {}", missing.join(" and "));
    let by_hand = || {
        let variables = SERVERS.map(|(_, variable)| variable).join(", ");
        format!("{} must be installed, or named by {variables}", missing.join(" and "))
    };
    let unpacked = debian::fetch(&folder, &SUITES, &missing).with_context(by_hand)?;
    fs::create_dir_all(&bin)?;
    for program in missing {
        let place = unpacked.join("usr/bin").join(program);
        ensure!(place.exists(), "the package {program} has no {}", place.display());
        wrap(&place, &unpacked, &bin.join(program))?;
        let works = exists(&bin.join(program).to_string_lossy());
        ensure!(works, "{program} was unpacked, but does not run");
    }
    Ok(())
}

/// A script in the place of `program` that lets it find its libraries.
fn wrap(program: &Path, unpacked: &Path, script: &Path) -> Result<()> {
    let libraries = unpacked.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let text = format!("#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n", libraries.display(), program.display());
    fs::write(script, text)?;
    fs::set_permissions(script, Permissions::from_mode(0o755))?;
    Ok(())
}

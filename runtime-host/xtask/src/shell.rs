//! Running other programs.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The cargo that runs us, in the workspace. Everything is built into the one
/// `target` folder, where `spin.toml` says that the components are.
///
/// It is not told what cargo told us of our own package: build scripts that look at
/// that would run again whenever cargo is called directly in between, and half the
/// host with them.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| ours(name)) {
        command.env_remove(name);
    }
    command.current_dir(root).env("CARGO_TARGET_DIR", root.join("target"));
    command
}

/// The compiler that cargo uses.
pub fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Runs a program with our own input and output.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a program and returns what it printed; that is in the error when it fails, with
/// what it complained of.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{}`", line(command)))?;
    if !output.status.success() {
        let [said, complaint] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        bail!("`{}` failed: {}\n{}", line(command), output.status, format!("{said}{complaint}").trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program is there and says so when asked for its version.
pub fn exists(program: &str) -> bool {
    capture(Command::new(program).arg("--version")).is_ok()
}

/// A command as one would type it, for messages.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words: Vec<OsString> = std::iter::once(program).chain(command.get_args()).map(Into::into).collect();
    words.join(" ".as_ref()).to_string_lossy().into_owned()
}

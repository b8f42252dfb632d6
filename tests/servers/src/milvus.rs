//! Milvus Lite, a Python program that speaks Milvus's protocol: installed once into an
//! environment of its own in the user's cache folder.

use std::{
    env,
    fs::{self, File},
    io,
    path::PathBuf,
    process::Command,
};

use crate::cache::{cache_folder, run};

/// The nearest real server where there are no containers.
const MILVUS_LITE: &str = "milvus-lite==3.2.*";
/// It has its protocol from there, and does not say so.
const PYMILVUS: &str = "pymilvus==3.0.*";
/// Changes with those.
const FOLDER: &str = "milvus-lite-3.2";
/// Names a `milvus-lite` to be used instead of one installed here.
const MILVUS_BINARY: &str = "FUNNELWEB_MILVUS_LITE";

/// The program: the one that `FUNNELWEB_MILVUS_LITE` names, or the one in the cache
/// folder, which is installed when it is not there. That takes Python with `venv`, half
/// a gigabyte, and a minute.
///
/// # Errors
/// What failed, and how to do without.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(MILVUS_BINARY) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { Err(format!("{MILVUS_BINARY}: no file {}", path.display())) };
    }
    let explain =
        |error| format!("cannot install Milvus Lite: {error}\n{MILVUS_BINARY} may name the program of {MILVUS_LITE}");
    install().map_err(explain)
}

fn install() -> Result<PathBuf, String> {
    let folder = cache_folder()?.join(FOLDER);
    let fails = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(fails)?;
    // Test binaries run side by side: one installs, the others wait.
    let lock = File::create(folder.join("lock")).map_err(fails)?;
    lock.lock().map_err(fails)?;
    let environment = folder.join("environment");
    let (binary, whole) = (environment.join("bin/milvus-lite"), folder.join("whole"));
    if whole.is_file() && binary.is_file() {
        return Ok(binary);
    }
    println!("installing {MILVUS_LITE}, once");
    if environment.exists() {
        fs::remove_dir_all(&environment).map_err(fails)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut install = Command::new(environment.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MILVUS_LITE, PYMILVUS]);
    run(&mut install)?;
    run(Command::new(&binary).arg("--help"))?;
    fs::write(whole, MILVUS_LITE).map_err(fails)?;
    Ok(binary)
}

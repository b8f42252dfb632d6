//! FerretDB, which Debian does not package: built once from source and kept in the
//! user's cache folder.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::cache::{cache_folder, copy_folder, run};

/// FerretDB speaks MongoDB's protocol on top of SQLite: the nearest real server
/// where no `mongod` can be had.
const FERRETDB: &str = "github.com/FerretDB/FerretDB";
/// The last version that stores in SQLite.
const FERRETDB_VERSION: &str = "v1.24.0";
/// Names a binary to be used instead of one built here.
const FERRETDB_BINARY: &str = "FUNNELWEB_FERRETDB";

/// The FerretDB binary: the one that `FUNNELWEB_FERRETDB` names, or the one in
/// the cache folder, which is built when it is not there. That takes Go and a few
/// minutes.
///
/// # Errors
/// What failed, and how to do without.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(FERRETDB_BINARY) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { Err(format!("{FERRETDB_BINARY}: no file {}", path.display())) };
    }
    let explain = |error| {
        format!("cannot build FerretDB: {error}\n{FERRETDB_BINARY} may name a binary of FerretDB {FERRETDB_VERSION}")
    };
    build_ferretdb().map_err(explain)
}

fn build_ferretdb() -> Result<PathBuf, String> {
    let folder = cache_folder()?.join(format!("ferretdb-{FERRETDB_VERSION}"));
    let binary = folder.join("ferretdb");
    let fails = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(fails)?;
    // Test binaries run side by side: one builds, the others wait.
    let lock = File::create(folder.join("lock")).map_err(fails)?;
    lock.lock().map_err(fails)?;
    if binary.is_file() {
        return Ok(binary);
    }
    println!("building FerretDB {FERRETDB_VERSION}, once");
    let module = format!("{FERRETDB}@{FERRETDB_VERSION}");
    let answer = run(Command::new("go").args(["mod", "download", "-json", &module]).current_dir(&folder))?;
    let source = answer.lines().find_map(|line| line.trim().strip_prefix(r#""Dir": ""#)?.strip_suffix(r#"","#));
    let source = source.ok_or_else(|| format!("`go mod download` does not tell where {module} is: {answer}"))?;
    // Built from a copy: the program wants a file with its version, which the
    // module leaves to its own build to write.
    let copy = folder.join("source");
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(fails)?;
    }
    copy_folder(Path::new(source), &copy).map_err(fails)?;
    fs::write(copy.join("build/version/version.txt"), FERRETDB_VERSION).map_err(fails)?;
    let built = folder.join("built");
    let tags = "ferretdb_no_postgresql";
    let mut build = Command::new("go");
    build.args(["build", "-trimpath", "-tags", tags, "-o"]).arg(&built).arg("./cmd/ferretdb").current_dir(&copy);
    run(build.env("CGO_ENABLED", "0"))?;
    fs::remove_dir_all(&copy).map_err(fails)?;
    fs::rename(&built, &binary).map_err(fails)?;
    Ok(binary)
}

//! Lists the files that `funnelweb component new` writes, so that the binary has them
//! inside: the templates, and the WIT packages that a tenant's component is built with.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// Where each WIT package stands in a project: that of the worlds itself, and those that it
/// refers to below it.
const PACKAGES: [(&str, &str); 3] = [("tenant", ""), ("pipeline", "deps/pipeline/"), ("stream", "deps/stream/")];
/// What building a template in place leaves there.
const BUILT: [&str; 5] = ["target", "node_modules", "__pycache__", ".venv", "dist"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../..");
    let mut code = String::new();

    let mut files = Vec::new();
    list(&root.join("runtime-host/templates"), "", &mut files)?;
    write_list(&mut code, "TEMPLATES", files);

    let mut files = Vec::new();
    for (package, place) in PACKAGES {
        list(&root.join("wit").join(package), place, &mut files)?;
    }
    write_list(&mut code, "WIT", files);

    fs::write(PathBuf::from(variable("OUT_DIR")?).join("templates.rs"), code)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}

/// The files below a folder, under a prefix; built anew when there are others.
fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = entry.path();
        if BUILT.map(OsStr::new).contains(&name.as_os_str()) || path.extension() == Some(OsStr::new("wasm")) {
            continue;
        }
        let name = format!("{prefix}{}", name.to_string_lossy());
        if entry.file_type()?.is_file() {
            files.push((name, path.canonicalize()?));
        } else {
            list(&path, &format!("{name}/"), files)?;
        }
    }
    Ok(())
}

fn write_list(code: &mut String, list: &str, mut files: Vec<(String, PathBuf)>) {
    files.sort();
    let mut entries = String::new();
    for (name, path) in files {
        // Writing to a string does not fail.
        let _ = writeln!(entries, "    ({name:?}, include_str!({path:?})),");
    }
    let _ = writeln!(code, "const {list}: &[(&str, &str)] = &[\n{entries}];");
}

//! The target's standard library where rustup cannot download it: built from the
//! source that Debian packages, and put into the toolchain in use.
//!
//! A rustup toolchain has the linkers for the target; only its standard library
//! is missing. Debian's `rust-src` has the source, which must be of the very
//! version of the compiler, and `wasi-libc` the C library. Both are downloaded by
//! apt from the machine's own mirror, with lists and cache in a folder of ours:
//! nothing is installed, and the machine's own suites are not touched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    setup::TARGET,
    shell::{capture, cargo, exists, run, rustc},
};

/// Suites that have a current `rust-src`, the steadier one first.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];
const PACKAGES: [&str; 2] = ["rust-src", "wasi-libc"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Builds the standard library below `work` and moves it into the toolchain.
pub fn build_target(work: &Path) -> Result<()> {
    for tool in ["apt-get", "dpkg"] {
        ensure!(exists(tool), "this way needs Debian's `{tool}`");
    }
    ensure!(Path::new(KEYRING).is_file(), "this way needs Debian's keys in {KEYRING}");
    let version = compiler_version()?;
    let sysroot = PathBuf::from(capture(rustc().args(["--print", "sysroot"]))?);

    println!("==> building the standard library of {TARGET} from Debian's source of Rust {version}");
    let work = work.join("std");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot empty {}", work.display()))?;
    }
    let unpacked = download(&work, &version)?;
    let libraries = compile(&work, &unpacked.join(format!("usr/src/rustc-{version}/library")))?;
    install(&libraries, &unpacked.join("usr/lib").join(TARGET), &sysroot.join("lib/rustlib"))?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

fn compiler_version() -> Result<String> {
    let line = capture(rustc().arg("--version"))?;
    let version = line.split(' ').nth(1).with_context(|| format!("rustc calls itself {line:?}"))?;
    ensure!(!version.contains('-'), "Debian packages no source of Rust {version}, only of releases");
    Ok(version.to_owned())
}

/// Downloads and unpacks the packages; returns the folder they are unpacked in.
fn download(work: &Path, version: &str) -> Result<PathBuf> {
    let mirror = mirror()?;
    for suite in SUITES {
        let apt = Apt::new(&work.join(suite), &mirror, &[suite])?;
        // What apt has to say of a failure, it has printed.
        if run(&mut apt.command(&["update"])).is_err() {
            println!("the suite {suite} cannot be read from {mirror}");
            continue;
        }
        let [source, libc] = PACKAGES;
        if run(&mut apt.command(&["download", &format!("{source}={version}*"), libc])).is_err() {
            println!("the suite {suite} does not have {source} {version} and {libc}");
            continue;
        }
        let unpacked = work.join("unpacked");
        unpack(&apt.folder, &unpacked)?;
        return Ok(unpacked);
    }
    bail!(
        "none of Debian's suites {} has the source of Rust {version}; a compiler of the version they have would do",
        SUITES.join(", ")
    )
}

/// Downloads `packages` and what they need that this machine does not have, and
/// unpacks them below `work`; returns the folder they are unpacked in. `suites`
/// are looked in together, `{codename}` being this machine's own.
pub fn fetch(work: &Path, suites: &[&str], packages: &[&str]) -> Result<PathBuf> {
    for tool in ["apt-get", "dpkg"] {
        ensure!(exists(tool), "this way needs Debian's `{tool}`");
    }
    ensure!(Path::new(KEYRING).is_file(), "this way needs Debian's keys in {KEYRING}");
    let codename = codename()?;
    let suites: Vec<String> = suites.iter().map(|suite| suite.replace("{codename}", &codename)).collect();
    let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
    let apt = Apt::new(&work.join("apt"), &mirror()?, &suites)?;
    run(&mut apt.command(&["--quiet", "update"]))?;
    // The locks are those of installing, which this does not do.
    let install = ["--quiet", "install", "--yes", "--download-only", "--no-install-recommends"];
    run(apt.command(&install).args(["-o", "Debug::NoLocking=true"]).args(packages))?;
    let unpacked = work.join("unpacked");
    unpack(&apt.folder.join("cache/archives"), &unpacked)?;
    Ok(unpacked)
}

/// Unpacks every package of a folder.
fn unpack(packages: &Path, into: &Path) -> Result<()> {
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(path).arg(into))?;
        }
    }
    Ok(())
}

/// apt with lists, cache and sources of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path, mirror: &str, suites: &[&str]) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let source = |suite: &&str| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        fs::write(folder.join("sources.list"), suites.iter().map(source).collect::<String>())?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let folder = self.folder.display();
        let mut command = Command::new("apt-get");
        command.current_dir(&self.folder);
        for option in [
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            // The folder is ours, and apt's own user may not be let into it.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.args(arguments);
        command
    }
}

/// The name of this machine's release of Debian.
fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("this way needs Debian")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename.context("/etc/os-release names no VERSION_CODENAME")?.trim_matches('"').to_owned())
}

/// The mirror the machine itself installs Debian from.
fn mirror() -> Result<String> {
    let codename = codename()?;
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(folder.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let mirror = texts.into_iter().find_map(|text| mirror_in(&text, &codename));
    mirror.with_context(|| format!("no source in /etc/apt has the suite {codename}, component main"))
}

/// The mirror of `suite`'s component `main` in the text of an apt source, in
/// either of the two formats.
fn mirror_in(text: &str, suite: &str) -> Option<String> {
    let fits = |suites: &str, components: &str| {
        suites.split_whitespace().any(|word| word == suite) && components.split_whitespace().any(|word| word == "main")
    };
    let stanza = |stanza: &str| {
        let field = |name: &str| {
            let mut lines = stanza.lines();
            lines.find_map(|line| line.split_once(':').filter(|(key, _)| *key == name).map(|(_, value)| value))
        };
        let uri = field("URIs")?.split_whitespace().next()?;
        fits(field("Suites")?, field("Components")?).then(|| uri.to_owned())
    };
    let line = |line: &str| {
        let rest = line.strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1.trim_start(),
            None => rest,
        };
        let (uri, rest) = rest.split_once(' ')?;
        let (found, components) = rest.trim_start().split_once(' ')?;
        fits(found, components).then(|| uri.to_owned())
    };
    text.split("\n\n").find_map(stanza).or_else(|| text.lines().find_map(line))
}

/// Builds the library as its own build system does; returns the folder of the
/// compiled crates. Its few dependencies come from crates.io.
fn compile(work: &Path, library: &Path) -> Result<PathBuf> {
    ensure!(library.is_dir(), "the package rust-src has no {}", library.display());
    let built = work.join("built");
    let mut command = cargo(library);
    // Its dependencies use what only the standard library may; components are
    // linked with LTO, which needs the bitcode; and this folder's name has no
    // place in them.
    let remap = format!("--remap-path-prefix={}=/rustc/library", library.display());
    let flags = ["-Zforce-unstable-if-unmarked", "-Cembed-bitcode=yes", &remap];
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("__CARGO_DEFAULT_LIB_METADATA", "stablestd")
        .env("CARGO_TARGET_DIR", &built)
        .args(["build", "--release", "--target", TARGET, "--manifest-path", "sysroot/Cargo.toml"]);
    run(&mut command)?;
    Ok(built.join(TARGET).join("release/deps"))
}

/// Puts compiled crates and the C library where the compiler looks for them, at
/// one stroke, so that a run that was cut off leaves nothing half-done behind.
fn install(crates: &Path, libc: &Path, rustlib: &Path) -> Result<()> {
    let (staged, place) = (rustlib.join(format!("{TARGET}.new")), rustlib.join(TARGET));
    let writable = || format!("cannot write to {}; is the toolchain yours?", rustlib.display());
    for old in [&staged, &place] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(writable)?;
        }
    }
    let library = staged.join("lib");
    let self_contained = library.join("self-contained");
    fs::create_dir_all(&self_contained).with_context(writable)?;
    for entry in fs::read_dir(crates)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rlib") {
            copy(&path, &library)?;
        }
    }
    for file in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        copy(&libc.join(file), &self_contained)?;
    }
    fs::rename(&staged, &place).with_context(writable)
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn mirrors_are_found_in_both_formats() {
        let deb822 = "Types: deb\n# a comment\nURIs: http://security.example/debian-security\n\
                      Suites: bookworm-security\nComponents: main\n\n\
                      Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                      Components: main contrib\n";
        assert_eq!(mirror_in(deb822, "bookworm").as_deref(), Some("http://mirror.example/debian"));
        let lines = "deb [signed-by=/k.gpg] https://other.example/apt bookworm stable\n\
                     # deb http://old.example/debian bookworm main\n\
                     deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib\n";
        assert_eq!(mirror_in(lines, "bookworm").as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(mirror_in(lines, "trixie"), None);
        assert_eq!(mirror_in(deb822, "trixie"), None);
    }
}

//! Copies of a data directory's files, and a data directory of copies.
//!
//! A backup is a folder: the tenants' files below `tenants`, and `manifest.json`
//! with the length and the SHA-256 of each. The manifest is written last, so a
//! folder without one is no backup.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write as _},
    path::Path,
};

use funnelweb_core::time;
use funnelweb_tenant_store::{DataDirLock, Tenant, copy_tenant, tenant_file, tenants_folder, tenants_in};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    progress::{Progress, Show},
};

/// What the manifest calls the format.
const FORMAT: &str = "funnelweb-backup";
/// Its version; another one is not restored.
const VERSION: u32 = 1;
/// The manifest's name in the folder.
const MANIFEST: &str = "manifest.json";
/// Where a restored store is put together, beside its place.
const STAGING: &str = "tenants.restoring";
/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1 << 16;

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    version: u32,
    /// RFC 3339; what was acknowledged before is in the backup.
    created_at: String,
    /// The version of the program that made it.
    product: String,
    files: Vec<Entry>,
}

/// One tenant's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    tenant: String,
    bytes: u64,
    sha256: String,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// When the backup was made, in RFC 3339.
    pub created_at: String,
    /// Whose files.
    pub tenants: Vec<String>,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl From<Manifest> for BackupReport {
    fn from(Manifest { created_at, files, .. }: Manifest) -> Self {
        let bytes = files.iter().map(|file| file.bytes).sum();
        Self { created_at, tenants: files.into_iter().map(|file| file.tenant).collect(), bytes }
    }
}

/// Copies the files of all tenants of a data directory, or of one, into the folder
/// `to`, which must be empty or not exist. The directory may be served meanwhile:
/// each tenant's copy is of one moment after the call, and has everything that was
/// acknowledged before it.
///
/// # Errors
/// When there is no such tenant, or none at all; or a file cannot be read or
/// written. What is in the folder then is no backup.
pub fn backup(
    data_dir: &Path,
    only: Option<&Tenant>,
    to: &Path,
    now_ms: u64,
    progress: &mut Show<'_>,
) -> Result<BackupReport> {
    let tenants = match only {
        Some(tenant) => vec![tenant.clone()],
        None => tenants_in(data_dir).map_err(Error::store("listing tenants"))?,
    };
    if tenants.is_empty() {
        return Err(Error::folder(data_dir, "has no tenants"));
    }
    let folder = tenants_folder(to);
    fs::create_dir_all(to).map_err(Error::file(to))?;
    if !is_empty(to)? {
        return Err(Error::folder(to, "must be empty"));
    }
    fs::create_dir(&folder).map_err(Error::file(&folder))?;
    let mut files = Vec::with_capacity(tenants.len());
    for (done, tenant) in (1..).zip(&tenants) {
        let copy = tenant_file(to, tenant);
        copy_tenant(data_dir, tenant, &copy).map_err(Error::store("copying"))?;
        let (bytes, sha256) = hash(&copy).map_err(Error::file(&copy))?;
        files.push(Entry { tenant: tenant.to_string(), bytes, sha256 });
        progress(&Progress { task: "backup", done, total: Some(tenants.len() as u64) });
    }
    sync(&folder).map_err(Error::file(&folder))?;
    let (format, product) = (FORMAT.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let manifest = Manifest { format, version: VERSION, created_at: time::format_ms(now_ms), product, files };
    write_manifest(to, &manifest).map_err(Error::file(&to.join(MANIFEST)))?;
    Ok(manifest.into())
}

/// Puts the files of a backup into a data directory that has none. Every file is
/// checked before anything is written; they appear there all at once, or not at
/// all when it is cut off.
///
/// # Errors
/// When the folder is no backup or a file of it was changed, or the data directory
/// has tenants or is in use.
pub fn restore(from: &Path, data_dir: &Path, progress: &mut Show<'_>) -> Result<BackupReport> {
    let (manifest, tenants) = read_manifest(from)?;
    let total = Some(tenants.len() as u64);
    let entries = || manifest.files.iter().zip(&tenants);
    for (done, (entry, tenant)) in (1..).zip(entries()) {
        check(entry, &tenant_file(from, tenant))?;
        progress(&Progress { task: "check", done, total });
    }
    let _lock = DataDirLock::take(data_dir).map_err(Error::store("restoring"))?;
    let (place, staging) = (tenants_folder(data_dir), data_dir.join(STAGING));
    if place.exists() && !is_empty(&place)? {
        return Err(Error::folder(&place, "has files already; restore into another data directory"));
    }
    // Of an attempt that was cut off.
    if staging.exists() {
        fs::remove_dir_all(&staging).map_err(Error::file(&staging))?;
    }
    fs::create_dir(&staging).map_err(Error::file(&staging))?;
    for (done, (entry, tenant)) in (1..).zip(entries()) {
        let source = tenant_file(from, tenant);
        let name = source.file_name().unwrap_or_default();
        let copy = staging.join(name);
        fs::copy(&source, &copy).map_err(Error::file(&source))?;
        check(entry, &copy)?;
        progress(&Progress { task: "restore", done, total });
    }
    sync(&staging).map_err(Error::file(&staging))?;
    fs::rename(&staging, &place).map_err(Error::file(&place))?;
    sync(data_dir).map_err(Error::file(data_dir))?;
    Ok(manifest.into())
}

/// The manifest, and the tenants of its files in order.
fn read_manifest(from: &Path) -> Result<(Manifest, Vec<Tenant>)> {
    let path = from.join(MANIFEST);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::folder(
                from,
                format!("has no {MANIFEST}: it is no backup, or one that was not finished"),
            ));
        }
        text => text.map_err(Error::file(&path))?,
    };
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| Error::folder(&path, error.to_string()))?;
    if (manifest.format.as_str(), manifest.version) != (FORMAT, VERSION) {
        let found = format!("is {} {}, this program restores {FORMAT} {VERSION}", manifest.format, manifest.version);
        return Err(Error::folder(&path, found));
    }
    let mut tenants = Vec::with_capacity(manifest.files.len());
    for entry in &manifest.files {
        let tenant = Tenant::new(&entry.tenant);
        tenants.push(tenant.map_err(|rule| Error::folder(&path, format!("tenant `{}`: {rule}", entry.tenant)))?);
    }
    if tenants.iter().collect::<BTreeSet<_>>().len() != tenants.len() {
        return Err(Error::folder(&path, "names a tenant twice"));
    }
    Ok((manifest, tenants))
}

fn write_manifest(to: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(to)?;
    serde_json::to_writer_pretty(&mut file, manifest)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(to.join(MANIFEST)).map_err(|error| error.error)?;
    sync(to)
}

/// That a file is the one of the manifest.
fn check(entry: &Entry, file: &Path) -> Result<()> {
    let (bytes, sha256) = hash(file).map_err(Error::file(file))?;
    if bytes != entry.bytes {
        return Err(Error::folder(file, format!("has {bytes} bytes, the backup was of {}", entry.bytes)));
    }
    if sha256 != entry.sha256 {
        return Err(Error::folder(file, "was changed: its SHA-256 is not that of the manifest"));
    }
    Ok(())
}

/// Length and SHA-256 of a file, which is on the disk afterwards.
fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    file.sync_all()?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
        bytes += read.len() as u64;
    }
    Ok((bytes, format!("{:x}", hash.finalize())))
}

fn is_empty(folder: &Path) -> Result<bool> {
    Ok(fs::read_dir(folder).map_err(Error::file(folder))?.next().is_none())
}

/// Has the entries of a folder be on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;

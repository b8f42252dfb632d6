//! The embedded backend: a file a version,
//! `<data dir>/blobs/<tenant>/<segment>/…/@<version>`.
//!
//! A file is its bytes, their XXH3 and the 8 bytes `FWBLOB01`. It is written and
//! synced in the folder `~new` and then moved to its place, whose names are synced,
//! too. `@` and `~` are in no id, so that no name is another's version. One process
//! uses a data directory (`DataDirLock`), and within it one call at a time changes
//! names.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use funnelweb_tenant_store::lock;
use tokio::task::spawn_blocking;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    check,
    store::{Blob, Blobs, Bytes, Error, StoreError, Tenant},
};

/// Where files are while they are written, and folders while they are removed.
const NEW: &str = "~new";
const MAGIC: &[u8; 8] = b"FWBLOB01";
/// Bytes after those of the blob.
const TAIL: usize = 16;

/// Blobs in files.
#[derive(Debug, Clone)]
pub struct FileBlobs(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    /// Held while a name is given or taken away.
    names: Mutex<()>,
    begun: AtomicU64,
}

impl FileBlobs {
    /// Blobs in `<data_dir>/blobs`, which is created. What a process that was killed
    /// left half-written is removed.
    ///
    /// # Errors
    /// `unavailable` when the folder cannot be created or cleared.
    pub fn new(data_dir: &Path) -> Result<Self, Error> {
        let root = data_dir.join("blobs");
        let new = root.join(NEW);
        let cleared = match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => create_folder(&new, data_dir),
        };
        cleared.map_err(cannot("create", &new))?;
        Ok(Self(Arc::new(Folder { root, names: Mutex::new(()), begun: AtomicU64::new(0) })))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let folder = self.0.clone();
        let done = spawn_blocking(move || work(&folder)).await;
        done.map_err(|error| StoreError::Unavailable(format!("the call was abandoned: {error}")))?
    }
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn put(&self, tenant: &Tenant, name: &str, version: u64, bytes: Bytes) -> Result<(), Error> {
        check::put(name, version, bytes.len())?;
        let (tenant, name) = (tenant.clone(), name.to_owned());
        self.blocking(move |folder| folder.put(&tenant, name, version, &bytes)).await
    }

    async fn latest(&self, tenant: &Tenant, name: &str) -> Result<Option<u64>, Error> {
        check::name(name)?;
        let (tenant, name) = (tenant.clone(), name.to_owned());
        self.blocking(move |folder| latest(&folder.of(&tenant, &name))).await
    }

    async fn get(&self, tenant: &Tenant, name: &str, version: u64) -> Result<Option<Bytes>, Error> {
        check::name(name)?;
        let (tenant, name) = (tenant.clone(), name.to_owned());
        self.blocking(move |folder| folder.get(&tenant, name, version)).await
    }

    async fn list(&self, tenant: &Tenant, prefix: &str) -> Result<Vec<Blob>, Error> {
        check::prefix(prefix)?;
        let (tenant, prefix) = (tenant.clone(), prefix.to_owned());
        let listed = self.blocking(move |folder| {
            let mut found = Vec::new();
            list(&folder.of(&tenant, &prefix), &prefix, &mut found)?;
            found.sort_unstable();
            Ok(found)
        });
        listed.await
    }

    async fn delete(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
        check::name(name)?;
        let (tenant, name) = (tenant.clone(), name.to_owned());
        self.blocking(move |folder| folder.delete(&tenant, &name, version)).await
    }

    async fn delete_prefix(&self, tenant: &Tenant, prefix: &str) -> Result<(), Error> {
        check::prefix(prefix)?;
        let (tenant, prefix) = (tenant.clone(), prefix.to_owned());
        self.blocking(move |folder| folder.delete_prefix(&tenant, &prefix)).await
    }

    async fn touch(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
        check::name(name)?;
        let (tenant, name) = (tenant.clone(), name.to_owned());
        self.blocking(move |folder| folder.touch(&tenant, &name, version)).await
    }

    async fn delete_unused(&self, tenant: &Tenant, prefix: &str, unused: Duration) -> Result<bool, Error> {
        check::prefix(prefix)?;
        let (tenant, prefix) = (tenant.clone(), prefix.to_owned());
        self.blocking(move |folder| folder.delete_unused(&tenant, &prefix, unused)).await
    }

    /// One process uses a data directory.
    fn on_the_way(&self) -> Duration {
        Duration::ZERO
    }
}

impl Folder {
    /// Where the versions of `name` are, and what lies below it.
    fn of(&self, tenant: &Tenant, name: &str) -> PathBuf {
        let mut path = self.root.join(tenant.as_str());
        // Checked: no segment leads out of the folder.
        path.extend(name.split('/').filter(|segment| !segment.is_empty()));
        path
    }

    /// A path in the folder of what is under way.
    fn begin(&self) -> PathBuf {
        self.root.join(NEW).join(self.begun.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn put(&self, tenant: &Tenant, name: String, version: u64, bytes: &[u8]) -> Result<(), Error> {
        let folder = self.of(tenant, &name);
        let refuse = |latest: Option<u64>| match latest {
            Some(latest) if latest >= version => Err(Error::Stale { name: name.clone(), version, latest }),
            _ => Ok(()),
        };
        // Before much is written, and again when nobody else can.
        refuse(latest(&folder)?)?;
        let begun = self.begin();
        let written = write(&begun, bytes).map_err(cannot("write", &begun)).and_then(|()| {
            let _names = lock(&self.names);
            refuse(latest(&folder)?)?;
            let named = create_folder(&folder, &self.root)
                .and_then(|()| fs::rename(&begun, folder.join(file_name(version))))
                .and_then(|()| sync_folder(&folder));
            named.map_err(cannot("write", &folder))
        });
        if written.is_err() {
            // At the next start at the latest it is removed.
            let _ = fs::remove_file(&begun);
        }
        written
    }

    fn get(&self, tenant: &Tenant, name: String, version: u64) -> Result<Option<Bytes>, Error> {
        let path = self.of(tenant, &name).join(file_name(version));
        let mut bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(cannot("read", &path))?,
        };
        match sum_of(&bytes) {
            Some(length) => {
                bytes.truncate(length);
                Ok(Some(bytes.into()))
            }
            None => Err(Error::Damaged { name, version, reason: "its checksum is wrong".to_owned() }),
        }
    }

    fn touch(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
        let path = self.of(tenant, name).join(file_name(version));
        let _names = lock(&self.names);
        match File::options().append(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            file => {
                let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
                touched.map(|()| true).map_err(cannot("write", &path))
            }
        }
    }

    fn delete_unused(&self, tenant: &Tenant, prefix: &str, unused: Duration) -> Result<bool, Error> {
        let mut found = Vec::new();
        list(&self.of(tenant, prefix), prefix, &mut found)?;
        let mut is_empty = true;
        for Blob { name, version, .. } in found {
            let path = self.of(tenant, &name).join(file_name(version));
            let _names = lock(&self.names);
            let written = match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                written => written.map_err(cannot("read", &path))?,
            };
            // One that is written in the future has an age of nothing.
            if written.elapsed().unwrap_or_default() < unused {
                is_empty = false;
            } else {
                self.remove(tenant, &name, version)?;
            }
        }
        Ok(is_empty)
    }

    fn delete(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
        let _names = lock(&self.names);
        self.remove(tenant, name, version)
    }

    /// To be called by who holds the names.
    fn remove(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
        let folder = self.of(tenant, name);
        let path = folder.join(file_name(version));
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            removed => removed.map_err(cannot("remove", &path))?,
        }
        // Folders that are empty now; one that is not stays.
        let mut empty = folder.as_path();
        while empty != self.root && fs::remove_dir(empty).is_ok() {
            let Some(parent) = empty.parent() else { break };
            empty = parent;
        }
        sync_folder(empty).map_err(cannot("write", empty))?;
        Ok(true)
    }

    fn delete_prefix(&self, tenant: &Tenant, prefix: &str) -> Result<(), Error> {
        let folder = self.of(tenant, prefix);
        let begun = self.begin();
        let moved = {
            let _names = lock(&self.names);
            fs::rename(&folder, &begun).and_then(|()| folder.parent().map_or(Ok(()), sync_folder))
        };
        match moved {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            moved => moved.and_then(|()| fs::remove_dir_all(&begun)).map_err(cannot("remove", &folder)),
        }
    }
}

fn file_name(version: u64) -> String {
    format!("@{version}")
}

/// The version that a file of this name is.
fn version_of(name: &str) -> Option<u64> {
    name.strip_prefix('@')?.parse().ok()
}

/// How many bytes of a file are the blob's; none when it is not what was written.
fn sum_of(file: &[u8]) -> Option<usize> {
    let (bytes, tail) = file.split_at_checked(file.len().checked_sub(TAIL)?)?;
    let (sum, magic) = tail.split_first_chunk::<8>()?;
    (magic == MAGIC && xxh3_64(bytes) == u64::from_le_bytes(*sum)).then_some(bytes.len())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.write_all(&xxh3_64(bytes).to_le_bytes())?;
    file.write_all(MAGIC)?;
    file.sync_all()
}

/// The entries of a folder; none when there is no such folder.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    entries.map_err(cannot("read", folder))
}

fn latest(folder: &Path) -> Result<Option<u64>, Error> {
    let names = entries(folder)?.into_iter().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| version_of(name.to_str()?)).max())
}

/// Adds the versions of `name`, whose folder this is, and of what lies below.
fn list(folder: &Path, name: &str, found: &mut Vec<Blob>) -> Result<(), Error> {
    for entry in entries(folder)? {
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str() else { continue };
        match version_of(text) {
            Some(version) => {
                // One that was deleted meanwhile is not there.
                let Ok(metadata) = entry.metadata() else { continue };
                let bytes = metadata.len().saturating_sub(TAIL as u64);
                found.push(Blob { name: name.to_owned(), version, bytes });
            }
            None => {
                let below = if name.is_empty() { text.to_owned() } else { format!("{name}/{text}") };
                list(&entry.path(), &below, found)?;
            }
        }
    }
    Ok(())
}

/// Creates `folder` and those above it up to `root`, which is there, durably.
fn create_folder(folder: &Path, root: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|path| *path != root).filter(|path| !path.is_dir()).collect();
    for path in missing.into_iter().rev() {
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => path.parent().map_or(Ok(()), sync_folder)?,
        }
    }
    Ok(())
}

/// Makes sure that the names in a folder are on the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn cannot(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.display().to_string();
    move |error| StoreError::Unavailable(format!("cannot {what} {path}: {error}")).into()
}

#[cfg(test)]
mod tests {
    use funnelweb_core::limits;

    use super::*;
    use crate::conformance::Suite;

    fn blobs() -> (tempfile::TempDir, FileBlobs, Tenant) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = FileBlobs::new(folder.path()).unwrap();
        (folder, blobs, Tenant::new("t").unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn conforms() {
        let (_folder, blobs, _) = blobs();
        Suite { blobs: &blobs, prefix: "" }.run().await;
    }

    #[tokio::test]
    async fn a_file_that_was_cut_or_changed_is_damaged() {
        let (folder, blobs, t) = blobs();
        let path = folder.path().join("blobs/t/a/b/@3");
        blobs.put(&t, "a/b", 3, Bytes::from(vec![7; 1000])).await.unwrap();
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, 15, 16, 999, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(blobs.get(&t, "a/b", 3).await, Err(Error::Damaged { version: 3, .. })), "{length}");
        }
        for at in [0, 500, 1000, 1007, 1008, 1015] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(matches!(blobs.get(&t, "a/b", 3).await, Err(Error::Damaged { .. })), "{at}");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(blobs.get(&t, "a/b", 3).await.unwrap().unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_not_seen_and_goes() {
        let (folder, blobs, t) = blobs();
        blobs.put(&t, "a", 1, "one".into()).await.unwrap();
        let half = folder.path().join("blobs/~new/7");
        fs::write(&half, "hal").unwrap();
        let again = FileBlobs::new(folder.path()).unwrap();
        assert!(!half.exists());
        assert_eq!(again.list(&t, "").await.unwrap(), [Blob { name: "a".to_owned(), version: 1, bytes: 3 }]);
    }

    #[tokio::test]
    async fn nothing_is_left_of_what_was_deleted() {
        let (folder, blobs, t) = blobs();
        blobs.put(&t, "a/b/c", 1, "one".into()).await.unwrap();
        blobs.put(&t, "a/d", 1, "two".into()).await.unwrap();
        assert!(blobs.delete(&t, "a/b/c", 1).await.unwrap());
        let root = folder.path().join("blobs");
        assert!(root.join("t/a/d/@1").exists() && !root.join("t/a/b").exists());
        blobs.delete_prefix(&t, "").await.unwrap();
        assert!(!root.join("t").exists());
        assert_eq!(fs::read_dir(root.join(NEW)).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_touched_is_young() {
        const HOUR: Duration = Duration::from_secs(3600);
        let (folder, blobs, t) = blobs();
        for name in ["a/b", "a/c"] {
            blobs.put(&t, name, 1, "one".into()).await.unwrap();
            let file = File::options().append(true).open(folder.path().join("blobs/t").join(name).join("@1")).unwrap();
            file.set_modified(SystemTime::now() - 2 * HOUR).unwrap();
        }
        assert_eq!(blobs.touch(&t, "a/b", 1).await, Ok(true));
        assert_eq!(blobs.delete_unused(&t, "a", HOUR).await, Ok(false));
        assert_eq!(blobs.list(&t, "").await.unwrap(), [Blob { name: "a/b".to_owned(), version: 1, bytes: 3 }]);
        assert_eq!(blobs.get(&t, "a/b", 1).await.unwrap().unwrap(), "one");
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused() {
        let (_folder, blobs, t) = blobs();
        let error = blobs.put(&t, "a", 1, Bytes::from(vec![0; limits::BLOB_BYTES + 1])).await.unwrap_err();
        assert!(error.to_string().contains(&limits::BLOB_BYTES.to_string()), "{error}");
    }
}

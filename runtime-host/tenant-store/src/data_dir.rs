//! A data directory: which tenants it has, and who may write to it.
//!
//! A process that serves tenants' files keeps in memory what is in them, so no
//! other one may write to them meanwhile. It holds a lock for as long as it runs,
//! which the system takes away with the process, however it ends. Whoever only
//! reads needs none: see [`crate::copy_tenant`].

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{Error, Tenant};

/// What the names of tenants' files end with.
const SUFFIX: &str = ".db";

/// How long a lock is waited for: a process that was killed has it until the system
/// has taken its memory back, and its successor may be there before that.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The right to write to a data directory, until it is dropped.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the lock of `data_dir`, which is created; waits some seconds for it.
    ///
    /// # Errors
    /// `unavailable` when another process keeps it, or when the file `lock` in the
    /// directory cannot be made or locked.
    pub fn take(data_dir: &Path) -> Result<Self, Error> {
        let cannot = |error: io::Error| Error::Unavailable(format!("cannot lock {}: {error}", data_dir.display()));
        fs::create_dir_all(data_dir).map_err(cannot)?;
        let file = File::options().create(true).truncate(false).write(true).open(data_dir.join("lock"));
        let file = file.map_err(cannot)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Unavailable(format!("{} is in use by another process", data_dir.display())));
                }
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
            }
        }
    }
}

/// Where the tenants' files of a data directory are.
#[must_use]
pub fn tenants_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("tenants")
}

/// A tenant's file, whether it is there or not.
#[must_use]
pub fn tenant_file(data_dir: &Path, tenant: &Tenant) -> PathBuf {
    tenants_folder(data_dir).join(format!("{tenant}{SUFFIX}"))
}

/// The tenants that have a file, by name; none when there is no such directory.
///
/// # Errors
/// `unavailable` when the directory cannot be read.
pub fn tenants_in(data_dir: &Path) -> Result<Vec<Tenant>, Error> {
    tenants_of(&tenants_folder(data_dir))
}

/// [`tenants_in`], of the folder with their files.
pub(crate) fn tenants_of(folder: &Path) -> Result<Vec<Tenant>, Error> {
    let cannot = |error: io::Error| Error::Unavailable(format!("cannot read {}: {error}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut tenants = Vec::new();
    for entry in entries {
        let name = entry.map_err(cannot)?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        tenants.extend(id.and_then(|id| Tenant::new(id).ok()));
    }
    tenants.sort_unstable();
    Ok(tenants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let held = DataDirLock::take(&data_dir).unwrap();
        let refused = DataDirLock::take(&data_dir).unwrap_err().to_string();
        assert!(refused.ends_with("is in use by another process"), "{refused}");
        // One that is about to end is waited for.
        let ending = std::thread::spawn(move || {
            sleep(5 * PAUSE);
            drop(held);
        });
        DataDirLock::take(&data_dir).unwrap();
        ending.join().unwrap();
    }

    #[test]
    fn tenants_are_those_with_a_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(tenants_in(folder.path()).unwrap(), []);
        fs::create_dir(tenants_folder(folder.path())).unwrap();
        for name in ["b.db", "b.db-wal", "a.db", "no tenant.db", "other"] {
            fs::write(tenants_folder(folder.path()).join(name), "").unwrap();
        }
        assert_eq!(tenants_in(folder.path()).unwrap(), ["a", "b"].map(|id| Tenant::new(id).unwrap()));
    }
}

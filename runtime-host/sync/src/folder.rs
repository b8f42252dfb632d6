//! The files that a tenant may have read: those below a folder of its own.

use std::{
    fs::File,
    io,
    path::{Component, Path},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions, OpenOptionsExt as _},
};
use funnelweb_core::limits;
use funnelweb_import::Files;
use funnelweb_jobs::work::Failure;
use funnelweb_tenant_store::Tenant;
use rustix::fs::OFlags;

/// Whether a path may name a file of a tenant's folder: relative, of names only.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    if path.contains(|c: char| c.is_control() || matches!(c, '\\' | '"')) {
        return Err("must hold no backslashes, quotes or control characters".to_owned());
    }
    let names = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !names || path.is_empty() || path.ends_with('/') || path.split('/').any(|part| part == ".") {
        return Err("must be a relative path to a file, without `.` and `..`".to_owned());
    }
    Ok(())
}

/// A tenant's folder. Whatever lies in it, links included, nothing outside it is
/// opened: each step of a path is taken by the operating system from the one before
/// (`cap-std`), so that a link that is put there in between leads nowhere, either.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: Dir,
    source_bytes: u64,
}

impl Folder {
    /// The folder of a tenant below the operator's.
    pub(crate) fn open(all: &Path, tenant: &Tenant, source_bytes: u64) -> io::Result<Self> {
        let folder = Dir::open_ambient_dir(all.join(tenant.as_str()), ambient_authority())?;
        Ok(Self { folder, source_bytes })
    }
}

impl Files for Folder {
    fn open(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // A pipe without a writer would be waited for.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = self.folder.open_with(path, &options)?.into_std();
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }

    fn source_bytes(&self) -> u64 {
        self.source_bytes
    }

    fn table_bytes(&self) -> u64 {
        limits::SYNC_TABLE_BYTES.min(self.source_bytes)
    }
}

/// What a file that cannot be opened or read means for a run.
pub(crate) fn unreadable(error: io::Error) -> Failure {
    use io::ErrorKind::{
        InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied, UnexpectedEof,
    };
    match error.kind() {
        NotFound => Failure::Permanent("there is no such file".to_owned()),
        PermissionDenied => Failure::Permanent("it is not to be read, or leads out of the folder".to_owned()),
        InvalidData | InvalidInput | IsADirectory | NotADirectory | UnexpectedEof => {
            Failure::Permanent(error.to_string())
        }
        _ => Failure::Transient(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_path_is_of_names_only() {
        for path in ["items.csv", "a/b/items.csv.gz", "a..b", "..a", "ünïcode ä.csv", "c:d"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        for path in ["", "/", "/etc/passwd", "..", "../x", "a/../b", "./x", "a/./b", "a/", "a/..", "."] {
            assert!(check_path(path).unwrap_err().contains("relative path"), "{path}");
        }
        for path in ["a\\b", "a\0b", "a\nb", "a\"b"] {
            assert!(check_path(path).unwrap_err().contains("control characters"), "{path:?}");
        }
    }

    #[test]
    fn nothing_outside_a_tenant_s_folder_is_opened() {
        let all = tempfile::tempdir().unwrap();
        let path = |name: &str| all.path().join(name);
        for tenant in ["acme", "other"] {
            fs::create_dir(path(tenant)).unwrap();
        }
        fs::write(path("other/secret.csv"), "theirs").unwrap();
        fs::write(path("above.csv"), "nobody's").unwrap();
        fs::create_dir(path("acme/sub")).unwrap();
        fs::write(path("acme/sub/mine.csv"), "mine").unwrap();
        symlink("sub/mine.csv", path("acme/inside.csv")).unwrap();
        symlink("../other/secret.csv", path("acme/relative.csv")).unwrap();
        symlink(path("other/secret.csv"), path("acme/absolute.csv")).unwrap();
        symlink("../other", path("acme/folder")).unwrap();
        symlink("../../above.csv", path("acme/sub/above.csv")).unwrap();
        symlink("/proc/self/environ", path("acme/environ.csv")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path("acme/pipe.csv"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();

        let folder = Folder::open(all.path(), &Tenant::new("acme").unwrap(), u64::MAX).unwrap();
        let read = |name: &str| folder.open(Path::new(name)).and_then(io::read_to_string);
        assert_eq!(read("sub/mine.csv").unwrap(), "mine");
        assert_eq!(read("inside.csv").unwrap(), "mine", "a link within the folder is one's own");
        for name in [
            "../other/secret.csv",
            "sub/../../other/secret.csv",
            "/etc/hostname",
            "relative.csv",
            "absolute.csv",
            "folder/secret.csv",
            "sub/above.csv",
            "environ.csv",
        ] {
            assert_eq!(read(name).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{name}");
        }
        for name in ["pipe.csv", "sub"] {
            assert_eq!(read(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(read("none.csv").unwrap_err().kind(), io::ErrorKind::NotFound);
        let nobody = Folder::open(all.path(), &Tenant::new("nobody").unwrap(), u64::MAX);
        assert_eq!(nobody.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(folder.table_bytes(), limits::SYNC_TABLE_BYTES);
    }
}

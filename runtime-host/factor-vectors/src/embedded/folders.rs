//! Where spaces are: `<data dir>/vectors/<tenant>/<scenario>/<space>/<number>/`.
//!
//! A space that is made again gets a new number, so that what is still at work on the
//! one before cannot touch it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use funnelweb_vector_index::Store;

use super::{Name, refused};
use crate::store::{Error, Tenant};

/// The folders of all spaces.
#[derive(Debug)]
pub(super) struct Folders(PathBuf);

impl Folders {
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("vectors"))
    }

    fn scenario(&self, tenant: &Tenant, scenario_id: &str) -> PathBuf {
        self.0.join(tenant.as_str()).join(scenario_id)
    }

    /// Of a space, with a folder for each time that it was made.
    fn space(&self, name: &Name) -> PathBuf {
        self.scenario(&name.tenant, &name.scenario_id).join(&*name.space)
    }

    /// Whether there may be such a space.
    pub fn has(&self, name: &Name) -> bool {
        self.space(name).exists()
    }

    /// The space as it was made last.
    pub fn current(&self, name: &Name) -> Result<Option<PathBuf>, Error> {
        let folder = self.space(name);
        let number = numbers(&folder)?.into_iter().max();
        Ok(number.map(|number| folder.join(number.to_string())))
    }

    /// Where the space is made now: a folder that was never used by this process, if
    /// `number` is one that it has not used.
    pub fn next(&self, name: &Name, number: u64) -> Result<PathBuf, Error> {
        let folder = self.space(name);
        let above = numbers(&folder)?.into_iter().max().map_or(0, |last| last + 1);
        Ok(folder.join(number.max(above).to_string()))
    }

    /// The names of the scenario's spaces, sorted.
    pub fn spaces(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<String>, Error> {
        let folder = self.scenario(tenant, scenario_id);
        let mut spaces = Vec::new();
        for name in entries(&folder)? {
            if !numbers(&folder.join(&name))?.is_empty() {
                spaces.push(name);
            }
        }
        spaces.sort_unstable();
        Ok(spaces)
    }

    /// Removes the space with everything that is left of it. Once the index of its last
    /// folder is gone, there is no such space, wherever this is interrupted.
    pub fn remove(&self, name: &Name) -> Result<(), Error> {
        let folder = self.space(name);
        let mut numbers = numbers(&folder)?;
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        for number in numbers {
            let one = folder.join(number.to_string());
            Store::discard(&one).map_err(refused)?;
            gone(fs::remove_dir_all(&one)).map_err(cannot("remove", &one))?;
        }
        gone(fs::remove_dir_all(&folder)).map_err(cannot("remove", &folder))
    }

    /// Removes the scenario's folder if no space is in it.
    pub fn tidy(&self, tenant: &Tenant, scenario_id: &str) {
        // What is left is an empty folder, or one that is in use.
        let _ = fs::remove_dir(self.scenario(tenant, scenario_id));
    }

    /// Makes sure that the way to a new folder is on the disk.
    pub fn sync_way_to(&self, folder: &Path) -> Result<(), Error> {
        let above = self.0.parent();
        for folder in folder.ancestors().skip(1).take_while(|folder| Some(*folder) != above.and_then(Path::parent)) {
            // Elsewhere a folder cannot be opened as a file.
            #[cfg(unix)]
            fs::File::open(folder).and_then(|opened| opened.sync_all()).map_err(cannot("write", folder))?;
        }
        Ok(())
    }
}

fn numbers(folder: &Path) -> Result<Vec<u64>, Error> {
    Ok(entries(folder)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The names in a folder; none when there is no such folder.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let read = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        read => read.map_err(cannot("read", folder))?,
    };
    let mut names = Vec::new();
    for entry in read {
        let name = entry.map_err(cannot("read", folder))?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}

/// To be gone already is to be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn cannot(what: &str, folder: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::Unavailable(format!("vectors: cannot {what} {}: {error}", folder.display()))
}

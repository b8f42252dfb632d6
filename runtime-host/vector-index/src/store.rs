//! An index that outlives the process: a file of all that was in it at some moment,
//! and a log of what changed since.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    Change, Error, Filter, Hit, Index, Plan, Space,
    error::Result,
    file,
    limits::MIN_LOG_BYTES,
    log::{self, Log},
    state::Current,
};

/// The file of the index in its folder.
const FILE: &str = "index";
/// What the names of logs begin with; their generation follows.
const LOG: &str = "changes-";

/// An index in a folder of its own, which one process has open at a time.
///
/// A change is in the log when [`Store::apply`] returns, and survives the end of the
/// process; after [`Store::sync`], that of the machine, too. Files that are not what was
/// written are an [`Error`] when the folder is opened: empty it ([`Store::discard`]) and
/// fill the index again from where its vectors come from.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    index: Index,
    /// Nothing after a failed write.
    log: Mutex<Option<Log>>,
    saved: Mutex<Saved>,
}

/// What was found in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opened {
    /// Changes that were in the log.
    pub changes: u64,
    /// Bytes at the end of the log that were being written when the process or the
    /// machine stopped; they are gone.
    pub torn_bytes: u64,
}

/// What the file has.
#[derive(Debug)]
struct Saved {
    bytes: u64,
    /// Of which base.
    base: Option<u64>,
}

impl Store {
    /// Opens the index in `folder`, which is created.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Mismatch`] when a file is not what was written for
    /// this space, [`Error::File`] when one cannot be read or written.
    pub fn open(folder: &Path, space: Space, plan: Plan) -> Result<(Self, Opened)> {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let path = folder.join(FILE);
        let (current, generation) = match file::read(&path, space)? {
            Some(read) => read,
            None => (Current::new(space, None), begin(folder, &path, space)?),
        };
        let bytes = fs::metadata(&path).map_err(Error::file(&path))?.len();
        let saved = Mutex::new(Saved { bytes, base: current.state.base_id() });
        let index = Index::with(space, plan, current);
        let (log, opened) = replay(folder, &index, generation)?;
        remove_logs_before(folder, generation)?;
        Ok((Self { folder: folder.to_owned(), index, log: Mutex::new(Some(log)), saved }, opened))
    }

    /// What the vectors of the index in `folder` have in common; nothing when there is
    /// no index, or its making was interrupted.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn space(folder: &Path) -> Result<Option<Space>> {
        file::space(&folder.join(FILE))
    }

    /// Removes the index in `folder`, whatever state it is in.
    ///
    /// # Errors
    /// [`Error::File`] when a file cannot be removed.
    pub fn discard(folder: &Path) -> Result<()> {
        // Either without the other is taken for damaged.
        let path = folder.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&path)(error)),
            _ => remove_logs_before(folder, u64::MAX),
        }
    }

    /// As [`Index::apply`]; the changes are in the log then.
    ///
    /// # Errors
    /// As [`Index::apply`]; [`Error::File`] when they cannot be written, and
    /// [`Error::Broken`] ever after.
    pub fn apply(&self, changes: &[Change]) -> Result<()> {
        let mut log = self.lock_log();
        let checked = self.index.check(changes)?;
        self.written(&mut log, |log| log.append(changes))?;
        self.index.make(&checked);
        Ok(())
    }

    /// Makes all changes durable.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn sync(&self) -> Result<()> {
        self.written(&mut self.lock_log(), Log::sync)
    }

    /// As [`Index::query`].
    ///
    /// # Errors
    /// As [`Index::query`].
    pub fn query(&self, vector: &[f32], k: usize, filter: Option<&Filter>) -> Result<Vec<Hit>> {
        self.index.query(vector, k, filter)
    }

    /// As [`Index::get`].
    #[must_use]
    pub fn get(&self, handle: u64) -> Option<Vec<f32>> {
        self.index.get(handle)
    }

    /// As [`Index::len`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// As [`Index::is_empty`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// As [`Index::memory_bytes`].
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
    }

    /// Whether [`Store::maintain`] has something to do.
    #[must_use]
    pub fn maintenance_due(&self) -> bool {
        self.index.rebuild_due() || self.save_due()
    }

    /// Rebuilds the index if that is due ([`Index::rebuild`]) and writes its file if the
    /// log has become long or there is a new graph. It takes long; meanwhile the index is
    /// queried and changed as ever.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn maintain(&self) -> Result<()> {
        self.index.rebuild();
        if self.save_due() { self.save() } else { Ok(()) }
    }

    fn save_due(&self) -> bool {
        let log_bytes = self.lock_log().as_ref().map_or(0, Log::bytes);
        let saved = self.lock_saved();
        log_bytes > saved.bytes.max(MIN_LOG_BYTES) || saved.base != self.index.read().state.base_id()
    }

    /// Writes the file of the index anew and begins an empty log.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn save(&self) -> Result<()> {
        let mut saved = self.lock_saved();
        let (state, generation) = {
            let mut log = self.lock_log();
            self.written(&mut log, |log| {
                // From here on this log is whole, as one must be that another follows.
                log.sync()?;
                let next = log.generation() + 1;
                *log = Log::create(&log_path(&self.folder, next), self.index.space(), next)?;
                Ok((self.index.read().state.clone(), next))
            })?
        };
        let bytes = file::write(&self.folder.join(FILE), self.index.space(), &state, generation)?;
        *saved = Saved { bytes, base: state.base_id() };
        remove_logs_before(&self.folder, generation)
    }

    /// Writes to the log, unless an earlier write failed.
    fn written<T>(&self, log: &mut Option<Log>, write: impl FnOnce(&mut Log) -> Result<T>) -> Result<T> {
        let written = match log {
            Some(log) => write(log),
            None => return Err(Error::Broken { path: self.folder.clone() }),
        };
        if written.is_err() {
            *log = None;
        }
        written
    }

    fn lock_log(&self) -> MutexGuard<'_, Option<Log>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_saved(&self) -> MutexGuard<'_, Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the files of an empty index, the log first; returns its generation.
fn begin(folder: &Path, path: &Path, space: Space) -> Result<u64> {
    const FIRST: u64 = 1;
    for generation in logs(folder)? {
        let log = log_path(folder, generation);
        let begun = generation == FIRST && log::read(&log, space, FIRST)?.is_none_or(|it| it.changes.is_empty());
        if !begun {
            return Err(Error::damaged(path, "it is missing"));
        }
    }
    Log::create(&log_path(folder, FIRST), space, FIRST)?;
    file::write(path, space, &Current::new(space, None).state, FIRST)?;
    Ok(FIRST)
}

/// Makes the changes of all logs from `generation` on, and goes on with the last.
fn replay(folder: &Path, index: &Index, mut generation: u64) -> Result<(Log, Opened)> {
    let last = logs(folder)?.into_iter().max().unwrap_or(0).max(generation);
    let mut opened = Opened::default();
    loop {
        let path = log_path(folder, generation);
        let logged = log::read(&path, index.space(), generation)?;
        let logged = logged.ok_or_else(|| Error::damaged(&path, "it is missing"))?;
        for changes in &logged.changes {
            index.apply(changes).map_err(|_| Error::damaged(&path, "a change cannot be made"))?;
            opened.changes += changes.len() as u64;
        }
        if generation == last {
            opened.torn_bytes = logged.torn;
            return Ok((Log::resume(&path, generation, &logged)?, opened));
        }
        if logged.torn > 0 {
            return Err(Error::damaged(&path, "its end is not whole, and another follows it"));
        }
        generation += 1;
    }
}

fn log_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("{LOG}{generation}"))
}

/// The generations of the logs in a folder.
fn logs(folder: &Path) -> Result<Vec<u64>> {
    let mut generations = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let name = entry.map_err(Error::file(folder))?.file_name();
        let generation =
            name.to_str().and_then(|name| name.strip_prefix(LOG)).and_then(|number| number.parse::<u64>().ok());
        generations.extend(generation);
    }
    Ok(generations)
}

fn remove_logs_before(folder: &Path, generation: u64) -> Result<()> {
    for old in logs(folder)?.into_iter().filter(|old| *old < generation) {
        let path = log_path(folder, old);
        fs::remove_file(&path).map_err(Error::file(&path))?;
    }
    Ok(())
}

//! Components compiled once: the machine code of a component is kept in a file
//! named by its content and by everything in the engine that code depends on.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{
    Error,
    load::{self, Mapped},
};

/// A folder of compiled components. Nothing but this process's own compiler
/// writes there: loading machine code is trusting it.
pub struct ComponentCache {
    folder: PathBuf,
    /// By file name: several entries of a manifest may have one source, and only
    /// the first to come compiles it.
    at_work: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

impl ComponentCache {
    /// A cache in this folder, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be made.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|source| Error::File { path: folder.clone(), source })?;
        Ok(Self { folder, at_work: Mutex::default() })
    }

    /// The component of a `.wasm` file, compiled for `engine` now or earlier.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Compile`] when it is no
    /// component.
    pub fn load(&self, engine: &Engine, path: &Path) -> Result<Component, Error> {
        let wasm = fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        self.compiled(engine, &wasm, path)
    }

    /// The same of its bytes, which come from `origin`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn compiled(&self, engine: &Engine, wasm: &[u8], origin: &Path) -> Result<Component, Error> {
        let content: String = Sha256::digest(wasm).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let cached = self.folder.join(name(engine, &content));
        let lock = self.lock(&cached);
        let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = found(engine, &cached) {
            return Ok(component);
        }
        tracing::info!(path = %origin.display(), bytes = wasm.len(), "compiling component");
        compile(engine, wasm, origin, &cached)
    }

    /// What was compiled under a name of the caller's, which stands for its content;
    /// none when nothing was. It is used then.
    #[must_use]
    pub fn known(&self, engine: &Engine, content: &str) -> Option<Component> {
        let component = found(engine, &self.folder.join(name(engine, content)))?;
        self.used(engine, content);
        Some(component)
    }

    /// The same, and why it cannot be loaded when it is there and cannot.
    ///
    /// # Errors
    /// [`Error::Compile`]: it is damaged, or an instance of it needs more than there is.
    pub fn open(&self, engine: &Engine, content: &str) -> Result<Option<Mapped>, Error> {
        let path = self.file(engine, content);
        if !path.exists() {
            return Ok(None);
        }
        let mapped = load::mapped(engine, &path).map_err(|source| Error::Compile { path, source })?;
        self.used(engine, content);
        Ok(Some(mapped))
    }

    /// Says that what was compiled under a name of the caller's is in use, for
    /// [`trim`](Self::trim). Where there is no such file nothing is said.
    pub fn used(&self, engine: &Engine, content: &str) {
        let path = self.folder.join(name(engine, content));
        // One that seems older than it is is made again.
        let _ = fs::File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Removes files of names that begin with `prefix`: those that nobody has used for as
    /// long as `unused`, then those used least recently until the rest have at most
    /// `bytes`. One that is mapped takes its place on the disk until it is let go of.
    pub fn trim(&self, prefix: &str, bytes: u64, unused: Duration) {
        let mut files = match self.files(prefix) {
            Ok(files) => files,
            Err(error) => return tracing::warn!(%error, "compiled components are not looked through"),
        };
        // The last used first.
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.used));
        let mut kept = 0;
        for File { path, bytes: file_bytes, used } in files {
            // One that is used in the future has an age of nothing.
            if kept + file_bytes > bytes || used.elapsed().unwrap_or_default() >= unused {
                remove(&path);
            } else {
                kept += file_bytes;
            }
        }
    }

    fn files(&self, prefix: &str) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
                continue;
            }
            // Another process may have removed it.
            let Ok(metadata) = entry.metadata() else { continue };
            files.push(File { path: entry.path(), bytes: metadata.len(), used: metadata.modified()? });
        }
        Ok(files)
    }

    /// Compiles under a name of the caller's.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn compile_as(&self, engine: &Engine, content: &str, wasm: &[u8]) -> Result<Component, Error> {
        let cached = self.folder.join(name(engine, content));
        let lock = self.lock(&cached);
        let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        match found(engine, &cached) {
            Some(component) => Ok(component),
            None => compile(engine, wasm, Path::new(content), &cached),
        }
    }

    /// Where a component compiled for `engine` by another process is to be put, under a name
    /// of the caller's, to be [`known`](Self::known) from then on: in one step, and by this
    /// program only.
    #[must_use]
    pub fn file(&self, engine: &Engine, content: &str) -> PathBuf {
        self.folder.join(name(engine, content))
    }

    /// Where functions compiled for `engine` are kept, under a name of the caller's.
    #[must_use]
    pub fn functions_file(&self, engine: &Engine, content: &str) -> PathBuf {
        self.file(engine, content).with_extension("functions")
    }

    /// Forgets what was compiled under a name of the caller's.
    pub fn forget(&self, engine: &Engine, content: &str) {
        remove(&self.folder.join(name(engine, content)));
    }

    fn lock(&self, cached: &Path) -> Arc<Mutex<()>> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody waits for.
        at_work.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(at_work.entry(cached.to_owned()).or_default())
    }
}

/// A file of the folder.
struct File {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// The SHA-256 of a file's content, in hexadecimal.
#[must_use]
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "compiled component stays");
    }
}

fn found(engine: &Engine, cached: &Path) -> Option<Component> {
    if !cached.exists() {
        return None;
    }
    let loaded = load::component(engine, cached);
    // Cut off by a crash or a full disk: to be made again.
    loaded.inspect_err(|error| tracing::warn!(path = %cached.display(), %error, "compiled component is damaged")).ok()
}

fn compile(engine: &Engine, wasm: &[u8], origin: &Path, cached: &Path) -> Result<Component, Error> {
    let refused = |source| Error::Compile { path: origin.to_owned(), source };
    let code = engine.precompile_component(wasm).map_err(refused)?;
    let file = |source| Error::File { path: cached.to_owned(), source };
    // Renamed into place, so that no reader sees half a file; another process
    // that compiles it as well writes to a file of its own.
    let part = cached.with_extension(format!("{}.part", std::process::id()));
    write(&part, &code).and_then(|()| fs::rename(&part, cached)).map_err(file)?;
    load::component(engine, cached).map_err(refused)
}

/// In pieces: what is written at once may be cached in one piece, and is then mapped as
/// one when a byte of it is touched. Of machine code most is never touched.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    bytes.chunks(16 * 1024).try_for_each(|piece| file.write_all(piece))
}

fn name(engine: &Engine, content: &str) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{content}-{:016x}.cwasm", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiles_once_and_repairs_a_damaged_file() {
        let folder = tempfile::tempdir().unwrap();
        let wasm = folder.path().join("empty.wasm");
        fs::write(&wasm, b"\0asm\x0d\0\x01\0").unwrap();
        let cache = ComponentCache::new(folder.path().join("cache")).unwrap();
        let engine = Engine::default();
        cache.load(&engine, &wasm).unwrap();
        let entries = || {
            fs::read_dir(folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        assert_eq!(entries().len(), 1);
        fs::write(&entries()[0], b"half").unwrap();
        cache.load(&engine, &wasm).unwrap();
        assert_eq!(entries().len(), 1);
    }

    #[test]
    fn many_at_once_compile_once() {
        let folder = tempfile::tempdir().unwrap();
        let wasm = folder.path().join("empty.wasm");
        fs::write(&wasm, b"\0asm\x0d\0\x01\0").unwrap();
        let cache = ComponentCache::new(folder.path().join("cache")).unwrap();
        let engine = Engine::default();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| cache.load(&engine, &wasm).map(|_| ()).unwrap());
            }
        });
        assert_eq!(fs::read_dir(folder.path().join("cache")).unwrap().count(), 1);
    }

    #[test]
    fn so_many_bytes_stay_and_the_last_used_ones() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ComponentCache::new(folder.path()).unwrap();
        let engine = Engine::default();
        for content in ["models-a", "models-b", "models-c", "models-d", "other"] {
            cache.compile_as(&engine, content, b"\0asm\x0d\0\x01\0").unwrap();
        }
        let path = |content: &str| folder.path().join(name(&engine, content));
        let unused_for = |content: &str, hours: u64| {
            let then = SystemTime::now() - Duration::from_secs(3600 * hours);
            fs::File::options().append(true).open(path(content)).unwrap().set_modified(then).unwrap();
        };
        for (content, hours) in [("models-a", 9), ("models-b", 8), ("models-c", 7), ("models-d", 6), ("other", 1000)] {
            unused_for(content, hours);
        }
        assert!(cache.known(&engine, "models-a").is_some(), "used, from now on");
        cache.used(&engine, "models-x");
        let there = || ["models-a", "models-b", "models-c", "models-d", "other"].map(|content| path(content).exists());
        let bytes = fs::metadata(path("models-a")).unwrap().len();
        cache.trim("models-", 3 * bytes, Duration::MAX);
        assert_eq!(there(), [true, false, true, true, true]);
        cache.trim("models-", u64::MAX, Duration::from_secs(3600 * 13 / 2));
        assert_eq!(there(), [true, false, false, true, true]);
        cache.trim("models-", 0, Duration::MAX);
        assert_eq!(there(), [false, false, false, false, true]);
    }

    #[test]
    fn locks_of_what_is_done_are_let_go_of() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ComponentCache::new(folder.path()).unwrap();
        let engine = Engine::default();
        for at in 0..100 {
            cache.compile_as(&engine, &format!("models-{at}"), b"\0asm\x0d\0\x01\0").unwrap();
        }
        assert_eq!(cache.at_work.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_component_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let wasm = folder.path().join("text.wasm");
        fs::write(&wasm, "hello").unwrap();
        let error = ComponentCache::new(folder.path()).unwrap().load(&Engine::default(), &wasm).err().unwrap();
        assert!(error.to_string().contains("text.wasm"), "{error}");
    }
}

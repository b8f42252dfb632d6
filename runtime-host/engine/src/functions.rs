//! Machine code of functions that were compiled before. A component that has another
//! memory to begin with has the same functions: only what is new of it is compiled.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError, RwLock},
};

use sha2::{Digest, Sha256};
use wasmtime::CacheStore;

/// Of one engine. It is held in memory during [`Functions::with_file`], and lies in a
/// file otherwise.
#[derive(Debug, Default)]
pub struct Functions {
    held: RwLock<Option<Held>>,
    /// One file at a time.
    at_work: Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    code: HashMap<Vec<u8>, Vec<u8>>,
    /// Whether there is more than in the file.
    grown: bool,
}

impl Functions {
    /// Compiles, with the functions of a file at hand and new ones put there. A file
    /// that cannot be read or written makes it slower, and no more.
    pub fn with_file<R>(&self, file: &Path, compile: impl FnOnce() -> R) -> R {
        let _turn = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let code = fs::read(file).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default();
        self.hold(Some(Held { code, grown: false }));
        let result = compile();
        if let Some(held) = self.hold(None).filter(|held| held.grown)
            && let Err(error) = write(file, &held.code)
        {
            tracing::warn!(file = %file.display(), %error, "compiled functions are not kept");
        }
        result
    }

    fn hold(&self, held: Option<Held>) -> Option<Held> {
        std::mem::replace(&mut *self.held.write().unwrap_or_else(PoisonError::into_inner), held)
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref()?.code.get(key).map(|code| Cow::Owned(code.clone()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.as_mut() else { return false };
        held.code.insert(key.to_vec(), value);
        held.grown = true;
        true
    }
}

/// Lengths and bytes of every key and its code, behind a digest of all that.
fn encode(code: &HashMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in code.iter().flat_map(|(key, code)| [key, code]) {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    [Sha256::digest(&bytes).as_slice(), &bytes].concat()
}

/// None of what is damaged: it would run.
fn decode(bytes: &[u8]) -> Option<HashMap<Vec<u8>, Vec<u8>>> {
    let (digest, mut rest) = bytes.split_at_checked(32)?;
    if Sha256::digest(rest).as_slice() != digest {
        return None;
    }
    let mut part = || {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (part, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        rest = after;
        Some(part.to_vec())
    };
    let mut code = HashMap::new();
    while let Some(key) = part() {
        code.insert(key, part()?);
    }
    Some(code)
}

/// Renamed into place, so that no reader sees half a file.
fn write(file: &Path, code: &HashMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
    let part = file.with_extension(format!("{}.part", std::process::id()));
    fs::write(&part, encode(code))?;
    fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("functions");
        let functions = Functions::default();
        assert!(!functions.insert(b"key", vec![1]) && functions.get(b"key").is_none(), "nothing is held");
        assert!(functions.with_file(&file, || functions.insert(b"key", vec![1, 2])));
        assert!(functions.get(b"key").is_none());
        functions.with_file(&file, || assert_eq!(functions.get(b"key").as_deref(), Some([1, 2].as_slice())));
    }

    #[test]
    fn of_a_damaged_file_nothing_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("functions");
        let functions = Functions::default();
        functions.with_file(&file, || functions.insert(b"key", vec![1, 2]));
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        for damaged in [&bytes[..], &bytes[..40], &bytes[..3], &[]] {
            fs::write(&file, damaged).unwrap();
            functions.with_file(&file, || assert!(functions.get(b"key").is_none()));
        }
    }
}

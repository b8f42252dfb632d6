//! Ids at the edge and their short forms inside.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::limits;

/// Why a string is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No characters at all.
    #[error("must not be empty")]
    Empty,
    /// More than [`limits::ID_BYTES`] bytes.
    #[error("must be at most {limit} bytes long, got {0}", limit = limits::ID_BYTES)]
    TooLong(usize),
    /// A character outside `[A-Za-z0-9_.:-]`.
    #[error("may hold letters, digits and `_ . : -` only, got {0:?} at byte {1}")]
    Character(char, usize),
    /// `.` or `..`, which a path would read as a folder.
    #[error("must not be `.` or `..`")]
    Dots,
}

/// Checks a tenant, scenario, user, item, event or request id:
/// `[A-Za-z0-9_.:-]{1,128}`, and neither `.` nor `..`. Such an id cannot escape
/// a key, a topic or a path.
///
/// # Errors
/// The first rule that `id` breaks.
pub fn check(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::Empty);
    }
    if id.len() > limits::ID_BYTES {
        return Err(Error::TooLong(id.len()));
    }
    if id == "." || id == ".." {
        return Err(Error::Dots);
    }
    for (at, character) in id.char_indices() {
        if !(character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | ':' | '-')) {
            return Err(Error::Character(character, at));
        }
    }
    Ok(())
}

/// The handle of an id inside a component border: XXH3, 64 bit, seed 0.
#[must_use]
pub fn handle(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

/// What many bytes are told apart by: XXH3, 128 bit, seed 0.
#[must_use]
pub fn digest(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// A categorical value inside a component border: the low 32 bits of XXH3, never
/// 0, which stands for a missing value.
#[must_use]
pub fn value_hash(value: &str) -> u32 {
    // Truncation is the definition.
    (xxh3_64(value.as_bytes()) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_alphabet_and_nothing_else() {
        assert_eq!(check("A-z_0.9:x"), Ok(()));
        assert_eq!(check(""), Err(Error::Empty));
        assert_eq!(check(".."), Err(Error::Dots));
        assert_eq!(check("a/b"), Err(Error::Character('/', 1)));
        assert_eq!(check("a\0"), Err(Error::Character('\0', 1)));
        assert_eq!(check("é"), Err(Error::Character('é', 0)));
        assert_eq!(check(&"x".repeat(limits::ID_BYTES)), Ok(()));
        assert_eq!(check(&"x".repeat(limits::ID_BYTES + 1)), Err(Error::TooLong(limits::ID_BYTES + 1)));
    }

    #[test]
    fn hashes_are_the_published_function() {
        // XXH3_64bits of the empty string, from the reference implementation.
        assert_eq!(handle(""), 0x2D06_8005_38D3_94C2);
        assert_ne!(value_hash("news"), 0);
    }
}

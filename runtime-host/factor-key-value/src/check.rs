//! What the calls of every backend of [`KeyValues`](crate::store::KeyValues) must be,
//! before the store is asked. The errors name the argument and the rule.

use funnelweb_core::limits;

use crate::store::Error;

/// A key of a store.
///
/// # Errors
/// `invalid`.
pub fn key(label: &str, key: &str) -> Result<(), Error> {
    Error::check_id("label", label)?;
    Error::check_count("key", key.len(), 1, limits::KEY_VALUE_KEY_BYTES)
}

/// A value that is to be set.
///
/// # Errors
/// `invalid`.
pub fn value(value: &[u8]) -> Result<(), Error> {
    Error::check_count("value", value.len(), 0, limits::KEY_VALUE_VALUE_BYTES)
}

/// `get_many`, `delete_many`.
///
/// # Errors
/// `invalid`.
pub fn keys(label: &str, keys: &[String]) -> Result<(), Error> {
    Error::check_id("label", label)?;
    Error::check_count("keys", keys.len(), 0, limits::KEY_VALUE_BATCH_KEYS)?;
    let name = |at: usize| format!("keys[{at}]");
    let mut keys = keys.iter().enumerate();
    keys.try_for_each(|(at, key)| Error::check_count(&name(at), key.len(), 1, limits::KEY_VALUE_KEY_BYTES))
}

/// `set_many`.
///
/// # Errors
/// `invalid`.
pub fn pairs(label: &str, pairs: &[(String, Vec<u8>)]) -> Result<(), Error> {
    Error::check_id("label", label)?;
    Error::check_count("key-values", pairs.len(), 0, limits::KEY_VALUE_BATCH_KEYS)?;
    let name = |at: usize| format!("key-values[{at}]");
    for (at, (key, value)) in pairs.iter().enumerate() {
        Error::check_count(&name(at), key.len(), 1, limits::KEY_VALUE_KEY_BYTES)?;
        Error::check_count(&name(at), value.len(), 0, limits::KEY_VALUE_VALUE_BYTES)?;
    }
    batch(pairs.iter().map(|(_, value)| value.len()).sum())
}

/// The values of a batch together, in bytes.
///
/// # Errors
/// `invalid`.
pub fn batch(bytes: usize) -> Result<(), Error> {
    Error::check_count("values", bytes, 0, limits::KEY_VALUE_BATCH_BYTES)
}

/// `list_keys`.
///
/// # Errors
/// `invalid`.
pub fn cursor(label: &str, cursor: &str) -> Result<(), Error> {
    Error::check_id("label", label)?;
    Error::check_count("cursor", cursor.len(), 0, limits::KEY_VALUE_KEY_BYTES)
}

/// `increment` of what is no number.
#[must_use]
pub fn no_number() -> Error {
    Error::invalid("value", "is not a decimal number of 64 bits, so nothing is added to it")
}

/// `increment` beyond what a number can be.
#[must_use]
pub fn overflow() -> Error {
    Error::invalid("delta", "the sum must be a number of 64 bits")
}

//! What keys must be, before a store is asked. The errors name the argument and the rule.

use crate::store::{Error, Key};

/// Digits of a hash.
const HASH_DIGITS: usize = 64;

/// A key.
///
/// # Errors
/// `invalid`.
pub fn key(key: &Key) -> Result<(), Error> {
    Error::check_id("key.scenario-id", &key.scenario_id)?;
    if !key.user_id.is_empty() {
        Error::check_id("key.user-id", &key.user_id)?;
    }
    Error::check_count("key.hash", key.hash.len(), 1, HASH_DIGITS)?;
    if key.hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    Err(Error::invalid("key.hash", "may hold `0-9 a-f` only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_rule() {
        let fault = |scenario: &str, user: &str, hash: &str| {
            let of = Key { scenario_id: scenario.to_owned(), user_id: user.to_owned(), hash: hash.to_owned() };
            key(&of).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(fault("feed", "", &"0af".repeat(21)), "");
        assert!(fault("", "ann", "1").starts_with("key.scenario-id"));
        assert!(fault("feed", "a*", "1").starts_with("key.user-id"));
        assert!(fault("feed", "ann", "").starts_with("key.hash"));
        assert!(fault("feed", "ann", &"0".repeat(HASH_DIGITS + 1)).contains("64"));
        assert!(fault("feed", "ann", "1G").starts_with("key.hash"));
    }
}

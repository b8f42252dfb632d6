//! A recording as bytes: a byte that says how, then its fields, compressed by Snappy, which
//! is fast and finds what repeats. Answers of calls are bytes by themselves, so that a call
//! that is not asked for again is never read.

use funnelweb_core::limits;
use funnelweb_tenant_store::Error;
use serde::{Serialize, de::DeserializeOwned};
use snap::raw::{Decoder, Encoder};
use xxhash_rust::xxh3::xxh3_64;

use crate::Recording;

/// How it is written now.
const VERSION: u8 = 1;

/// A recording as it is kept.
///
/// # Errors
/// `invalid` when it has more bytes than a recording may have.
pub fn encode(recording: &Recording) -> Result<Vec<u8>, Error> {
    let plain = bytes(recording).ok_or_else(|| Error::Unavailable("a recording cannot be written".to_owned()))?;
    let mut written = vec![VERSION];
    let packed = Encoder::new().compress_vec(&plain);
    written.extend(packed.map_err(|error| Error::Unavailable(format!("a recording cannot be written: {error}")))?);
    if written.len() > limits::RECORDING_BYTES {
        let rule = format!("must be at most {} bytes, got {}", limits::RECORDING_BYTES, written.len());
        return Err(Error::Invalid(format!("recording: {rule}")));
    }
    Ok(written)
}

/// A recording from what was kept; none when it is damaged, or of another version.
#[must_use]
pub fn decode(written: &[u8]) -> Option<Recording> {
    let (version, packed) = written.split_first()?;
    if *version != VERSION {
        return None;
    }
    value(&Decoder::new().decompress_vec(packed).ok()?)
}

/// Any value.
pub(crate) fn bytes(value: &impl Serialize) -> Option<Vec<u8>> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).ok()
}

/// And back; none of what is no such value.
pub(crate) fn value<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, bincode::config::standard()).ok()?;
    (read == bytes.len()).then_some(value)
}

/// What tells values apart.
pub(crate) fn digest(value: &impl Serialize) -> u64 {
    xxh3_64(&bytes(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::recording;

    #[test]
    fn what_is_written_is_read() {
        let recording = recording("feed", "ann", "r1", 17);
        let written = encode(&recording).unwrap();
        assert_eq!(decode(&written), Some(recording));
        assert_eq!(decode(&written[..written.len() - 1]), None);
        let mut of_later = written;
        of_later[0] = VERSION + 1;
        assert_eq!(decode(&of_later), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn one_that_is_too_large_is_refused() {
        let mut recording = recording("feed", "ann", "r1", 17);
        // What repeats takes no room: numbers that do not.
        let mut seed = 1_u64;
        let mut noise = |count: usize| -> Vec<u8> {
            let mut next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as u8
            };
            (0..count).map(|_| next()).collect()
        };
        recording.asked.body = noise(limits::RECORDING_BYTES / 2);
        assert!(encode(&recording).is_ok());
        recording.asked.body = noise(limits::RECORDING_BYTES);
        let Err(Error::Invalid(message)) = encode(&recording) else { panic!("it is too large") };
        assert!(message.contains(&limits::RECORDING_BYTES.to_string()), "{message}");
    }
}

//! A recording as bytes: a byte that says how, then its fields, compressed by Snappy, which
//! is fast and finds what repeats. Answers of calls are bytes by themselves, so that a call
//! that is not asked for again is never read.

use std::cell::RefCell;

use bincode::{
    config::{self, Configuration, Fixint, LittleEndian},
    error::EncodeError,
};
use funnelweb_core::limits;
use funnelweb_tenant_store::Error;
use serde::{Serialize, de::DeserializeOwned};
use snap::raw::{Decoder, Encoder, max_compress_len};
use xxhash_rust::xxh3::xxh3_64;

use crate::Recording;

/// How it is written now.
const VERSION: u8 = 2;
/// Numbers as long as they are: what has many of them is written fastest, and compressed anyhow.
const CONFIG: Configuration<LittleEndian, Fixint> = config::standard().with_fixed_int_encoding();
/// Bytes that a thread keeps ready to write values to.
const SCRATCH_BYTES: usize = 512 * 1024;
/// Bytes up to which values are written.
const VALUE_BYTES: usize = 64 * 1024 * 1024;

/// A recording as it is kept.
///
/// # Errors
/// `invalid` when it has more bytes than a recording may have.
pub fn encode(recording: &Recording) -> Result<Vec<u8>, Error> {
    let written = scratch(recording, |plain| {
        let mut written = vec![VERSION; 1 + max_compress_len(plain.len())];
        let length = Encoder::new().compress(plain, written.get_mut(1..)?).ok()?;
        written.truncate(1 + length);
        written.shrink_to_fit();
        Some(written)
    });
    let too_long = || Error::Invalid(format!("recording: must be at most {VALUE_BYTES} bytes before it is compressed"));
    let written = written.flatten().ok_or_else(too_long)?;
    if written.len() > limits::RECORDING_BYTES {
        let rule = format!("must be at most {} bytes, got {}", limits::RECORDING_BYTES, written.len());
        return Err(Error::Invalid(format!("recording: {rule}")));
    }
    Ok(written)
}

/// The recording of a request from what was kept; none when it was written otherwise than now.
///
/// # Errors
/// `unavailable` when it is damaged.
pub fn decode(request_id: &str, written: &[u8]) -> Result<Option<Recording>, Error> {
    let read = match written.split_first() {
        Some((&VERSION, packed)) => Decoder::new().decompress_vec(packed).ok().and_then(|plain| value(&plain)),
        Some(_) => return Ok(None),
        None => None,
    };
    read.map(Some).ok_or_else(|| Error::Unavailable(format!("the recording of `{request_id}` is damaged")))
}

/// Any value; none of one that cannot be written.
pub(crate) fn bytes(value: &impl Serialize) -> Option<Vec<u8>> {
    scratch(value, <[u8]>::to_vec)
}

/// Has `read` see a value's bytes, if it can be written. They are where those of this thread's
/// last value were: into room that is there already, numbers are copied without looking at each.
fn scratch<R>(value: &impl Serialize, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let written = loop {
            match bincode::serde::encode_into_slice(value, scratch, CONFIG) {
                Ok(written) => break Some(written),
                Err(EncodeError::UnexpectedEnd) if scratch.len() < VALUE_BYTES => {
                    let more = (2 * scratch.len()).max(SCRATCH_BYTES);
                    scratch.resize(more, 0);
                }
                Err(_) => break None,
            }
        };
        let read = written.and_then(|written| scratch.get(..written)).map(read);
        if scratch.len() > SCRATCH_BYTES {
            scratch.truncate(SCRATCH_BYTES);
            scratch.shrink_to_fit();
        }
        read
    })
}

/// And back; none of what is no such value.
pub(crate) fn value<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, CONFIG).ok()?;
    (read == bytes.len()).then_some(value)
}

/// What tells values apart.
pub(crate) fn digest(value: &impl Serialize) -> u64 {
    scratch(value, xxh3_64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::recording;

    #[test]
    fn what_is_written_is_read() {
        let recording = recording("feed", "ann", "r1", 17);
        let written = encode(&recording).unwrap();
        assert_eq!(decode("r1", &written).unwrap(), Some(recording));
        for damaged in [&written[..written.len() - 1], &[]] {
            let told = decode("r1", damaged);
            assert!(matches!(&told, Err(Error::Unavailable(message)) if message.contains("`r1`")), "{told:?}");
        }
        let mut of_later = written;
        of_later[0] = VERSION + 1;
        assert_eq!(decode("r1", &of_later).unwrap(), None);
    }

    #[test]
    fn values_of_any_length_are_written() {
        for length in [0, 1, SCRATCH_BYTES, 5 * SCRATCH_BYTES, 1] {
            let numbers: Vec<u32> = (0..).take(length).collect();
            let written = bytes(&numbers).unwrap();
            assert_eq!((written.len(), value(&written)), (8 + 4 * length, Some(numbers)));
        }
        assert_eq!(bytes(&vec![0_u8; VALUE_BYTES + 1]), None);
        assert!(digest(&1) != digest(&2));
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
        for (body, most) in
            [(noise(limits::RECORDING_BYTES), limits::RECORDING_BYTES), (vec![0; VALUE_BYTES], VALUE_BYTES)]
        {
            recording.asked.body = body;
            let Err(Error::Invalid(message)) = encode(&recording) else { panic!("it is too large") };
            assert!(message.contains(&most.to_string()), "{message}");
        }
    }
}

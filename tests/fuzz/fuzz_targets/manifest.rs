//! A manifest beside a sound ONNX file: that of the kind which it names.

#![no_main]

use funnelweb_fuzz::{check, json, random::Random};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check::manifest(text);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed);
    let mut value: Value = match serde_json::from_slice(&data[..size]) {
        Ok(value) if !random.one_in(8) => value,
        _ => return fuzzer_mutate(data, size, max_size),
    };
    json::mutate(&mut value, &mut random);
    let text = value.to_string();
    match data[..max_size].get_mut(..text.len()) {
        Some(place) => {
            place.copy_from_slice(text.as_bytes());
            text.len()
        }
        None => size,
    }
});

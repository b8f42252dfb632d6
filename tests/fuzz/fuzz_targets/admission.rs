//! Bytes that are uploaded as a component, with its manifest inside.

#![no_main]

use funnelweb_fuzz::{admission, component, random::Random};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| admission::upload(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed);
    let changed = match random.below(10) {
        0..=3 => return fuzzer_mutate(data, size, max_size),
        4..=6 => component::generate(&mut random),
        _ => component::mutate(&data[..size], &mut random),
    };
    match changed.and_then(|bytes| Some((data[..max_size].get_mut(..bytes.len())?, bytes))) {
        Some((place, bytes)) => {
            place.copy_from_slice(&bytes);
            bytes.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});

//! Bytes that are uploaded as an ONNX file with its manifest inside.

#![no_main]

use funnelweb_fuzz::{check, graph, random::Random};
use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target, fuzzer_mutate};
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let model = graph::read(bytes);
    check::upload(bytes, model.as_ref().and_then(graph::manifest));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed);
    let Some(mut model) = graph::read(&data[..size]) else { return fuzzer_mutate(data, size, max_size) };
    if random.one_in(10) {
        let size = fuzzer_mutate(data, size, max_size);
        // Else most changes of bytes are refused for a manifest that is none.
        return match graph::read(&data[..size]) {
            Some(mut changed) if random.one_in(2) => {
                changed.metadata_props = model.metadata_props;
                write(&changed, &mut data[..max_size]).unwrap_or(size)
            }
            _ => size,
        };
    }
    graph::mutate(&mut model, &mut random);
    write(&model, &mut data[..max_size]).unwrap_or(size)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    let mut random = Random::new(seed);
    match (graph::read(one), graph::read(other)) {
        (Some(mut model), Some(other)) => {
            graph::cross(&mut model, &other, &mut random);
            write(&model, out).unwrap_or_default()
        }
        _ => 0,
    }
});

/// None where it has no room.
fn write(model: &impl Message, data: &mut [u8]) -> Option<usize> {
    let bytes = model.encode_to_vec();
    data.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(bytes.len())
}

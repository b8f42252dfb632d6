//! WASI for every kind of instance.

use funnelweb_core::limits;
use funnelweb_engine::{Log, sealed};
use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, p2, p3};

use crate::State;

/// WASI with nothing behind it: no files, no sockets, no environment. What is printed goes to
/// `log`.
#[must_use]
pub fn context(log: &Log) -> WasiCtxBuilder {
    let mut wasi = WasiCtx::builder();
    wasi.stdout(log.clone()).stderr(log.clone()).max_random_size(limits::RANDOM_BYTES);
    wasi
}

/// Offers WASI 0.2 to components.
///
/// # Errors
/// When an interface of it is in the linker already.
pub fn add_p2_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    p2::add_to_linker_async(linker)
}

/// Offers WASI 0.2 and 0.3 to components.
///
/// # Errors
/// The same.
pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    p2::add_to_linker_async(linker)?;
    p3::add_to_linker(linker)
}

/// Offers both to code that nobody vouches for: see [`sealed`].
///
/// # Errors
/// The same.
pub fn add_sealed_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    sealed::add_to_linker(linker)
}

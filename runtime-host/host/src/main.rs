//! The program `funnelweb`.

use std::process::ExitCode;

/// A request makes thousands of small allocations on one thread and frees some
/// of them on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    funnelweb::main()
}

//! The product from outside: the real binary with the real components, over
//! HTTP. `cargo xtask build` makes what is tested.

#[allow(dead_code, reason = "the suites that use all of it come next")]
mod harness;

//! Sets and maps of handles.
//!
//! A handle is a hash already, so it is used as one. The standard hasher would
//! hash it again, and would import a source of random numbers into a component
//! that has no other need of one. A tenant that chose ids to collide here would
//! slow down its own requests only.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// The hash of an item's id ([`crate::id::handle`]).
pub type Handle = u64;

/// Passes a handle through.
#[derive(Debug, Default, Clone, Copy)]
pub struct HandleHasher(u64);

impl Hasher for HandleHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, handle: u64) {
        self.0 = handle;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A set of handles; its iteration order means nothing.
pub type HandleSet = HashSet<Handle, BuildHasherDefault<HandleHasher>>;

/// A map by handle; its iteration order means nothing.
pub type HandleMap<V> = HashMap<Handle, V, BuildHasherDefault<HandleHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_found_again() {
        let set: HandleSet = (0..1000_u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        assert_eq!(set.len(), 1000);
        assert!(set.contains(&0) && !set.contains(&1));
    }
}

//! What an instance may take of memory, and how to tell afterwards that it
//! wanted more.

use funnelweb_core::limits;
use wasmtime::ResourceLimiter;

/// Bounds the memory and tables of one store. A guest whose growth was denied
/// usually traps with `unreachable`; [`Limiter::denied`] says why.
#[derive(Debug, Clone)]
pub struct Limiter {
    memory_bytes: usize,
    peak_bytes: usize,
    denied: bool,
}

impl Limiter {
    /// A limiter that allows this much linear memory.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        Self { memory_bytes, peak_bytes: 0, denied: false }
    }

    /// How much linear memory it allows.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Whether a growth was refused.
    #[must_use]
    pub fn denied(&self) -> bool {
        self.denied
    }

    /// The most linear memory the guest had, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.peak_bytes = self.peak_bytes.max(desired);
        } else {
            self.denied = true;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= limits::TABLE_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum);
        self.denied |= !allowed;
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_and_remembers() {
        let mut limiter = Limiter::new(1000);
        assert!(limiter.memory_growing(0, 1000, None).unwrap());
        assert!(!limiter.denied());
        assert!(!limiter.memory_growing(1000, 1001, None).unwrap());
        assert!(limiter.denied());
        assert_eq!(limiter.peak_bytes(), 1000);
        assert!(limiter.table_growing(0, limits::TABLE_ELEMENTS, None).unwrap());
        assert!(!limiter.table_growing(0, limits::TABLE_ELEMENTS + 1, None).unwrap());
    }
}

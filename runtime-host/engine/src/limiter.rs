//! What an instance may take of memory, and how to tell afterwards that it
//! wanted more.

use funnelweb_core::limits;
use wasmtime::ResourceLimiter;

/// Bounds the memories and tables of one store, each kind together. A guest whose growth
/// was denied usually traps with `unreachable`; [`Limiter::denied`] says why.
#[derive(Debug, Clone)]
pub struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    held_bytes: usize,
    held_elements: usize,
    denied: bool,
}

impl Limiter {
    /// A limiter that allows this much linear memory.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        Self::with_tables(memory_bytes, limits::TABLE_ELEMENTS)
    }

    /// One that allows this many elements of tables, too.
    #[must_use]
    pub fn with_tables(memory_bytes: usize, table_elements: usize) -> Self {
        Self { memory_bytes, table_elements, held_bytes: 0, held_elements: 0, denied: false }
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

    /// The linear memory the guest has, in bytes: it never gives any back.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = grow(&mut self.held_bytes, self.memory_bytes, current, desired, maximum);
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = grow(&mut self.held_elements, self.table_elements, current, desired, maximum);
        self.denied |= !allowed;
        Ok(allowed)
    }
}

/// Whether one of several, which hold so much together, may grow; it has grown then.
fn grow(held: &mut usize, limit: usize, current: usize, desired: usize, maximum: Option<usize>) -> bool {
    let together = held.saturating_add(desired.saturating_sub(current));
    let allowed = together <= limit && maximum.is_none_or(|maximum| desired <= maximum);
    if allowed {
        *held = together;
    }
    allowed
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
        assert_eq!(limiter.held_bytes(), 1000);
        assert!(limiter.table_growing(0, limits::TABLE_ELEMENTS, None).unwrap());
        assert!(!limiter.table_growing(limits::TABLE_ELEMENTS, limits::TABLE_ELEMENTS + 1, None).unwrap());
    }

    #[test]
    fn several_are_bounded_together() {
        let mut limiter = Limiter::with_tables(1000, 10);
        assert!(limiter.memory_growing(0, 600, None).unwrap() && limiter.memory_growing(0, 400, None).unwrap());
        assert!(!limiter.memory_growing(400, 401, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap() && !limiter.table_growing(0, 1, None).unwrap());
        assert!(!limiter.memory_growing(0, usize::MAX, None).unwrap());
        assert_eq!(limiter.held_bytes(), 1000);
    }
}

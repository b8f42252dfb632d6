//! Which vectors a query may give.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use funnelweb_core::handles::HandleSet;

use crate::{base::Base, bits::Bits};

/// Which vectors a query may give, by their handles.
///
/// What follows from it for the large part of an index is kept, so a filter that is
/// used again costs less.
pub struct Filter {
    handles: HandleSet,
    only: bool,
    kept: Mutex<Option<Arc<Allowed>>>,
}

/// What a filter means for the rows of a base.
#[derive(Debug)]
pub(crate) struct Allowed {
    base: u64,
    pub slots: Bits,
}

impl Filter {
    /// Nothing but these.
    #[must_use]
    pub fn only(handles: HandleSet) -> Self {
        Self { handles, only: true, kept: Mutex::default() }
    }

    /// All but these.
    #[must_use]
    pub fn except(handles: HandleSet) -> Self {
        Self { handles, only: false, kept: Mutex::default() }
    }

    /// Whether a query may give the vector of `handle`.
    #[must_use]
    pub fn allows(&self, handle: u64) -> bool {
        self.handles.contains(&handle) == self.only
    }

    /// The rows of `base` that are allowed, dead ones among them.
    pub(crate) fn allowed(&self, base: &Base) -> Arc<Allowed> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(allowed) if allowed.base == base.id() => allowed.clone(),
            _ => kept.insert(Arc::new(self.resolve(base))).clone(),
        }
    }

    fn resolve(&self, base: &Base) -> Allowed {
        let len = base.rows().len();
        let mut slots = if self.only { Bits::none(len) } else { Bits::all(len) };
        for slot in self.handles.iter().filter_map(|handle| base.find(*handle)) {
            if self.only {
                slots.insert(slot);
            } else {
                slots.remove(slot);
            }
        }
        Allowed { base: base.id(), slots }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = if self.only { "only" } else { "except" };
        write!(f, "Filter({rule} {} handles)", self.handles.len())
    }
}

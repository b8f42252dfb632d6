//! Machine code in memory. All components that are ready stay so; what their code takes of
//! memory is let go of, the least recently called first, when it is too much of it together.
//! It comes back page by page when it is called, from the system's cache of files.

use std::sync::{Arc, Weak};

use funnelweb_core::limits;
use funnelweb_engine::Mapped;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, sync::Cache};

use crate::serving::Ready;

/// Those whose code is in memory, as far as it was used.
pub(crate) struct InMemory(Cache<String, Code, Bytes, DefaultHashBuilder, LetGo>);

/// What is called, and what its code takes at most: that is counted also when it is gone.
#[derive(Clone)]
struct Code {
    ready: Weak<Ready>,
    bytes: u64,
}

impl InMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let options = OptionsBuilder::new()
            // One that is larger than a shard would be let go of as soon as it comes.
            .shards(1)
            .estimated_items_capacity(limits::COMPONENTS_READY)
            .weight_capacity(bytes)
            .build();
        // Fails for want of a capacity only.
        #[expect(clippy::unwrap_used, reason = "both capacities are given")]
        let options = options.unwrap();
        Self(Cache::with_options(options, Bytes, DefaultHashBuilder::default(), LetGo))
    }

    /// Says that one is called.
    pub(crate) fn called(&self, sha256: &str, ready: &Arc<Ready>) {
        let is_it = |known: Code| std::ptr::eq(known.ready.as_ptr(), Arc::as_ptr(ready));
        if !self.0.get(sha256).is_some_and(is_it) {
            let code = Code { ready: Arc::downgrade(ready), bytes: ready.mapped.bytes().max(1) };
            self.0.insert(sha256.to_owned(), code);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// What they take at most, together.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

/// What the code takes at most.
#[derive(Clone)]
struct Bytes;

impl Weighter<String, Code> for Bytes {
    fn weight(&self, _: &String, code: &Code) -> u64 {
        code.bytes
    }
}

/// Lets go of those that have to make room, once nothing is locked any more.
#[derive(Clone)]
struct LetGo;

#[derive(Default)]
struct Evicted(Vec<Mapped>);

impl Drop for Evicted {
    fn drop(&mut self) {
        self.0.iter().for_each(Mapped::let_go);
    }
}

impl Lifecycle<String, Code> for LetGo {
    type RequestState = Evicted;

    fn on_evict(&self, Evicted(evicted): &mut Evicted, _: String, code: Code) {
        evicted.extend(code.ready.upgrade().map(|ready| ready.mapped.clone()));
    }
}

//! Requests of the demo's short videos, for scenarios that have too few of their own.

use std::sync::{Arc, LazyLock};

use flate2::read::GzDecoder;
use funnelweb_bindings::Recorded;

/// Written by `funnelweb component record`.
const FILE: &[u8] = include_bytes!("../samples/vlog.jsonl.gz");

static REQUESTS: LazyLock<Vec<Arc<Recorded>>> = LazyLock::new(|| {
    // A test reads it.
    Recorded::read(GzDecoder::new(FILE)).unwrap_or_default().into_iter().map(Arc::new).collect()
});

/// The requests, the same each time.
#[must_use]
pub fn requests() -> Vec<Arc<Recorded>> {
    REQUESTS.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_some_and_they_are_whole() {
        let requests = requests();
        assert!(requests.len() >= 10, "{}", requests.len());
        for request in requests {
            assert_eq!(request.candidates.handles.len(), request.items.rows as usize);
            assert_eq!(request.ranked.handles.len(), request.rows.len());
            assert!(request.ranked.handles.len() >= 50 && request.slate.len() >= request.context.count as usize);
            assert!(request.items.columns().contains(&"category"));
        }
    }
}

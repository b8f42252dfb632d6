//! Requests of the demo's short videos, for scenarios that have too few of their own.

use std::sync::{Arc, LazyLock};

use flate2::read::GzDecoder;
use funnelweb_bindings::Recorded;
use funnelweb_stream::operator::{Event, Signal};

/// Written by `funnelweb component record`.
const FILE: &[u8] = include_bytes!("../samples/vlog.jsonl.gz");

/// Events that there are.
const EVENTS: u64 = 500;
/// When the first of them was, in milliseconds since 1970.
const BEGIN_MS: u64 = 1_767_225_600_000;

static REQUESTS: LazyLock<Vec<Arc<Recorded>>> = LazyLock::new(|| {
    // A test reads it.
    Recorded::read(GzDecoder::new(FILE)).unwrap_or_default().into_iter().map(Arc::new).collect()
});

/// The requests, the same each time.
#[must_use]
pub fn requests() -> Vec<Arc<Recorded>> {
    REQUESTS.clone()
}

/// Events that users of the demo could have had, the same each time: twenty of them with
/// fifty items, an event every 700 ms.
#[must_use]
pub fn events() -> Vec<Event> {
    (0..EVENTS).map(sample_event).collect()
}

fn sample_event(at: u64) -> Event {
    let parts = [0.1, 0.4, 0.8, 1.0, 1.7];
    // Neither in order nor at random.
    let (user, item, part) = (at * 7 % 20, at * at % 50, parts.get(at as usize * 3 % parts.len()).copied());
    let action = ["view", "click", "like", "skip"].get(at as usize % 4).copied().unwrap_or_default();
    let weight = part.unwrap_or_default() as f32 - 0.3;
    Event {
        event_id: format!("sample-{at}"),
        scenario_id: "feed".to_owned(),
        user_id: format!("user-{user}"),
        item_id: format!("item-{item}"),
        action_type: action.to_owned(),
        timestamp_ms: BEGIN_MS + at * 700,
        group: if user % 2 == 0 { "treatment".to_owned() } else { String::new() },
        completion_rate: part,
        watch_duration: part.map(|part| part * 30.0),
        signal: Some(Signal {
            weight,
            hot_half_life_s: 86_400,
            profile_half_life_s: 604_800,
            known: true,
            preferences: vec![("category".to_owned(), format!("category-{}", item % 8), weight)],
        }),
    }
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

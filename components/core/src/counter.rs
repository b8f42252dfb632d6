//! Counters of items (`item:stats:{tenant}:{item}`).
//!
//! A behaviour raises `{action_type}_count`; `completion_rate` and `watch_duration`
//! have a `_sum` and a `_count` each. One counter is the server's own.

/// How many places in slates the item was given, whoever they were for. No behaviour
/// makes a counter of such a name, so no client can raise it or keep it down.
pub const SERVED_PLACES: &str = "served_places";

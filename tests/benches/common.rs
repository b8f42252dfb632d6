//! What both benches share: the world they run on, and the clocks.

use std::time::{Duration, SystemTime};

use funnelweb_demo::{Kind, Size, World};
use serde_json::{Value, json};

/// A number from the environment: `FUNNELWEB_BENCH_<NAME>`.
pub fn setting(name: &str, default: u32) -> u32 {
    let name = format!("FUNNELWEB_BENCH_{name}");
    match std::env::var(&name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} must be a number, got `{value}`")),
        Err(_) => default,
    }
}

/// Short videos: 100,000 of them, and 1,000 users with about 100 behaviours each
/// (`FUNNELWEB_BENCH_ITEMS`, `_USERS`, `_EVENTS`).
pub fn world() -> World {
    let Size { items, users, events } = Size::LARGE;
    let events = setting("EVENTS", u32::try_from(events).unwrap());
    let size = Size { items: setting("ITEMS", items), users: setting("USERS", users), events: events.into() };
    World::new(Kind::Vlog, size, funnelweb_demo::SEED, now_ms()).unwrap()
}

/// The scenario as shipped, with three channels of 200 and a ranker that are
/// built; its rules (diversity, freshness) stay.
pub fn scenario(world: &World, exposure: bool) -> Value {
    let mut scenario: Value = serde_json::from_str(world.scenario_json()).unwrap();
    scenario["config"]["recall"]["strategies"] = json!([
        {"name": "hot_items", "weight": 0.3, "limit": 200},
        {"name": "content_based", "weight": 0.5, "limit": 200},
        {"name": "latest", "weight": 0.2, "limit": 200},
    ]);
    // What is derived of the other channels is not there either.
    scenario["config"]["features"]["derived_features"].as_array_mut().unwrap().retain(|feature| {
        let channel = feature.as_str().unwrap().strip_prefix("recall:").and_then(|rest| rest.split_once(':'));
        channel.is_none_or(|(channel, _)| channel == "hot_items")
    });
    scenario["config"]["rank"] = json!({"model": "linear", "objective": "watch_time"});
    // What is shown is remembered and logged, or neither.
    let log_share = if exposure { 1.0 } else { 0.0 };
    scenario["config"]["exposure"] = json!({"enabled": exposure, "log_share": log_share});
    // Every request is computed.
    scenario["config"]["cache"] = json!({"enabled": false});
    scenario
}

/// The body of every request.
pub fn request(world: &World) -> Vec<u8> {
    json!({"scenario_id": world.scenario_id(), "count": 20, "context": {"device_type": "mobile"}})
        .to_string()
        .into_bytes()
}

pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// The processor time that a process has had (`self`, or its number).
pub fn cpu(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name in parentheses, user and system time are fields 12 and 13,
    // in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// The time below which `share` of these lie.
pub fn quantile(times: &mut [Duration], share: f64) -> Duration {
    assert!(!times.is_empty(), "nothing was measured");
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share).round() as usize]
}

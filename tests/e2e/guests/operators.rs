//! An operator that does harm with some events: those are passed over, all others count,
//! and other operators have them all.

use std::time::Duration;

use funnelweb_core::limits;
use serde_json::{Value, json};

use super::server;
use crate::{
    fixtures::{FEED, feed},
    harness::eventually,
};

/// What it does, and whether that takes all of [`limits::STREAM_TIMEOUT`]; an answer is
/// larger than [`limits::STREAM_ANSWER_BYTES`].
const ATTACKS: [&str; 5] = ["loop", "bomb", "panic", "exit", "answer"];

#[test]
fn events_that_an_operator_does_harm_with_are_passed_over() {
    let client = server().tenant("operators");
    feed(&client);
    let sound = 40;
    let mut items: Vec<String> = (0..sound).map(|at| format!("i{at}")).collect();
    for (at, attack) in ATTACKS.iter().enumerate() {
        items.insert(7 * at + 3, format!("attack:{attack}"));
    }
    let event = |item: &String| json!({"scenario_id": FEED, "user_id": "u", "item_id": item, "action_type": "click"});
    client.post("/api/v1/behaviors", &Value::Array(items.iter().map(event).collect())).expect(202);
    let value = |text: &str, name: &str, label: &str| {
        let own = |line: &&str| line.starts_with(name) && line.contains("tenant=\"operators\"") && line.contains(label);
        text.lines().find(own).and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).unwrap_or(0.0)
    };
    // Each loop is stopped by the clock, and looked for by halving.
    assert!(limits::STREAM_TIMEOUT < Duration::from_secs(5) && limits::STREAM_ANSWER_BYTES < 40 * 1024 * 1024);
    let label = "operator=\"hostile-aggregate\"";
    let text = eventually("what is sound to be counted", Duration::from_secs(90), || {
        let text = client.get("/metrics").expect(200).text();
        (value(&text, "funnelweb_hostile_total", "") >= f64::from(sound)).then_some(text)
    });
    assert_eq!(value(&text, "funnelweb_hostile_total", ""), f64::from(sound));
    assert_eq!(value(&text, "funnelweb_stream_dead_letters_total", label), ATTACKS.len() as f64);
    assert_eq!(value(&text, "funnelweb_behaviors_total", "click"), items.len() as f64);
}

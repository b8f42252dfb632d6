//! What several suites set up alike.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Reply, eventually};

/// The scenario of [`feed`].
pub const FEED: &str = "feed";

/// A scenario with all built recall channels and the linear ranker, which shows
/// an item again and again, and answers nothing from memory.
pub fn scenario(id: &str) -> Value {
    json!({
        "scenario_id": id,
        "scenario_type": "test",
        "config": {
            "features": {"item_features": [
                {"name": "category", "type": "categorical", "weight": 1.0},
                {"name": "tags", "type": "multi_categorical", "weight": 1.0}
            ]},
            "recall": {"strategies": [
                {"name": "hot_items", "weight": 0.4, "limit": 200},
                {"name": "content_based", "weight": 0.4, "limit": 200},
                {"name": "latest", "weight": 0.2, "limit": 200}
            ]},
            "exposure": {"enabled": false},
            "cache": {"enabled": false}
        }
    })
}

/// Makes the scenario [`FEED`].
pub fn feed(client: &Client) {
    client.post("/api/v1/scenarios", &scenario(FEED)).expect(201);
}

/// Changes the config of [`FEED`] by a merge patch.
pub fn configure(client: &Client, patch: &Value) {
    client.patch("/api/v1/scenarios/feed", &json!({"config": patch})).expect(200);
}

/// An item with a category and one tag.
pub fn item(id: &str, category: &str, tag: &str) -> Value {
    json!({"item_id": id, "metadata": {"title": format!("About {id}"), "category": category, "tags": [tag]}})
}

/// So many items that are alike but for their age: `name` makes their ids, the last is the newest.
pub fn dated(count: usize, name: impl Fn(usize) -> String) -> Vec<Value> {
    let dated = |at: usize| {
        let mut item = item(&name(at), "c", "t");
        item["created_at"] = json!(funnelweb_core::time::format_ms(1_700_000_000_000 + 1000 * at as u64));
        item
    };
    (0..count).map(dated).collect()
}

/// JSON values, one a line.
pub fn ndjson<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect()
}

/// Imports items into [`FEED`], all of which must be new.
pub fn import(client: &Client, items: &[Value]) {
    let reply = client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", ndjson(items)).expect(200);
    assert_eq!(reply.json()["created"], items.len(), "{}", reply.text());
}

/// Tells that a user did something just now.
pub fn act(client: &Client, user: &str, action: &str, item: &str) {
    let event = json!({"scenario_id": FEED, "item_id": item, "action_type": action});
    assert_eq!(client.post("/api/v1/behaviors", &event).user(user).expect(202).json()["accepted"], 1);
    settle(client);
}

/// Waits until operators have taken everything that the tenant's log has.
pub fn settle(client: &Client) {
    let own = format!("funnelweb_stream_behind_seconds{{tenant=\"{}\"}}", client.name());
    eventually("operators to take the log", Duration::from_secs(30), || {
        let text = client.get("/metrics").expect(200).text();
        (!text.lines().any(|line| line.starts_with(&own))).then_some(())
    });
}

/// Has a job of [`FEED`] run to its end, whatever that is.
pub fn job(client: &Client, kind: &str, params: &Value) -> Value {
    let begun = client.post("/api/v1/jobs", &json!({"scenario_id": FEED, "kind": kind, "params": params})).expect(202);
    let id = begun.json()["run_id"].as_str().unwrap().to_owned();
    eventually("the job is over", Duration::from_secs(30), || {
        let run = client.get(&format!("/api/v1/jobs/{id}")).expect(200).json();
        (!["queued", "running"].contains(&run["state"].as_str().unwrap())).then_some(run)
    })
}

/// The slate of [`FEED`] for a user.
pub fn recommend(client: &Client, user: &str, count: usize) -> Reply {
    client.post("/api/v1/recommend", &json!({"scenario_id": FEED, "count": count})).user(user).expect(200)
}

/// The ids of a slate, in order.
pub fn slate(reply: &Reply) -> Vec<String> {
    strings(&reply.json()["items"], "item_id")
}

/// A field of every object of a list.
pub fn strings(list: &Value, field: &str) -> Vec<String> {
    let text = |value: &Value| value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}")).to_owned();
    list.as_array().unwrap_or_else(|| panic!("no list: {list}")).iter().map(text).collect()
}

/// What all pages of a list hold; `path` may have a query.
pub fn all_pages(client: &Client, path: &str, name: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{mark}{cursor}")).expect(200).json();
        found.extend(page[name].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return found };
        cursor = format!("cursor={next}");
    }
}

//! Whole responses of the three shipped scenarios on small catalogues, compared
//! with the files in `tests/goldens` (`UPDATE_GOLDEN=1` writes them anew).
//!
//! The clock does not show in them: what was published is so old that its
//! freshness is nothing, what happened is timed by its distance from now, and
//! the heat of items, like the preferences of a profile, counts by its shares,
//! which age alike. Ages in the feature table are masked, and numbers are
//! compared with a tolerance.

use std::time::SystemTime;

use funnelweb_demo::Kind;
use serde_json::{Map, Value, json};

use crate::{
    fixtures::{ndjson, settle},
    harness::{Client, shared, workspace},
};

const TOLERANCE: f64 = 1e-4;

/// A catalogue of thirty items, like one that the scenario is for.
fn catalogue(kind: Kind) -> Vec<Value> {
    (0..30_u32)
        .map(|at| {
            let category = ["travel", "food", "music", "sport", "tech"][at as usize % 5];
            let tags = [["lake", "hut", "train"][at as usize % 3], ["new", "slow"][at as usize % 2]];
            let mut metadata = json!({
                "title": format!("{category} {at}"), "category": category, "tags": tags,
                "publish_time": "2001-01-01T00:00:00Z"
            });
            let own = match kind {
                Kind::Vlog => json!({"duration": 15 + at * 7}),
                Kind::News => json!({"location": (["Oslo", "Rome"][at as usize % 2])}),
                Kind::Ecommerce => json!({
                    "price": f64::from(at) * 3.5 + 1.0, "rating": f64::from(at % 9) / 2.0, "brand": (["acme", "zenit"][at as usize % 2])
                }),
            };
            metadata.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            json!({"item_id": format!("{}_{at:02}", kind.name()), "metadata": metadata})
        })
        .collect()
}

/// What a few users did in the last hours.
fn history(kind: Kind) -> Vec<Value> {
    let now_s = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let event = |(user, action, item, hours): (&str, &str, u32, u64)| {
        json!({
            "scenario_id": kind.scenario_id(), "user_id": user, "action_type": action,
            "item_id": format!("{}_{item:02}", kind.name()), "timestamp": now_s - hours * 3600,
            "extra": {"completion_rate": f64::from(item % 5) / 4.0}
        })
    };
    let fan = |user| [(user, "like", 0, 30), (user, "watch", 5, 20), (user, "share", 12, 9), (user, "dislike", 4, 2)];
    let others = [
        ("bob", "click", 3, 40),
        ("bob", "purchase", 8, 25),
        ("cid", "click", 8, 18),
        ("cid", "view", 21, 12),
        ("dan", "favorite", 17, 7),
        ("dan", "click", 25, 6),
        ("eve", "comment", 10, 3),
        ("eve", "impression", 11, 1),
    ];
    fan("fan").into_iter().chain(fan("fan2")).chain(others).map(event).collect()
}

fn load(kind: Kind) -> Client {
    let client = shared().tenant(&format!("golden-{}", kind.name()));
    let scenario: Value = serde_json::from_str(kind.scenario_json()).unwrap();
    client.post("/api/v1/scenarios", &scenario).expect(201);
    let path = format!("/api/v1/items/{}", kind.scenario_id());
    let report = client.call("POST", &path).body("application/x-ndjson", ndjson(&catalogue(kind))).expect(200);
    assert_eq!(report.json()["created"], 30);
    let lines = ndjson(&history(kind));
    let report = client.call("POST", "/api/v1/behaviors").body("application/x-ndjson", lines).expect(202);
    assert_eq!(report.json()["accepted"], 16);
    settle(&client);
    client
}

fn ask(client: &Client, kind: Kind, user: &str, query: &str) -> Value {
    let body = json!({"scenario_id": kind.scenario_id(), "count": 6, "return_metadata": true,
                      "context": {"device_type": "mobile", "location": "Oslo", "city": "Oslo"}});
    let call = client.post(&format!("/api/v1/recommend{query}"), &body).user(user);
    call.header("x-request-id", &format!("golden-{user}")).expect(200).json()
}

/// Takes out what differs between two runs: times, and ages of items.
pub fn normalise(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let is_time = matches!(name.as_str(), "publish_time" | "created_at" | "context:hour");
                if ["digest", "elapsed_us"].contains(&name.as_str()) || (is_time && inner.is_number()) {
                    *inner = json!("(masked)");
                } else {
                    normalise(inner);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::Number(number) if number.is_f64() => {
            *value = json!((number.as_f64().unwrap() * 1e6).round() / 1e6);
        }
        _ => {}
    }
}

/// The first place at which two values differ, numbers by more than the tolerance.
pub fn difference(path: &str, found: &Value, expected: &Value, tolerance: f64) -> Option<String> {
    match (found, expected) {
        (Value::Object(one), Value::Object(other)) => {
            let names = one.keys().chain(other.keys());
            let absent = Value::Null;
            names.into_iter().find_map(|name| {
                let (one, other) = (one.get(name).unwrap_or(&absent), other.get(name).unwrap_or(&absent));
                difference(&format!("{path}.{name}"), one, other, tolerance)
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.into_iter().find_map(|(at, (one, other))| difference(&format!("{path}[{at}]"), one, other, tolerance))
        }
        (Value::Number(one), Value::Number(other))
            if (one.as_f64().unwrap() - other.as_f64().unwrap()).abs() <= tolerance =>
        {
            None
        }
        _ if found == expected => None,
        _ => Some(format!("{path}: found {found}, expected {expected}")),
    }
}

fn check(name: &str, mut found: Value) {
    normalise(&mut found);
    let path = workspace().join(format!("tests/goldens/{name}.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&found).unwrap())).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let expected = serde_json::from_str(&text).unwrap();
    if let Some(difference) = difference("", &found, &expected, TOLERANCE) {
        panic!("{name}: {difference}\n\nthe whole response:\n{}", serde_json::to_string_pretty(&found).unwrap());
    }
}

fn golden(kind: Kind) {
    let client = load(kind);
    let mut both = Map::new();
    for user in ["fan", "newcomer"] {
        both.insert(user.to_owned(), ask(&client, kind, user, ""));
    }
    check(kind.name(), Value::Object(both));
    check(&format!("{}-explained", kind.name()), ask(&client, kind, "fan2", "?explain=true"));
}

#[test]
fn vlog() {
    golden(Kind::Vlog);
}

#[test]
fn news() {
    golden(Kind::News);
}

#[test]
fn ecommerce() {
    golden(Kind::Ecommerce);
}

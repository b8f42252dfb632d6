//! Loading the demo.

use std::time::SystemTime;

use funnelweb_demo::World;
use serde_json::{Value, json};

use crate::{Batch, Client, Progress, Result};

/// Visits whose behaviours are sent together.
const VISITS: u64 = 16;

/// What became of a world's items and behaviours.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Loaded {
    /// The items.
    pub items: Batch,
    /// The behaviours.
    pub behaviors: Batch,
}

/// Puts a world's scenario, then its items, then its behaviours, each streamed.
/// Loading a world again replaces the items and counts no behaviour twice.
///
/// # Errors
/// When the server cannot be reached or refuses a request as a whole; a single
/// bad line would be in the result.
pub fn load(client: &Client, world: &World, progress: &mut dyn FnMut(&Progress<'_>)) -> Result<Loaded> {
    client.put_scenario(world.scenario_json())?;
    let name = world.kind().name();

    let task = format!("{name} items");
    let total = u64::from(world.size().items);
    let path = format!("/api/v1/items/{}?on_duplicate=replace", world.scenario_id());
    let lines = world.items().map(|item| item.to_line());
    let items =
        client.post_ndjson_with(&path, lines, &mut |batch| progress(&Progress::of_lines(&task, batch, total)))?;

    let task = format!("{name} behaviors");
    let total = world.size().events;
    let lines = world.events().map(|event| event.to_line());
    let behaviors = client.post_ndjson_with("/api/v1/behaviors", lines, &mut |batch| {
        progress(&Progress::of_lines(&task, batch, total));
    })?;
    Ok(Loaded { items, behaviors })
}

/// Uploads the model that a world's scenario is ranked by, and activates it. One that is
/// there already stays as it is.
///
/// # Errors
/// When the server cannot be reached or refuses it.
pub fn load_model(client: &Client, world: &World) -> Result<()> {
    const KIND: &str = "application/octet-stream";
    let scenario_id = world.scenario_id();
    let path = format!("/api/v1/models?scenario_id={scenario_id}");
    let answer = client.call("POST", &path, KIND, world.kind().model(), None)?;
    let version: Value = client.read(&path, &answer)?;
    let text = |field: &str| version.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, version) = (text("model_name"), text("model_version"));
    let path = format!("/api/v1/models/{name}/versions/{version}/activate?scenario_id={scenario_id}");
    client.call("POST", &path, KIND, &[], None).map(drop)
}

/// What became of visits.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Visited {
    /// Visits.
    pub visits: u64,
    /// Items that were shown.
    pub shown: u64,
    /// Those that were clicked.
    pub clicked: u64,
    /// What the users did.
    pub behaviors: Batch,
}

/// Has users of a world ask for slates of `count` items, one after the other, and tells
/// the server what they did with them.
///
/// # Errors
/// When the server cannot be reached or refuses a request as a whole.
pub fn visit(
    client: &Client,
    world: &World,
    visits: u64,
    count: u32,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Visited> {
    let task = format!("{} visits", world.kind().name());
    let mut visited = Visited::default();
    let mut lines = Vec::new();
    for number in 0..visits {
        let visit = world.visit(number);
        let context = json!(visit.context());
        let answer = client.recommend(&visit.user_id(), world.scenario_id(), count, &context)?;
        let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let slate: Vec<&str> = items.iter().filter_map(|item| item.get("item_id")?.as_str()).collect();
        let events = visit.reactions(&slate, now_ms());
        visited.visits += 1;
        visited.shown += slate.len() as u64;
        visited.clicked += events.iter().filter(|event| event.action_type == "click").count() as u64;
        lines.extend(events.iter().map(funnelweb_demo::Event::to_line));
        if visited.visits.is_multiple_of(VISITS) || visited.visits == visits {
            let sent = client.post_ndjson("/api/v1/behaviors", lines.drain(..))?;
            let before = visited.behaviors.lines;
            visited.behaviors.add(sent, |line| before + line);
            progress(&Progress { done: visited.visits, ..Progress::of_lines(&task, &visited.behaviors, visits) });
        }
    }
    Ok(visited)
}

fn now_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

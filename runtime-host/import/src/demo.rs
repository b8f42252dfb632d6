//! Loading the demo.

use funnelweb_demo::World;

use crate::{Batch, Client, Progress, Result};

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

//! Which items of a slate were clicked.

use std::{collections::HashSet, sync::Arc};

use funnelweb_core::limits;
use funnelweb_factor_events::store::{Error, Events, HistoryQuery};
use funnelweb_recording::Recording;
use funnelweb_tenant_store::Tenant;

/// For how long after a slate was shown a click is a click of it.
const WINDOW_MS: u64 = 24 * 3_600_000;
/// Pages of a user's behaviours that are looked through for them.
const PAGES: usize = 10;
/// What a click is called.
const CLICK: &str = "click";

/// Of each item whether the user clicked it after it was shown; nothing of a session.
pub(super) async fn clicked(
    events: &Arc<dyn Events>,
    tenant: &Tenant,
    recording: &Recording,
    items: &[String],
) -> Result<Vec<bool>, Error> {
    let user_id = &recording.asked.user_id;
    if user_id.is_empty() {
        // What they did then cannot be told to be theirs.
        return Ok(Vec::new());
    }
    let mut query = HistoryQuery {
        user_id: Some(user_id.clone()),
        scenario_id: Some(recording.scenario_id.clone()),
        limit: limits::HISTORY_EVENTS,
        ..HistoryQuery::default()
    };
    let window = recording.at_ms..recording.at_ms + WINDOW_MS;
    let mut clicks = HashSet::new();
    // The newest first.
    for _ in 0..PAGES {
        let page = events.history(tenant, query.clone()).await?;
        query.before = page.last().map(|stored| stored.offset);
        let is_last = page.len() < limits::HISTORY_EVENTS as usize
            || page.iter().all(|stored| stored.event.timestamp_ms < recording.at_ms);
        let clicked = page.into_iter().map(|stored| stored.event);
        let clicked = clicked.filter(|event| event.action_type == CLICK && window.contains(&event.timestamp_ms));
        clicks.extend(clicked.map(|event| event.item_id));
        if is_last {
            break;
        }
    }
    Ok(items.iter().map(|item| clicks.contains(item)).collect())
}

//! Lists for nobody in particular: popular, latest.

use funnelweb_core::{error::ApiError, limits};
use funnelweb_guest::{documents::Term, recall::Recalled, types::Handle};

use crate::{
    answer::{Found, Source, offered},
    asked::Asked,
    sources::Sources,
};

/// How much more is read than asked for, since some may be inactive.
const SLACK: usize = 100;

/// The hottest items; of a category, those among the [`limits::RECALL_LIMIT`] hottest.
/// The score is the share of the hottest one's heat.
///
/// # Errors
/// Those of the store.
pub(crate) fn popular(host: &impl Sources, scenario_id: &str, asked: &Asked) -> Result<Found, ApiError> {
    let limit = if asked.category.is_some() { limits::RECALL_LIMIT } else { enough(asked.count as usize) };
    let hot = host.hot_top(scenario_id, limit, &asked.exclude, asked.now_ms)?;
    let shares = Recalled::shares(hot.handles.into_iter().zip(hot.scores), limit);
    let items = shares.handles.into_iter().zip(shares.scores).collect();
    Ok(Found { source: Some(Source::HotItems), items: offered(host, scenario_id, items, asked)? })
}

/// The newest items. The score falls linearly with the place.
///
/// # Errors
/// Those of the store.
pub(crate) fn latest(host: &impl Sources, scenario_id: &str, asked: &Asked) -> Result<Found, ApiError> {
    let term = asked.category.clone().map(|value| Term { field: "category".to_owned(), value });
    let newest = host.newest(scenario_id, term, enough(asked.count as usize + asked.exclude.len()))?;
    let items = newest.into_iter().map(|handle| (handle, 0.0)).collect();
    let items = offered(host, scenario_id, items, asked)?;
    let count = items.len() as f32;
    let scored = |(place, (handle, _)): (usize, (Handle, f32))| (handle, (count - place as f32) / count);
    Ok(Found { source: Some(Source::Latest), items: items.into_iter().enumerate().map(scored).collect() })
}

/// As many as leave `count` when some are taken out.
fn enough(count: usize) -> u32 {
    u32::try_from((count + SLACK).min(limits::CANDIDATES)).unwrap_or(u32::MAX)
}

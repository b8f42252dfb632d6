//! What the calls of every backend of [`Live`](crate::store::Live) must be, before
//! the store is asked. The errors name the argument and the rule.

use funnelweb_core::limits;

use crate::store::Error;

/// `hot_top`.
///
/// # Errors
/// `invalid`.
pub fn hot_top(scenario_id: &str, limit: u32, exclude: &[u64]) -> Result<(), Error> {
    Error::check_id("scenario-id", scenario_id)?;
    Error::check_count("limit", limit as usize, 0, limits::CANDIDATES)?;
    Error::check_count("exclude", exclude.len(), 0, limits::HOT_MEMBERS)
}

/// `hot_scores`.
///
/// # Errors
/// `invalid`.
pub fn hot_scores(scenario_id: &str, handles: &[u64]) -> Result<(), Error> {
    Error::check_id("scenario-id", scenario_id)?;
    Error::check_count("handles", handles.len(), 0, limits::CANDIDATES)
}

/// `expose`.
///
/// # Errors
/// `invalid`.
pub fn expose(scenario_id: &str, user_id: Option<&str>, item_ids: &[String]) -> Result<(), Error> {
    Error::check_id("scenario-id", scenario_id)?;
    user_id.map_or(Ok(()), |user_id| Error::check_id("user-id", user_id))?;
    Error::check_count("item-ids", item_ids.len(), 0, limits::CANDIDATES)?;
    let mut items = item_ids.iter().enumerate();
    items.try_for_each(|(at, item)| Error::check_id(format_args!("item-ids[{at}]"), item))
}

/// `exposed`.
///
/// # Errors
/// `invalid`.
pub fn exposed(scenario_id: &str, user_id: &str) -> Result<(), Error> {
    Error::check_id("scenario-id", scenario_id)?;
    Error::check_id("user-id", user_id)
}

/// `item_stats`.
///
/// # Errors
/// `invalid`.
pub fn item_stats(scenario_id: &str, handles: &[u64], fields: &[String]) -> Result<(), Error> {
    hot_scores(scenario_id, handles)?;
    Error::check_count("fields", fields.len(), 0, limits::FEATURES)
}

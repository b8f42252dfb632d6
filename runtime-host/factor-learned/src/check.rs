//! What calls must be. The errors name the argument and the rule.

use funnelweb_core::limits;

use crate::store::Error;

/// `related`.
///
/// # Errors
/// `invalid`.
pub fn related(scenario_id: &str, handles: &[u64], limit: u32) -> Result<(), Error> {
    scenario(scenario_id)?;
    Error::check_count("handles", handles.len(), 0, limits::RELATED)?;
    if (1..=limits::RELATED).contains(&(limit as usize)) {
        return Ok(());
    }
    Err(Error::invalid("limit", format_args!("must be 1 to {}, got {limit}", limits::RELATED)))
}

/// `factors`, `precomputed`, and what the host asks for.
///
/// # Errors
/// `invalid`.
pub fn scenario(scenario_id: &str) -> Result<(), Error> {
    Error::check_id("scenario-id", scenario_id)
}

/// `forget_user`.
///
/// # Errors
/// `invalid`.
pub fn user(user_id: &str) -> Result<(), Error> {
    Error::check_id("user-id", user_id)
}

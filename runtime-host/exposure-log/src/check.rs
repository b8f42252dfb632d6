//! Rules that are the same for every backend.

use funnelweb_core::limits;
use funnelweb_tenant_store::Error;

/// Slates on a page.
pub(crate) fn limit(limit: u32) -> Result<(), Error> {
    Error::check_count("limit", limit as usize, 1, limits::LOGGED_SLATES as usize)
}

//! What the calls of every backend of [`JobStore`](crate::store::JobStore) must be,
//! before the store is asked. The errors name the argument and the rule.

use funnelweb_core::limits;

use crate::store::{Error, Job, RunsQuery};

/// `keep`.
///
/// # Errors
/// `invalid`.
pub fn checkpoint(job: &Job, checkpoint: &[u8]) -> Result<(), Error> {
    Error::check_id("scenario-id", &job.scenario_id)?;
    Error::check_count("checkpoint", checkpoint.len(), 0, limits::JOB_CHECKPOINT_BYTES)
}

/// `list`.
///
/// # Errors
/// `invalid`.
pub fn runs(query: &RunsQuery) -> Result<(), Error> {
    if let Some(scenario_id) = &query.scenario_id {
        Error::check_id("scenario-id", scenario_id)?;
    }
    if let Some(before) = &query.before {
        Error::check_id("before", before)?;
    }
    Error::check_count("limit", query.limit as usize, 1, limits::PAGE_DOCUMENTS as usize)
}

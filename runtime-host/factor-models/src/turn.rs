//! A tenant's models have their turn with its stages.

use std::time::Duration;

use funnelweb_core::limits;
use funnelweb_engine::Failure;
use tokio::sync::Semaphore;

/// How much longer than a model alone one that waits for its place is given, so that the
/// former is stopped by its own clock.
const GRACE: Duration = Duration::from_millis(10);

/// What `work` gives in one of the places of `share`, when it is there within a stage's
/// time, the wait for the place included.
///
/// # Errors
/// When it is not.
pub async fn in_turn<R>(share: &Semaphore, work: impl Future<Output = R>) -> Result<R, Failure> {
    let in_place = async {
        // It is never closed.
        let _place = share.acquire().await;
        work.await
    };
    let answer = tokio::time::timeout(limits::STAGE_TIMEOUT + GRACE, in_place).await;
    answer.map_err(|_| Failure::timed_out(limits::STAGE_TIMEOUT))
}

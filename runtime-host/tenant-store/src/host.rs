//! What the WIT glue of every capability shares.

use std::sync::Arc;

use funnelweb_bindings::capabilities::errors;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, Tenant};

impl From<Error> for errors::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(message) => Self::Invalid(message),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::Denied(message) => Self::Denied(message),
        }
    }
}

/// The tenant of an instance.
///
/// # Errors
/// `denied` for an instance that was made for a request without a tenant.
pub fn bound(tenant: Option<&Tenant>) -> Result<&Tenant, errors::Error> {
    tenant.ok_or_else(|| errors::Error::Denied("this request has no tenant".to_owned()))
}

/// Bytes that a call counts beside those of its arguments.
const CALL_BYTES: usize = 64;

/// Room for the calls that an instance has under way, in bytes of their arguments:
/// a guest can begin any number of asynchronous calls before one is done, and the
/// host holds what each was given.
#[derive(Debug)]
pub struct Room {
    bytes: Arc<Semaphore>,
    most: usize,
}

impl Room {
    /// For so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(most)), most }
    }

    /// A call's place, until it is dropped.
    ///
    /// # Errors
    /// A text that names the limit, when the calls under way leave no room.
    pub fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, String> {
        let permits = u32::try_from(bytes.saturating_add(CALL_BYTES)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.bytes).try_acquire_many_owned(permits);
        taken.map_err(|_| format!("the calls of an instance at once must be at most {} bytes long", self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_takes_room_until_it_is_done() {
        let room = Room::new(1000);
        let one = room.take(1000 - 2 * CALL_BYTES).unwrap();
        let two = room.take(0).unwrap();
        assert!(room.take(0).unwrap_err().contains("at most 1000 bytes"));
        drop(one);
        assert!(room.take(1000 - 2 * CALL_BYTES).is_ok());
        drop(two);
        assert!(room.take(usize::MAX).is_err());
    }
}

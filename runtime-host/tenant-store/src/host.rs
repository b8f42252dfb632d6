//! What the WIT glue of every capability shares.

use funnelweb_bindings::capabilities::errors;

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

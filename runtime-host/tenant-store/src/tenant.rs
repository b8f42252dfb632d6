//! Who a call is for.

use std::{fmt, sync::Arc};

use funnelweb_core::id;

/// A tenant's id, checked. The host makes one from the request's headers and
/// binds it to the instance; a component never names a tenant.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// A tenant with this id.
    ///
    /// # Errors
    /// The rule of [`id::check`] that `id` breaks: such an id could escape the
    /// tenants' folder.
    pub fn new(id: &str) -> Result<Self, id::Error> {
        id::check(id)?;
        Ok(Self(id.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.0)
    }
}

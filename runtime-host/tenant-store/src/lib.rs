//! One SQLite file per tenant.

mod error;
mod tenant;

pub use error::Error;
pub use tenant::Tenant;

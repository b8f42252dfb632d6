//! Operators that tenants bring. Each follows the log of its tenant alone, beside the
//! application's: on none of them anybody waits.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    operator::Operator,
    store::{Error, Tenant},
};

/// Begins the names of tenants' operators; no component of the application has a `/`.
const PREFIX: &str = "own/";
/// Begins the names of the counters that they add to.
pub const METRICS: &str = "own_";

/// A tenant's operators.
#[derive(Default)]
pub struct Own {
    /// Those that follow its log.
    pub operators: Vec<Arc<dyn Operator>>,
    /// Whether some are not ready yet.
    pub waits: bool,
}

/// Who knows which operators tenants have.
#[async_trait]
pub trait OwnOperators: Send + Sync + 'static {
    /// Those of a tenant now.
    async fn of(&self, tenant: &Tenant) -> Result<Own, Error>;
}

/// What a tenant's operator is called where its state is kept: by the name of its component
/// and when it began, in milliseconds since 1970, since what it keeps has another shape when
/// it begins anew.
#[must_use]
pub fn name(component: &str, since_ms: u64) -> String {
    format!("{PREFIX}{component}/{since_ms}")
}

/// The component that an operator is of, if it is a tenant's.
#[must_use]
pub fn component(operator: &str) -> Option<&str> {
    operator.strip_prefix(PREFIX)?.split('/').next()
}

//! HTTP in front of endpoint components.
//!
//! A request passes, in this order: the limits on connections and concurrent
//! requests ([`server`]), the route of the manifest, the gateway headers
//! ([`identity`]), and then an instance of the component with the request's
//! tenant bound to it ([`endpoint`]). An instance is reused, one request at a
//! time and for one tenant only, so that what a component keeps in memory can
//! never reach another tenant.
//!
//! Everything the host itself answers (a missing header, an unknown route, a
//! component that failed) has the one error shape of [`funnelweb_core::error`].

mod body;
pub mod endpoint;
pub mod identity;
pub mod server;
mod state;
mod workers;

pub use endpoint::{Endpoint, Services};
pub use server::{Server, ServerHandle};

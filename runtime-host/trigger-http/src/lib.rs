//! HTTP in front of endpoint components.
//!
//! A request passes, in this order: the limits on connections (`listener`), the
//! route of the manifest ([`server`]), the gateway headers ([`identity`]), the
//! limits on concurrent requests (`queue`), and then an instance of the component
//! with the request's tenant bound to it ([`endpoint`]). An instance is reused, one request at a
//! time and for one tenant only, so that what a component keeps in memory can
//! never reach another tenant.
//!
//! Everything the host itself answers (a missing header, an unknown route, a
//! component that failed) has the one error shape of [`funnelweb_core::error`].

mod body;
pub mod endpoint;
pub mod identity;
mod listener;
pub mod metrics;
mod queue;
mod recorded;
pub mod server;
mod state;
mod workers;

pub use endpoint::{Endpoint, Services};
pub use metrics::Requests;
pub use server::{Server, ServerHandle};
/// What a request's body is, whoever sends it.
pub use wasmtime_wasi_http::WasiBody as Body;

//! `spin.toml`: which components there are, which paths lead to them, and what
//! each is allowed to reach.
//!
//! The file is a Spin v2 manifest, the same that stock Spin reads. What is
//! Funnelweb's own stands under `[component.<id>.tool.funnelweb]`, a table Spin
//! leaves alone: see [`Funnelweb`]. Nothing is passed over in silence: an unknown
//! key, a wrong type, a reference to what does not exist, or a feature of Spin
//! that this host does not offer is an [`Error`] with file, line, column and the
//! path of the key.
//!
//! ```
//! use funnelweb_manifest::{Manifest, Router};
//!
//! let manifest = Manifest::parse(
//!     r#"
//!     spin_manifest_version = 2
//!     [application]
//!     name = "demo"
//!     [[trigger.http]]
//!     route = "/items/..."
//!     component = "items"
//!     [component.items]
//!     source = "items.wasm"
//!     [component.items.tool.funnelweb]
//!     role = "endpoint"
//!     grants = ["documents"]
//!     "#,
//!     "spin.toml",
//! )?;
//! let router = Router::new(&manifest);
//! let found = router.find("/items/42").ok_or("no route")?;
//! assert_eq!((found.component, found.trailing), ("items", Some("/42")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Order of reading: `raw` (the file's shape, by serde), `check` (everything the
//! shape cannot say), [`Manifest`] (what the host uses).

mod check;
mod error;
mod headers;
mod id;
mod manifest;
mod outbound;
mod raw;
mod router;
mod template;

pub use error::Error;
pub use headers::{Request, spin_headers};
pub use manifest::{
    Application, Build, Component, Funnelweb, Grant, HttpTrigger, Manifest, Role, Route, UserHeader, Variable,
};
pub use outbound::AllowedHosts;
pub use router::{Match, Router};
pub use template::{Template, Values};

//! The `results` capability: answers that were given and may be given again (design §3.2,
//! `recommend:…`).
//!
//! [`store`] holds the trait, [`MemoryResults`] the embedded backend, `conformance` the
//! suite that every backend must pass. [`Results`] is what stands before a backend: of those
//! who look for the same at once one computes it and the others wait, one that is stale is
//! computed anew in the background, and a backend that does not answer is as good as none.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use funnelweb_factor_results::{Found, MemoryResults, Results, store::*};
//!
//! let results = Results::new(Arc::new(MemoryResults::new()));
//! let acme = Tenant::new("acme").unwrap();
//! let key = Key { scenario_id: "feed".into(), user_id: "ann".into(), hash: "1f".into() };
//! let Found::Absent(claim) = results.look(&acme, &key).await? else { panic!("nothing is kept yet") };
//! assert!(results.keep(&acme, &key, r#"{"items":[]}"#.to_owned(), 600, 60).await?);
//! drop(claim);
//! assert!(matches!(results.look(&acme, &key).await?, Found::Fresh(kept) if kept.fresh_s == 600));
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod flights;
#[cfg(feature = "host")]
pub mod host;
mod memory;
pub mod metrics;
mod results;
pub mod store;

pub use flights::Claim;
pub use memory::MemoryResults;
pub use results::{Found, Kept, Results, Revalidate};

//! Whether what a tenant uploads may become a component.
//!
//! An upload is hostile until proven otherwise. Rules over its bytes come first, the
//! cheapest before the others ([`inspect`]): what it is, how much there is of everything,
//! its [`Manifest`], what it exports and imports, and that all of it is valid. Each rule
//! has a name, and says how to mend what breaks it ([`Refused`]). What passes is compiled
//! in a process of its own, which has little memory, time and priority ([`Compiler`]):
//! what a compiler can be made to do by its input stays there. An upload that is compiled
//! already is refused; machine code is never taken from anyone.
//!
//! ```no_run
//! # async fn admit(wasm: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let compiler = funnelweb_admission::Compiler::new("funnelweb", ["admit-component"]);
//! let admitted = compiler.admit(wasm, "data/cache/component.cwasm".as_ref()).await?;
//! println!("{} {}", admitted.inspected.manifest.name, admitted.inspected.manifest.version);
//! # Ok(())
//! # }
//! ```

pub mod child;
mod manifest;
mod names;
mod process;
mod refused;
mod rules;
mod scan;
mod schema;
mod sections;

pub use manifest::{Build, Column, ColumnType, Manifest, Reads, UserPart, World};
pub use process::{Admitted, Compiler, Error};
pub use refused::{Refused, Rule};
pub use rules::{Inspected, check_size, inspect};
pub use scan::Counts;
pub use schema::Schema;

#[cfg(test)]
mod tests;

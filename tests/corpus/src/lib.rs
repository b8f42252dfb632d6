//! Uploads by which a tenant could try to hurt the host or other tenants, and what is to
//! become of each of them.
//!
//! An upload is a component with a manifest. It is admitted or refused, then certified on
//! recorded requests, then it runs in requests, where it can fail no request. A [`Case`]
//! says how far one comes on that way and what is said of it there.
//!
//! All are made here: a core module that behaves ([`World`] says as what) in which one
//! thing is spoiled, and sections that no tool would write.
//!
//! ```
//! for case in funnelweb_corpus::cases() {
//!     println!("{}: {} bytes, {:?}", case.name, case.upload.len(), case.expected);
//! }
//! ```
#![allow(clippy::expect_used, reason = "a case that cannot be made is a fault of this crate, which its tests find")]

mod cases;
mod composition;
mod guest;
mod manifest;
mod sections;
mod seer;
mod table;
mod wit;

pub use cases::cases;
pub use seer::seer;
pub use table::markdown_table;

/// What a component is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum World {
    /// A recall channel: finds nothing where it behaves.
    Recall,
    /// A ranker: keeps the scores.
    Rank,
    /// A rerank rule: keeps the list.
    Rerank,
    /// A stream operator: its accumulators are empty, and it says nothing.
    Aggregate,
}

impl World {
    /// As a manifest has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Rank => "rank",
            Self::Rerank => "rerank",
            Self::Aggregate => "aggregate",
        }
    }

    /// The interface that it exports.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Recall => "funnelweb:pipeline/recall@0.1.0",
            Self::Rank => "funnelweb:pipeline/rank@0.1.0",
            Self::Rerank => "funnelweb:pipeline/rerank@0.1.0",
            Self::Aggregate => "funnelweb:stream/aggregate@0.1.0",
        }
    }
}

/// What becomes of an upload. Every list holds what may be said of it, of which one is,
/// or is part of the reason that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Not admitted, by one of these rules.
    Refused(&'static [&'static str]),
    /// Admitted, but its `check` gives no answer (or instantiating it fails): it does not
    /// pass certification, and a scenario's config that names it is refused.
    Unusable(&'static [&'static str]),
    /// Admitted; does not pass certification, and where an operator has it run all the
    /// same, its requests are answered without it, and `degraded` says why.
    Contained(&'static [&'static str]),
    /// Admitted and certified. In requests of [`VICTIM`] it does what it was made for, and
    /// those are answered without it.
    Later(&'static [&'static str]),
    /// Admitted, certified, and runs like any other.
    Harmless,
    /// Not admitted, by one of these rules, or else as said.
    RefusedOr(&'static [&'static str], &'static Expected),
    /// Damaged at random: refused by any rule, contained, or harmless.
    Any,
}

/// The user whose requests [`Expected::Later`] is about.
pub const VICTIM: &str = "victim";

/// What a case says, and its `degraded` then, when it was given what it should not have: no
/// reason that is given for any case begins like this.
pub const FOUND: &str = "now it has";

/// One upload.
#[derive(Debug, Clone)]
pub struct Case {
    /// Begins with its kind: `loop-plain`. The name of its component, unless the case is
    /// about names.
    pub name: &'static str,
    /// In one line. Cases that are alike have the same.
    pub about: &'static str,
    /// The component, its manifest inside.
    pub upload: Vec<u8>,
    /// What it says it is built for.
    pub world: World,
    /// The params to give it, a JSON object. It need not be what its schema asks for.
    pub params: String,
    /// What is to become of it.
    pub expected: Expected,
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_can_be_made() {
        assert!(super::cases().len() >= 200);
    }
}

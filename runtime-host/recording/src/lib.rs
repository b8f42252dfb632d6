//! A request with all that it was given, so that it can be looked at and run again.
//!
//! While a request is at work its [`Session`] notes what every capability call answered
//! ([`Tape`]) and what became of every stage ([`StageTape`]). Nothing is written while it
//! runs: answers are copied, and turned into bytes by the [`Recorder`]'s own thread when the
//! request is to be kept ([`Keep`]). A [`Recording`] is what is kept, in a [`store`].
//!
//! Run again, a session answers the same calls from the recording: a call is known by its
//! name and what it was asked, within the endpoint or one stage call. What was not recorded
//! is read from the stores as they are now, and is told ([`Session::differences`]); nothing is
//! written. With [`Changes`] the same tells what another version or config had come to.

mod codec;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(feature = "host")]
pub mod host;
pub mod metrics;
mod recorder;
mod recording;
mod session;
mod sqlite;
mod stage;
pub mod store;
mod tape;

pub use codec::{decode, encode};
pub use recorder::Recorder;
pub use recording::{Answer, Asked, Call, Head, Outcome, Reason, Recording, Role, Stage, Status};
pub use session::{Changes, Draft, Journal, Keep, Session};
pub use sqlite::SqliteRecordings;
pub use stage::StageTape;
pub use tape::{Cue, Tape};

//! Why a guest gave no answer, in words for whoever made it.

use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::{Limiter, Log, TimedOut};

/// In Wasmtime's words; it has no type for this that can be named.
const OUT_OF_FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// What a call that did not return ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its time was over.
    Late,
    /// Its fuel was.
    Fuel,
    /// It wanted more memory than it may have.
    Memory,
    /// Its answer was too large.
    Answer,
    /// There was no room for an instance of it: it did not run.
    Room,
    /// Anything else: a trap, a panic, a fault of the host.
    Trap,
}

/// What became of a call that did not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it ran into.
    pub kind: Kind,
    /// Why, on one line.
    pub reason: String,
}

impl Failure {
    /// One that its time did not suffice for.
    #[must_use]
    pub fn timed_out(timeout: Duration) -> Self {
        Self { kind: Kind::Late, reason: format!("no answer within {} ms", timeout.as_millis()) }
    }

    /// Any other.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Trap, reason: reason.into() }
    }

    /// Whether its time was over.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.kind == Kind::Late
    }

    /// Of a call that ended with an error, from what is known of its store:
    /// `answer_bytes` is its fuel for host calls.
    #[must_use]
    pub fn of(error: &wasmtime::Error, limiter: &Limiter, log: &Log, timeout: Duration, answer_bytes: usize) -> Self {
        if error.downcast_ref::<TimedOut>().is_some() {
            return Self::timed_out(timeout);
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Self { kind: Kind::Room, reason: "as many instances as may are at work".to_owned() };
        }
        if limiter.denied() {
            let limit = limiter.memory_bytes() / 1024 / 1024;
            return Self { kind: Kind::Memory, reason: format!("more memory than its limit of {limit} MiB") };
        }
        if matches!(error.downcast_ref(), Some(Trap::OutOfFuel)) {
            return Self { kind: Kind::Fuel, reason: "computed for longer than its fuel lasts".to_owned() };
        }
        let printed = log.take();
        let cause = error.root_cause();
        if cause.to_string().contains(OUT_OF_FUEL) {
            let limit = answer_bytes / 1024 / 1024;
            let reason = format!("an answer of more bytes than its limit of {limit} MiB");
            return Self { kind: Kind::Answer, reason };
        }
        Self::failed(bounded(
            last_words(&printed).map_or_else(|| cause.to_string(), |words| format!("{words} ({cause})")),
        ))
    }
}

/// What a guest printed as it panicked, which says more than « unreachable »:
/// `panicked at src/lib.rs:1:2: the message`. Or else the first line it printed.
fn last_words(printed: &str) -> Option<String> {
    let Some(panic) = printed.rfind("panicked at ").and_then(|at| printed.get(at..)) else {
        return printed.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    };
    // The place stands on the first line and the message below it, before notes.
    let lines = panic.lines().map(str::trim).take_while(|line| !line.starts_with("note: "));
    Some(lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "))
}

/// A guest's words in a report: at most 200 characters of one line.
#[must_use]
pub fn bounded(text: String) -> String {
    text.chars().map(|character| if breaks_a_line(character) { ' ' } else { character }).take(200).collect()
}

/// Whether a character does something to the line that it is in: controls, other ends of
/// lines, and what turns the direction of text or cannot be seen.
#[must_use]
pub fn breaks_a_line(character: char) -> bool {
    let is_format = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    character.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let printed =
            "hello\n\nthread 'main' (1) panicked at src/lib.rs:1:2:\nno\nmore\nnote: run with RUST_BACKTRACE=1\n";
        assert_eq!(last_words(printed).as_deref(), Some("panicked at src/lib.rs:1:2: no more"));
        assert_eq!(last_words("\n one \ntwo").as_deref(), Some("one"));
        assert_eq!(last_words(" \n"), None);
    }

    #[test]
    fn words_are_one_short_line() {
        assert_eq!(bounded("a\nb\u{1b}".to_owned()), "a b ");
        assert_eq!(bounded("a\u{2028}b\u{202e}c\u{200b}é☃".to_owned()), "a b c é☃");
        assert_eq!(bounded("é".repeat(300)).chars().count(), 200);
    }
}

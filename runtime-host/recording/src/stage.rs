//! One stage call of a request.

use std::sync::Arc;

use serde::Serialize;

use crate::{Outcome, Role, Session, Stage, Status, Tape, codec};

/// What a stage call is noted by, or told again. By default nothing is noted.
#[derive(Clone, Default)]
pub struct StageTape(Option<(Arc<Session>, usize)>);

impl StageTape {
    /// Begins a stage call of a request. Calls of one role and name are told apart by the
    /// order in which they are begun.
    #[must_use]
    pub fn begin(session: Option<&Arc<Session>>, role: Role, name: &str) -> Self {
        Self(session.map(|session| (Arc::clone(session), session.begin(role, name))))
    }

    /// What its capabilities' answers pass through.
    #[must_use]
    pub fn tape(&self) -> Tape {
        match &self.0 {
            Some((session, scope)) => Tape::of_stage(Arc::clone(session), *scope),
            None => Tape::default(),
        }
    }

    /// Whether anything is noted of it.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.0.as_ref().is_some_and(|(session, _)| session.is_wanted())
    }

    /// Whether it is of a request that is run again.
    #[must_use]
    pub fn is_again(&self) -> bool {
        self.0.as_ref().is_some_and(|(session, _)| session.is_again())
    }

    fn recorded(&self) -> Option<Stage> {
        let (session, scope) = self.0.as_ref()?;
        session.recorded_stage(*scope)
    }

    /// The version that has to run of this component (`acme/boost`) or model, of which the
    /// config asks for `asked` (empty for none): the one that a change says, or that ran then.
    /// None when it is chosen as ever.
    #[must_use]
    pub fn version(&self, name: &str, asked: &str) -> Option<String> {
        let (session, _) = self.0.as_ref()?;
        session.version_of(name, asked, self.recorded())
    }

    /// How it ended then, where that cannot be had by running it again: it was late, what is
    /// there now was not, or it failed before anything ran.
    #[must_use]
    pub fn ended(&self) -> Option<Outcome> {
        let (session, _) = self.0.as_ref()?;
        let Stage { name, outcome, .. } = self.recorded()?;
        let of = name.split_once('@').map_or(name.as_str(), |(of, _)| of);
        match outcome.status {
            Status::TimedOut if session.changed_version(of).is_none() => Some(outcome),
            Status::Unavailable if session.is_exact() => Some(outcome),
            Status::Failed if session.is_exact() && outcome.digest.is_empty() => Some(outcome),
            _ => None,
        }
    }

    /// Ends it. Where the request is to be the same as before, it took as long as before, and
    /// what is other is told.
    pub fn end(&self, outcome: &mut Outcome, output: &impl Serialize) {
        let Some((session, scope)) = &self.0 else { return };
        let output = codec::digest(output);
        if session.is_exact() {
            match self.recorded() {
                Some(recorded) => {
                    if recorded.outcome.status == Status::Ok && outcome.status.is_of_the_moment() {
                        session.hinder();
                    }
                    compare(&recorded, outcome, output).iter().for_each(|what| session.differs(*scope, what));
                    outcome.elapsed_us = recorded.outcome.elapsed_us;
                }
                None => session.differs(*scope, "was not called then"),
            }
        }
        session.end(*scope, outcome.clone(), output);
    }
}

/// In what a stage call is other than it was.
fn compare(recorded: &Stage, now: &Outcome, output: u64) -> Vec<String> {
    let then = &recorded.outcome;
    let mut found = Vec::new();
    if then.digest != now.digest {
        let short = |digest: &str| digest.get(..12).unwrap_or("none").to_owned();
        found.push(format!("ran `{}` {}, which was {} then", now.component, short(&now.digest), short(&then.digest)));
    }
    if then.status != now.status {
        let reason = if now.reason.is_empty() { &then.reason } else { &now.reason };
        found.push(format!("ended otherwise ({:?}, then {:?}): {reason}", now.status, then.status));
    } else if recorded.output != output {
        found.push("answered otherwise".to_owned());
    }
    found
}

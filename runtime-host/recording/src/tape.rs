//! What a capability answers, noted or told again.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Journal, Session, codec};

/// What the host side of a capability has its answers pass through: that of one endpoint
/// instance, or of one stage call. By default nothing is noted.
#[derive(Clone, Default)]
pub struct Tape(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    None,
    /// Whatever request the instance works on.
    Instance(Journal),
    /// One stage call of a request.
    Stage(Arc<Session>, usize),
}

/// A call that is about to be made.
#[must_use]
pub struct Cue(Option<(Arc<Session>, usize, &'static str, u64)>);

impl Tape {
    /// Of an endpoint instance, whose requests come one after the other.
    #[must_use]
    pub fn of(journal: &Journal) -> Self {
        Self(Source::Instance(journal.clone()))
    }

    pub(crate) fn of_stage(session: Arc<Session>, scope: usize) -> Self {
        Self(Source::Stage(session, scope))
    }

    fn session(&self) -> Option<(Arc<Session>, usize)> {
        match &self.0 {
            Source::None => None,
            Source::Instance(journal) => Some((journal.session()?, Session::ENDPOINT)),
            Source::Stage(session, scope) => Some((Arc::clone(session), *scope)),
        }
    }

    /// Announces a call by its name and what is asked.
    pub fn cue(&self, name: &'static str, asked: &impl Serialize) -> Cue {
        let session = self.session().filter(|(session, _)| session.is_wanted());
        Cue(session.map(|(session, scope)| (session, scope, name, codec::digest(asked))))
    }

    /// The same of what follows from what runs, and not from what is stored: where another
    /// version is to run, it is asked for anew.
    pub fn cue_unless_changed(&self, name: &'static str, asked: &impl Serialize) -> Cue {
        if self.is_changed() { Cue(None) } else { self.cue(name, asked) }
    }

    /// Whether it is of a request that is run again, and something is other on purpose.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.session().is_some_and(|(session, _)| session.is_again() && !session.is_exact())
    }

    /// Whether what follows is of a request that is run again, and changes nothing.
    #[must_use]
    pub fn is_again(&self) -> bool {
        self.session().is_some_and(|(session, _)| session.is_again())
    }
}

impl Cue {
    /// The call's answer: as it was recorded, or by `work`, and then noted.
    pub async fn play<R: Serialize + DeserializeOwned>(self, work: impl Future<Output = R>) -> R {
        let Some((session, scope, name, asked)) = self.0 else { return work.await };
        if session.is_again() {
            if let Some(answer) = session.recall(scope, name, asked) {
                return answer;
            }
            return work.await;
        }
        let answer = work.await;
        if session.is_wanted() {
            session.note(scope, name, asked, codec::bytes(&answer));
        }
        answer
    }

    /// The same of a call that changes something: run again it changes nothing, and answers as
    /// it was recorded, or else `otherwise`.
    pub async fn act<R: Serialize + DeserializeOwned>(self, otherwise: R, work: impl Future<Output = R>) -> R {
        let is_again = self.0.as_ref().is_some_and(|(session, ..)| session.is_again());
        self.play(async { if is_again { otherwise } else { work.await } }).await
    }
}

#[cfg(test)]
mod tests {
    use crate::{Changes, Journal, Keep, Role, StageTape, conformance::asked};

    use super::*;

    async fn read(tape: &Tape, key: &str, stored: u32) -> Result<u32, String> {
        tape.cue("test.read", &key).play(async { Ok(stored) }).await
    }

    async fn recorded() -> Arc<crate::Recording> {
        let journal = Journal::default();
        let session = Session::record(17);
        journal.turn_to(Some(Arc::clone(&session)));
        let tape = Tape::of(&journal);
        assert_eq!(read(&tape, "a", 1).await, Ok(1));
        assert_eq!(read(&tape, "b", 2).await, Ok(2));
        assert_eq!(read(&tape, "a", 3).await, Ok(3));
        let stage = StageTape::begin(Some(&session), Role::Recall, "latest");
        assert_eq!(read(&stage.tape(), "a", 4).await, Ok(4));
        session.keep("feed", Keep::Always, 60, None);
        let draft = session.finish("recommend", "00", asked("ann", "r1"), 200, b"{}".to_vec()).unwrap();
        Arc::new(draft.recording())
    }

    #[tokio::test]
    async fn what_was_answered_is_answered_again_in_its_place() {
        let journal = Journal::default();
        let session = Session::again(recorded().await, Changes::default());
        journal.turn_to(Some(Arc::clone(&session)));
        let tape = Tape::of(&journal);
        // Whatever is stored now, and in any order of different questions.
        assert_eq!(read(&tape, "b", 9).await, Ok(2));
        assert_eq!(read(&tape, "a", 9).await, Ok(1));
        assert_eq!(read(&tape, "a", 9).await, Ok(3));
        let stage = StageTape::begin(Some(&session), Role::Recall, "latest");
        assert_eq!(read(&stage.tape(), "a", 9).await, Ok(4));
        assert!(session.differences().is_empty(), "{:?}", session.differences());
        // What was not asked then is read now, and told.
        assert_eq!(read(&tape, "c", 9).await, Ok(9));
        assert_eq!(read(&stage.tape(), "b", 9).await, Ok(9));
        let told = session.differences();
        assert_eq!(told.len(), 2);
        assert!(told[1].contains("recall `latest`") && told[1].contains("test.read"), "{told:?}");
    }

    #[tokio::test]
    async fn nothing_is_written_again() {
        let journal = Journal::default();
        let tape = Tape::of(&journal);
        let act = async |asked: &str| tape.cue("test.write", &asked).act(0_u32, async { 1_u32 }).await;
        assert_eq!((act("a").await, tape.is_again()), (1, false));
        let session = Session::record(17);
        journal.turn_to(Some(Arc::clone(&session)));
        assert_eq!((act("a").await, tape.is_again()), (1, false));
        session.keep("feed", Keep::Always, 60, None);
        let draft = session.finish("recommend", "00", asked("ann", "r1"), 200, Vec::new()).unwrap();
        journal.turn_to(Some(Session::again(Arc::new(draft.recording()), Changes::default())));
        assert_eq!((act("a").await, act("b").await, tape.is_again()), (1, 0, true));
    }

    #[tokio::test]
    async fn an_instance_without_a_request_notes_nothing() {
        let tape = Tape::of(&Journal::default());
        assert_eq!(read(&tape, "a", 1).await, Ok(1));
        assert_eq!(read(&Tape::default(), "a", 1).await, Ok(1));
    }
}

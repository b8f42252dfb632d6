use super::*;
use crate::{StageTape, conformance::asked};

const OK: u16 = 200;

fn outcome(digest: &str, status: Status, elapsed_us: u32) -> Outcome {
    Outcome { digest: digest.to_owned(), status, elapsed_us, ..Outcome::default() }
}

/// A request with these stages, which answer numbers.
fn run(session: &Arc<Session>, stages: &[(&str, Outcome, u32)]) -> Vec<Outcome> {
    let end = |(name, outcome, output): &(&str, Outcome, u32)| {
        let mut outcome = outcome.clone();
        StageTape::begin(Some(session), Role::Rank, name).end(&mut outcome, output);
        outcome
    };
    stages.iter().map(end).collect()
}

fn finish(session: &Session, status: u16) -> Option<Draft> {
    session.finish("recommend", "00", asked("ann", "r1"), status, Vec::new())
}

fn recorded(stages: &[(&str, Outcome, u32)]) -> Arc<Recording> {
    let session = Session::record(17);
    run(&session, stages);
    session.keep("feed", Keep::Always, 60, None);
    Arc::new(finish(&session, OK).unwrap().recording())
}

#[test]
fn what_is_kept_is_what_was_said_and_what_failed() {
    let reason = |keep: Option<Keep>, stage: Status, status: u16| {
        let session = Session::record(17);
        run(&session, &[("linear", outcome("aa", stage, 1), 1)]);
        if let Some(keep) = keep {
            session.keep("feed", keep, 60, None);
        }
        finish(&session, status).map(|draft| {
            assert!(draft.is_kept());
            draft.recording().reason
        })
    };
    let (always, if_degraded, never) = (Some(Keep::Always), Some(Keep::IfDegraded), Some(Keep::Never));
    assert_eq!(reason(always, Status::Ok, OK), Some(Reason::Sample));
    assert_eq!(reason(always, Status::TimedOut, OK), Some(Reason::Degraded));
    assert_eq!(reason(if_degraded, Status::Ok, OK), None);
    assert_eq!(reason(if_degraded, Status::Unavailable, OK), None, "a config may name what is not there yet");
    assert_eq!(reason(if_degraded, Status::Failed, OK), Some(Reason::Degraded));
    assert_eq!(reason(if_degraded, Status::Ok, 503), Some(Reason::Failed));
    assert_eq!(reason(if_degraded, Status::Ok, 404), None);
    assert_eq!(reason(never, Status::Failed, 500), None);
    assert_eq!(reason(None, Status::Ok, OK), None);
    assert_eq!(reason(None, Status::Ok, 500), Some(Reason::Failed));
}

#[test]
fn a_config_is_tried_on_what_is_not_kept() {
    let session = Session::record(17);
    session.keep("feed", Keep::IfDegraded, 60, Some("{}".to_owned()));
    run(&session, &[("linear", outcome("aa", Status::Ok, 1), 1)]);
    let draft = finish(&session, OK).unwrap();
    assert_eq!((draft.is_kept(), draft.shadow()), (false, Some("{}")));
    assert_eq!(draft.recording().stages.len(), 1);
}

#[test]
fn a_recording_has_its_clock_and_its_end() {
    let recording = recorded(&[]);
    assert_eq!((recording.at_ms, recording.expires_ms), (17, 60_017));
    assert_eq!((recording.scenario_id.as_str(), recording.asked.request_id.as_str()), ("feed", "r1"));
    assert_eq!(Session::again(recording, Changes::default()).now_ms(), 17);
}

#[test]
fn the_same_again_took_as_long_as_then() {
    let then = [("linear", outcome("aa", Status::Ok, 40), 1), ("linear", outcome("aa", Status::Ok, 50), 2)];
    let session = Session::again(recorded(&then), Changes::default());
    let now = then.clone().map(|(name, of, output)| (name, Outcome { elapsed_us: 7, ..of }, output));
    let took: Vec<u32> = run(&session, &now).iter().map(|outcome| outcome.elapsed_us).collect();
    assert_eq!((took, session.differences()), (vec![40, 50], Vec::new()));
    assert!(finish(&session, OK).is_none(), "what is run again is not recorded");
}

#[test]
fn what_is_other_is_named_with_its_stage() {
    let then = [("linear", outcome(&"aa".repeat(32), Status::Ok, 1), 1)];
    let differences = |now: &[(&str, Outcome, u32)], changes: Changes| {
        let session = Session::again(recorded(&then), changes);
        run(&session, now);
        session.differences().join("; ")
    };
    let same = Changes::default;
    let output = differences(&[("linear", then[0].1.clone(), 2)], same());
    assert_eq!(output, "rank `linear` answered otherwise");
    let digest = differences(&[("linear", outcome(&"bb".repeat(32), Status::Ok, 1), 1)], same());
    assert_eq!(digest, "rank `linear` ran `` bbbbbbbbbbbb, which was aaaaaaaaaaaa then");
    let failed = differences(&[("linear", outcome(&"aa".repeat(32), Status::Failed, 1), 1)], same());
    assert!(failed.starts_with("rank `linear` ended otherwise (Failed, then Ok)"), "{failed}");
    assert_eq!(differences(&[("deepfm", then[0].1.clone(), 1)], same()), "rank `deepfm` was not called then");
    let changed = Changes { is_changed: true, ..Changes::default() };
    assert_eq!(differences(&[("deepfm", then[0].1.clone(), 2)], changed), "", "it was meant to be");
}

#[test]
fn the_version_that_ran_runs_again_unless_another_is_meant() {
    let then = [("acme/boost", Outcome { version: "1.0.0".to_owned(), ..outcome("aa", Status::Ok, 1) }, 1)];
    let version = |changes: Changes, name: &str| {
        let session = Session::again(recorded(&then), changes);
        StageTape::begin(Some(&session), Role::Rank, name).version(name, "")
    };
    let changes =
        || Changes { versions: BTreeMap::from([("acme/boost".to_owned(), "2.0.0".to_owned())]), ..Changes::default() };
    assert_eq!(version(Changes::default(), "acme/boost").as_deref(), Some("1.0.0"));
    assert_eq!(version(changes(), "acme/boost").as_deref(), Some("2.0.0"));
    assert_eq!(version(changes(), "acme/other"), None);
    assert_eq!(StageTape::default().version("acme/boost", ""), None);
}

#[test]
fn a_config_that_asks_for_a_version_gets_it() {
    let then = [("deepfm", Outcome { version: "v1".to_owned(), ..outcome("aa", Status::Ok, 1) }, 1)];
    let version = |changes: Changes, asked: &str| {
        let session = Session::again(recorded(&then), changes);
        let found = StageTape::begin(Some(&session), Role::Rank, "deepfm").version("deepfm", asked);
        assert_eq!(session.version_ahead(Role::Rank, "deepfm", "deepfm", asked), found);
        found
    };
    let changed = || Changes { is_changed: true, ..Changes::default() };
    assert_eq!(version(changed(), "v2"), None, "as the config says");
    assert_eq!(version(changed(), "").as_deref(), Some("v1"), "the change is of something else");
    assert_eq!(version(Changes::default(), "v2").as_deref(), Some("v1"), "the same is to come of it");
}

#[test]
fn a_version_that_nobody_ran_is_told() {
    let then = [("acme/boost", outcome("aa", Status::Ok, 1), 1)];
    let versions = ["acme/boost", "boost"].map(|name| (name.to_owned(), "2".to_owned()));
    let session = Session::again(recorded(&then), Changes { versions: versions.into(), is_changed: false });
    let ran = StageTape::begin(Some(&session), Role::Rank, "acme/boost").version("acme/boost", "");
    assert_eq!(ran.as_deref(), Some("2"));
    assert_eq!(session.unused(), ["boost"]);
}

#[test]
fn what_did_not_end_is_not_said_to_have() {
    let session = Session::record(17);
    drop(StageTape::begin(Some(&session), Role::Rank, "slow"));
    let stages = finish(&session, 504).unwrap().recording().stages;
    assert_eq!((stages[0].outcome.status, stages[0].outcome.reason.as_str()), (Status::TimedOut, "it did not end"));
}

#[test]
fn what_may_be_otherwise_the_next_time_is_told() {
    let then = [("linear", outcome("aa", Status::Ok, 1), 1)];
    let is_hindered = |status| {
        let session = Session::again(recorded(&then), Changes::default());
        run(&session, &[("linear", outcome("aa", status, 1), 1)]);
        session.is_hindered()
    };
    assert!(is_hindered(Status::TimedOut) && is_hindered(Status::Unavailable));
    assert!(!is_hindered(Status::Failed) && !is_hindered(Status::Ok));
}

#[test]
fn what_was_late_is_late_again() {
    let then = [("late", outcome("aa", Status::TimedOut, 1), 1), ("gone", outcome("", Status::Unavailable, 1), 1)];
    let ended = |changes: Changes, name: &str| {
        let session = Session::again(recorded(&then), changes);
        StageTape::begin(Some(&session), Role::Rank, name).ended().map(|outcome| outcome.status)
    };
    let changed = || Changes { is_changed: true, ..Changes::default() };
    assert_eq!(ended(Changes::default(), "late"), Some(Status::TimedOut));
    assert_eq!(ended(changed(), "late"), Some(Status::TimedOut), "it is not the change that makes it late");
    assert_eq!(ended(Changes::default(), "gone"), Some(Status::Unavailable));
    assert_eq!(ended(changed(), "gone"), None, "it may be there now");
}

#[test]
fn differences_and_calls_are_bounded() {
    let session = Session::again(recorded(&[]), Changes::default());
    for at in 0..=limits::REPLAY_DIFFERENCES {
        session.differs(Session::ENDPOINT, &at.to_string());
    }
    assert_eq!(session.differences().len(), limits::REPLAY_DIFFERENCES);
    let session = Session::record(17);
    for at in 0..=limits::RECORDED_CALLS {
        session.note(Session::ENDPOINT, "test.read", at as u64, codec::bytes(&1_u32));
    }
    session.keep("feed", Keep::Always, 60, None);
    assert!(finish(&session, OK).is_none(), "a part of a request cannot be run again");
    let session = Session::record(17);
    for at in 0..limits::RECORDED_CALLS {
        session.note(Session::ENDPOINT, "test.read", at as u64, codec::bytes(&1_u32));
    }
    session.keep("feed", Keep::Always, 60, None);
    assert_eq!(finish(&session, OK).unwrap().recording().calls.len(), limits::RECORDED_CALLS);
}

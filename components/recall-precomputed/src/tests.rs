use funnelweb_guest::{
    fixtures::{NOW_MS, recall_request},
    types::StageErrorCode,
};
use proptest::prelude::*;

use super::*;

const HOUR_MS: u64 = 3_600_000;
const MADE_MS: u64 = NOW_MS - HOUR_MS;

/// A slate of the fixtures' user `u` in `s`, and their profile.
struct Stored {
    slate: Result<Option<Slate>, Error>,
    profile: Option<String>,
}

fn profile(created_ms: u64) -> Option<String> {
    Some(format!(r#"{{"user_id":"u","created_at":"{}"}}"#, funnelweb_core::time::format_ms(created_ms)))
}

fn stored(handles: &[Handle]) -> Stored {
    let scores = (0..handles.len()).map(|rank| 5.0 - rank as f32).collect();
    Stored {
        slate: Ok(Some(Slate { made_ms: MADE_MS, handles: handles.to_vec(), scores })),
        profile: profile(MADE_MS - 1),
    }
}

impl Sources for Stored {
    fn slate(&self, scenario_id: &str, user: Handle) -> Result<Option<Slate>, Error> {
        assert_eq!((scenario_id, user), ("s", id::handle("u")));
        self.slate.clone()
    }

    fn profile(&self, key: &Key) -> Result<Option<String>, Error> {
        assert_eq!((key.scenario_id.as_str(), key.id.as_str()), ("s", "u"));
        Ok(self.profile.clone())
    }
}

#[test]
fn the_slate_in_its_order_with_its_scores() {
    let recalled = recall(&recall_request(10, &[], ""), &stored(&[9, 3, 7])).unwrap();
    assert_eq!((recalled.handles, recalled.scores), (vec![9, 3, 7], vec![5.0, 4.0, 3.0]));
}

#[test]
fn what_is_excluded_makes_room_for_more() {
    let recalled = recall(&recall_request(2, &[9, 1], ""), &stored(&[9, 3, 7, 1])).unwrap();
    assert_eq!((recalled.handles, recalled.scores), (vec![3, 7], vec![4.0, 3.0]));
}

#[test]
fn who_has_none_gets_nothing() {
    let none = Stored { slate: Ok(None), profile: profile(1) };
    assert!(recall(&recall_request(10, &[], ""), &none).unwrap().handles.is_empty());
    // A session is nobody's.
    let mut session = recall_request(10, &[], "");
    session.context.user.id = String::new();
    assert!(recall(&session, &stored(&[1])).unwrap().handles.is_empty());
}

#[test]
fn a_slate_of_somebody_deleted_is_nobody_s() {
    let count = |profile: Option<String>| {
        recall(&recall_request(10, &[], ""), &Stored { profile, ..stored(&[1]) }).unwrap().handles.len()
    };
    assert_eq!(count(None), 0);
    assert_eq!(count(profile(MADE_MS + 1)), 0, "who came back is not who had it");
    assert_eq!(count(Some("{}".to_owned())), 0);
    assert_eq!((count(profile(MADE_MS)), count(profile(0))), (1, 1));
}

#[test]
fn a_slate_has_its_day() {
    let at = |age_ms: u64, params: &str| {
        let mut request = recall_request(10, &[], params);
        request.context.now_ms = MADE_MS + age_ms;
        recall(&request, &stored(&[1])).unwrap().handles.len()
    };
    assert_eq!((at(48 * HOUR_MS, ""), at(48 * HOUR_MS + 1, "")), (1, 0));
    let half = r#"{"max_age_hours": 0.5}"#;
    assert_eq!((at(HOUR_MS / 2, half), at(HOUR_MS / 2 + 1, half)), (1, 0));
    // Clocks of two machines.
    let mut early = recall_request(10, &[], "");
    early.context.now_ms = MADE_MS - 5;
    assert_eq!(recall(&early, &stored(&[1])).unwrap().handles.len(), 1);
}

#[test]
fn params_are_checked() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"max_age_hours": 0}"#), "/max_age_hours");
    assert_eq!(path(r#"{"max_age_hours": 9000}"#), "/max_age_hours");
    assert!(Stage::check(r#"{"max_age": 1}"#.into()).unwrap_err().message.contains("max_age"));
    assert_eq!(Stage::check(r#"{"max_age_hours": 8760}"#.into()).unwrap().personal, Personal::ID);
}

#[test]
fn a_store_that_does_not_answer_is_reported() {
    let down = Stored { slate: Err(Error::Unavailable("gone".into())), profile: None };
    let error = recall(&recall_request(10, &[], ""), &down).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (StageErrorCode::Unavailable, "gone"));
}

proptest! {
    #[test]
    fn keeps_the_contract(
        handles in prop::collection::hash_set(1_u64..60, 0..60),
        exclude in prop::collection::vec(1_u64..60, 0..20),
        limit in 1_u32..50,
    ) {
        let handles: Vec<Handle> = handles.into_iter().collect();
        let recalled = recall(&recall_request(limit, &exclude, ""), &stored(&handles)).unwrap();
        let open: Vec<Handle> = handles.into_iter().filter(|handle| !exclude.contains(handle)).collect();
        prop_assert_eq!(&recalled.handles[..], &open[..open.len().min(limit as usize)]);
        prop_assert_eq!(recalled.handles.len(), recalled.scores.len());
        prop_assert!(recalled.scores.iter().all(|score| score.is_finite()));
        prop_assert!(recalled.scores.is_sorted_by(|one, other| one >= other));
    }
}

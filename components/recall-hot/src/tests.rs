use funnelweb_guest::{fixtures::recall_request, types::StageErrorCode};
use proptest::prelude::*;

use super::*;

fn run(request: &RecallRequest, handles: &[Handle], scores: &[f32]) -> Recalled {
    let hot = Scored { handles: handles.to_vec(), scores: scores.to_vec() };
    recall(request, |_, _, _, _| Ok(hot)).unwrap()
}

#[test]
fn scores_are_shares_of_the_hottest() {
    let recalled = run(&recall_request(10, &[], ""), &[7, 8, 9], &[8.0, 4.0, 1.0]);
    assert_eq!((recalled.handles, recalled.scores), (vec![7, 8, 9], vec![1.0, 0.5, 0.125]));
}

#[test]
fn asks_for_what_the_request_says() {
    let request = recall_request(3, &[5, 6], "{}");
    let mut asked = None;
    let _ = recall(&request, |scenario, limit, exclude, now_ms| {
        asked = Some((scenario.to_owned(), limit, exclude.to_vec(), now_ms));
        Ok(Scored { handles: vec![], scores: vec![] })
    })
    .unwrap();
    assert_eq!(asked, Some(("s".to_owned(), 3, vec![5, 6], request.context.now_ms)));
}

#[test]
fn the_cold_and_the_disliked_are_not_hot() {
    let request = recall_request(10, &[], r#"{"min_score": 0.3}"#);
    let recalled = run(&request, &[1, 2, 3, 4, 5], &[10.0, 2.9, 0.0, -3.0, f32::NAN]);
    assert_eq!(recalled.handles, [1]);
    assert!(run(&request, &[1], &[-1.0]).handles.is_empty());
    assert!(run(&request, &[], &[]).handles.is_empty());
}

#[test]
fn equals_stand_by_handle() {
    assert_eq!(run(&recall_request(2, &[], ""), &[9, 3, 5], &[1.0, 1.0, 1.0]).handles, [3, 5]);
}

#[test]
fn params_are_checked() {
    assert_eq!(Stage::check(r#"{"min_score": 1.5}"#.into()).unwrap_err().path, "/min_score");
    assert!(Stage::check(r#"{"least": 1}"#.into()).unwrap_err().message.contains("least"));
    assert!(Stage::check(String::new()).unwrap().columns.is_empty());
    let error = recall(&recall_request(1, &[], "[1,2]"), |_, _, _, _| panic!("must not be asked")).unwrap_err();
    assert_eq!(error.code, StageErrorCode::InvalidInput);
}

#[test]
fn a_store_that_does_not_answer_is_reported() {
    let error = recall(&recall_request(1, &[], ""), |_, _, _, _| Err(Error::Unavailable("gone".into()))).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (StageErrorCode::Unavailable, "gone"));
}

proptest! {
    #[test]
    fn keeps_the_contract(heats in prop::collection::vec(any::<f32>(), 0..50), limit in 1_u32..60) {
        let handles: Vec<Handle> = (1..).take(heats.len()).collect();
        let recalled = run(&recall_request(limit, &[], ""), &handles, &heats);
        prop_assert!(recalled.handles.len() <= limit as usize);
        prop_assert_eq!(recalled.handles.len(), recalled.scores.len());
        prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
        prop_assert!(recalled.scores.is_sorted_by(|one, other| one >= other));
    }
}

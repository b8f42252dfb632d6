use funnelweb_core::id;
use funnelweb_guest::{
    fixtures::{attribute, recall_request},
    types::StageErrorCode,
};
use proptest::prelude::*;

use super::*;

/// Lists in the order of the handles asked for.
fn lists(of: &[(Handle, &[(Handle, f32)])], handles: &[Handle], limit: u32) -> Lists {
    let mut lists = Lists { offsets: vec![0], handles: vec![], scores: vec![] };
    for handle in handles {
        let list = of.iter().find(|(other, _)| other == handle).map_or(&[][..], |(_, list)| *list);
        for (item, score) in list.iter().take(limit as usize) {
            lists.handles.push(*item);
            lists.scores.push(*score);
        }
        lists.offsets.push(lists.handles.len() as u32);
    }
    lists
}

fn run(request: &RecallRequest, of: &[(Handle, &[(Handle, f32)])]) -> Recalled {
    recall(request, |scenario, relation, handles, limit| {
        assert_eq!((scenario, relation), ("s", Relation::SimilarItems));
        Ok(lists(of, handles, limit))
    })
    .unwrap()
}

fn request(recent: &[(Handle, f32)], params: &str) -> RecallRequest {
    let mut request = recall_request(10, &[], params);
    (request.context.user.recent, request.context.user.recent_weights) = recent.iter().copied().unzip();
    request
}

#[test]
fn neighbours_sum_weights_and_similarities() {
    let of: &[(Handle, &[(Handle, f32)])] = &[(1, &[(10, 0.5), (11, 0.25)]), (2, &[(11, 0.5), (1, 0.9)])];
    // 10: 2 · 0.5; 11: 2 · 0.25 + 8 · 0.5 · 0.5. What the user has is not offered.
    let recalled = run(&request(&[(1, 2.0), (2, 8.0)], r#"{"decay": 0.5}"#), of);
    assert_eq!((recalled.handles, recalled.scores), (vec![11, 10], vec![1.0, 0.4]));
    let recalled = run(&request(&[(1, 2.0), (2, 8.0)], r#"{"recent": 1}"#), of);
    assert_eq!(recalled.handles, [10, 11]);
    let recalled = run(&request(&[(1, 2.0)], r#"{"neighbours": 1}"#), of);
    assert_eq!(recalled.handles, [10]);
}

#[test]
fn what_is_looked_at_is_a_seed_and_not_offered() {
    let looked = id::handle("a");
    let list = [(10, 1.0), (looked, 1.0)];
    let of: &[(Handle, &[(Handle, f32)])] = &[(looked, &list), (1, &list)];
    let mut asked = request(&[], "");
    asked.context.context = vec![attribute("item_id", &["a"])];
    assert_eq!(run(&asked, of).handles, [10]);
    asked.context.user.recent = vec![1];
    asked.context.user.recent_weights = vec![1.0];
    asked.exclude = vec![10];
    assert!(run(&asked, of).handles.is_empty());
}

#[test]
fn without_a_history_nothing_is_asked() {
    let recalled = recall(&request(&[], ""), |_, _, _, _| panic!("must not be asked")).unwrap();
    assert!(recalled.handles.is_empty());
    // Nor is anything there before the first training.
    assert!(run(&request(&[(1, 1.0)], ""), &[]).handles.is_empty());
}

#[test]
fn params_are_checked() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"recent": 0}"#), "/recent");
    assert_eq!(path(&format!(r#"{{"recent": {}}}"#, limits::PROFILE_RECENT_ITEMS + 1)), "/recent");
    assert_eq!(path(r#"{"neighbours": 1001}"#), "/neighbours");
    assert_eq!(path(r#"{"decay": 0}"#), "/decay");
    assert_eq!(path(r#"{"decay": 1.1}"#), "/decay");
    assert!(Stage::check(r#"{"neighbors": 1}"#.into()).unwrap_err().message.contains("neighbors"));
    let needs = Stage::check(r#"{"recent": 100, "neighbours": 1000, "decay": 1}"#.into()).unwrap();
    assert_eq!(needs.personal, Personal::RECENT | Personal::SITUATION);
}

#[test]
fn a_store_that_does_not_answer_is_reported() {
    let error = recall(&request(&[(1, 1.0)], ""), |_, _, _, _| Err(Error::Unavailable("gone".into()))).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (StageErrorCode::Unavailable, "gone"));
}

proptest! {
    #[test]
    fn keeps_the_contract(
        recent in prop::collection::vec((1_u64..40, 0.0_f32..9.0), 0..20),
        neighbours in prop::collection::vec(prop::collection::vec((1_u64..60, any::<f32>()), 0..20), 40),
        exclude in prop::collection::vec(1_u64..60, 0..20),
        limit in 1_u32..50,
    ) {
        let mut request = request(&recent, "");
        (request.limit, request.exclude) = (limit, exclude.clone());
        let of: Vec<(Handle, &[(Handle, f32)])> = (0..).zip(neighbours.iter().map(Vec::as_slice)).collect();
        let recalled = run(&request, &of);
        let mut unique = recalled.handles.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), recalled.handles.len());
        prop_assert!(recalled.handles.len() <= limit as usize);
        prop_assert!(recalled.handles.iter().all(|handle| !exclude.contains(handle)));
        prop_assert!(recalled.handles.iter().all(|handle| recent.iter().all(|(one, _)| one != handle)));
        prop_assert_eq!(recalled.handles.len(), recalled.scores.len());
        prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
    }
}

use funnelweb_guest::fixtures::recall_request;
use proptest::prelude::*;

use super::*;

fn run(request: &RecallRequest, newest: &[Handle]) -> Recalled {
    recall(request, |_, lists| {
        assert!(lists.len() == 1 && lists[0].0.is_none());
        Ok(vec![newest.iter().copied().take(lists[0].1 as usize).collect()])
    })
    .unwrap()
}

#[test]
fn the_newest_first_with_scores_that_fall_linearly() {
    let recalled = run(&recall_request(4, &[], ""), &[9, 7, 8, 5, 6]);
    assert_eq!((recalled.handles, recalled.scores), (vec![9, 7, 8, 5], vec![1.0, 0.75, 0.5, 0.25]));
}

#[test]
fn what_is_excluded_makes_room_for_more() {
    assert_eq!(run(&recall_request(2, &[9, 8], ""), &[9, 7, 8, 5, 6]).handles, [7, 5]);
    assert!(run(&recall_request(2, &[9], ""), &[9]).handles.is_empty());
}

#[test]
fn an_empty_answer_is_an_empty_list() {
    assert!(recall(&recall_request(2, &[], ""), |_, _| Ok(vec![])).unwrap().scores.is_empty());
}

#[test]
fn there_are_no_params() {
    assert!(Stage::check("{}".into()).unwrap().columns.is_empty());
    assert!(Stage::check(r#"{"days": 1}"#.into()).unwrap_err().message.contains("days"));
}

proptest! {
    #[test]
    fn keeps_the_contract(
        count in 0_u64..50,
        limit in 1_u32..60,
        exclude in prop::collection::btree_set(1_u64..60, 0..20),
    ) {
        let newest: Vec<Handle> = (1..=count).collect();
        let exclude: Vec<Handle> = exclude.into_iter().collect();
        let recalled = run(&recall_request(limit, &exclude, ""), &newest);
        let open = newest.iter().filter(|handle| !exclude.contains(handle));
        prop_assert_eq!(&recalled.handles, &open.copied().take(limit as usize).collect::<Vec<_>>());
        prop_assert_eq!(recalled.handles.len(), recalled.scores.len());
        prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
    }
}

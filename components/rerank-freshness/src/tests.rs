use funnelweb_guest::{
    fixtures::{check_partition, rerank_request},
    types::Table,
};
use proptest::prelude::*;

use super::*;

#[test]
fn the_new_moves_up_by_the_weight() {
    let items = Table::empty(3).with_numeric("publish_time", &[168.0, 0.0, -3.0]);
    let request = |weight| rerank_request(&[3.0, 2.0, 1.0], items.clone(), weight, "");
    assert_eq!(rerank(&request(0.0)).unwrap().handles, [1, 2, 3]);
    let half = rerank(&request(0.5)).unwrap();
    // 0.5·1 + 0.5·0.5, 0.5·0.5 + 0.5·1, 0 + 0.5·1
    assert_eq!((half.handles, half.scores), (vec![1, 2, 3], vec![0.75, 0.75, 0.5]));
    let all = rerank(&request(1.0)).unwrap();
    assert_eq!((all.handles, all.scores), (vec![2, 3, 1], vec![1.0, 1.0, 0.5]));
}

#[test]
fn the_decay_is_of_the_params() {
    let items = Table::empty(2).with_numeric("publish_time", &[6.0, 12.0]);
    let run = |params| rerank(&rerank_request(&[2.0, 1.0], items.clone(), 1.0, params)).unwrap().scores;
    assert_eq!(run(r#"{"decay_hours": 6}"#), [0.5, 0.25]);
    assert_eq!(run(r#"{"decay_days": 0.25}"#), [0.5, 0.25]);
}

#[test]
fn created_at_stands_in_and_an_unknown_age_is_old() {
    let nan = f32::NAN;
    let items = Table::empty(3).with_numeric("when", &[nan, nan, 24.0]).with_numeric("created_at", &[nan, 0.0, 0.0]);
    let params = r#"{"field": "when", "decay_days": 1}"#;
    let reranked = rerank(&rerank_request(&[3.0, 2.0, 1.0], items, 1.0, params)).unwrap();
    assert_eq!((reranked.handles, reranked.scores), (vec![2, 3, 1], vec![1.0, 0.5, 0.0]));
    let bare = rerank(&rerank_request(&[3.0, 2.0], Table::empty(2), 1.0, params)).unwrap();
    assert_eq!(bare.handles, [1, 2]);
}

#[test]
fn params_are_checked_and_ask_for_their_columns() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"decay_days": 0}"#), "/decay_days");
    assert_eq!(path(r#"{"decay_hours": -1}"#), "/decay_hours");
    assert_eq!(path(r#"{"decay_hours": 1, "decay_days": 1}"#), "/decay_hours");
    assert_eq!(path(r#"{"field": ""}"#), "/field");
    assert_eq!(path(r#"{"decay_days": "x"}"#), "/decay_days");
    assert!(Stage::check(r#"{"decay": 1}"#.into()).unwrap_err().message.contains("decay"));
    let names = |params: &str| {
        let columns = Stage::check(params.into()).unwrap().columns;
        columns.into_iter().map(|column| (column.name, column.kind)).collect::<Vec<_>>()
    };
    let timestamp = |name: &str| (name.to_owned(), ColumnKind::Timestamp);
    assert_eq!(names(r#"{"decay_days": 7}"#), [timestamp("publish_time"), timestamp("created_at")]);
    assert_eq!(names(r#"{"field": "created_at"}"#), [timestamp("created_at")]);
}

proptest! {
    #[test]
    fn a_permutation_whatever_the_input(
        rows in prop::collection::vec((any::<f32>(), any::<f32>()), 0..60),
        weight in any::<f32>(),
    ) {
        let ages: Vec<f32> = rows.iter().map(|row| row.1).collect();
        let scores: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let items = Table::empty(rows.len() as u32).with_numeric("publish_time", &ages);
        let request = rerank_request(&scores, items, weight, "");
        let reranked = rerank(&request).unwrap();
        prop_assert_eq!(check_partition(&request, &reranked), Ok(()));
        prop_assert!(reranked.removed.is_empty());
    }

    #[test]
    fn without_weight_the_list_stays(mut scores in prop::collection::vec(-1e6_f32..1e6, 0..60)) {
        scores.sort_by(|one, other| other.total_cmp(one));
        let items = Table::empty(scores.len() as u32).with_numeric("publish_time", &vec![1.0; scores.len()]);
        let request = rerank_request(&scores, items, 0.0, "");
        prop_assert_eq!(rerank(&request).unwrap().handles, request.candidates.handles);
    }
}

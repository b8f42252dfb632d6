use funnelweb_guest::{
    fixtures::{attribute, check_partition, rerank_request},
    types::Table,
};
use proptest::prelude::*;

use super::*;

fn places(values: &[&[&str]]) -> Table {
    let hashes: Vec<Vec<u32>> =
        values.iter().map(|values| values.iter().map(|value| id::value_hash(value)).collect()).collect();
    Table::empty(values.len() as u32).with_multi("location", &hashes)
}

fn request(weight: f32, params: &str) -> RerankRequest {
    let items = places(&[&["rome"], &[], &["oslo", "paris"], &["paris"]]);
    rerank_request(&[4.0, 3.0, 2.0, 1.0], items, weight, params)
}

#[test]
fn items_of_the_place_move_up() {
    let mut request = request(0.6, "");
    request.context.context = vec![attribute("location", &["paris"])];
    let reranked = rerank(&request).unwrap();
    assert_eq!(reranked.handles, [3, 4, 1, 2]);
    assert!((reranked.scores[0] - (0.4 / 3.0 + 0.6)).abs() < 1e-6, "{:?}", reranked.scores);
}

#[test]
fn the_context_goes_before_the_profile() {
    let mut request = request(1.0, "");
    request.context.user.attributes = vec![attribute("location", &["oslo", "rome"])];
    assert_eq!(rerank(&request).unwrap().handles, [1, 3, 2, 4]);
    request.context.context = vec![attribute("location", &["paris"])];
    assert_eq!(rerank(&request).unwrap().handles, [3, 4, 1, 2]);
    request.context.context = vec![attribute("location", &[])];
    assert_eq!(rerank(&request).unwrap().handles, [1, 3, 2, 4]);
}

#[test]
fn an_unknown_place_or_field_changes_nothing() {
    let unknown = request(1.0, "");
    let reranked = rerank(&unknown).unwrap();
    assert_eq!((reranked.handles, reranked.scores), (vec![1, 2, 3, 4], vec![4.0, 3.0, 2.0, 1.0]));
    let mut other = request(1.0, r#"{"item_field": "city"}"#);
    other.context.context = vec![attribute("location", &["paris"])];
    assert_eq!(rerank(&other).unwrap().handles, [1, 2, 3, 4]);
}

#[test]
fn params_are_checked_and_ask_for_their_column() {
    assert_eq!(Stage::check(r#"{"item_field": ""}"#.into()).unwrap_err().path, "/item_field");
    assert!(Stage::check(r#"{"field": "x"}"#.into()).unwrap_err().message.contains("field"));
    let columns = Stage::check(r#"{"item_field": "city"}"#.into()).unwrap().columns;
    assert_eq!((columns[0].name.as_str(), columns[0].kind, columns.len()), ("city", ColumnKind::MultiCategorical, 1));
}

proptest! {
    #[test]
    fn a_permutation_whatever_the_input(
        rows in prop::collection::vec((any::<f32>(), prop::collection::vec(0_u32..4, 0..3)), 0..60),
        weight in any::<f32>(),
    ) {
        let scores: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let values: Vec<Vec<u32>> = rows.iter().map(|row| row.1.clone()).collect();
        let items = Table::empty(rows.len() as u32).with_multi("location", &values);
        let mut request = rerank_request(&scores, items, weight, "");
        request.context.context = vec![attribute("location", &["paris"])];
        prop_assert_eq!(check_partition(&request, &rerank(&request).unwrap()), Ok(()));
    }
}

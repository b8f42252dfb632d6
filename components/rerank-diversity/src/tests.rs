use funnelweb_guest::{
    fixtures::{check_partition, rerank_request},
    types::{ColumnKind, Table},
};
use proptest::prelude::*;

use super::*;

#[test]
fn a_second_of_a_kind_waits_for_a_first_of_another() {
    let items = Table::empty(4).with_categorical("category", &[7, 7, 7, 8]);
    let request = rerank_request(&[1.0, 0.9, 0.8, 0.6], items, 0.5, "");
    let reranked = rerank(&request).unwrap();
    assert_eq!(reranked.handles, [1, 4, 2, 3]);
    assert_eq!(reranked.scores, [1.0, 0.9, 0.8, 0.6], "handed out along the new order");
}

#[test]
fn what_is_missing_is_like_nothing() {
    let items = Table::empty(3)
        .with_categorical("category", &[0, 0, 0])
        .with_multi("tags", &[vec![], vec![], vec![]])
        .with_embeddings(2, &[None, None, Some(vec![0.0, 0.0])]);
    assert_eq!(rerank(&rerank_request(&[3.0, 2.0, 1.0], items, 0.9, "")).unwrap().handles, [1, 2, 3]);
    assert_eq!(rerank(&rerank_request(&[3.0, 2.0], Table::empty(2), 0.9, "")).unwrap().handles, [1, 2]);
}

#[test]
fn similarity_is_the_mean_of_the_parts_there_are() {
    let request = |items: Table| rerank_request(&[2.0, 1.0], items, 0.5, "");
    let similar = |items: Table, params: &Params| {
        let places = places::read(&request(items.clone())).unwrap();
        similarity::Features::of(&places, &items, params).similarity(0, 1)
    };
    let params = Params { category_weight: 1.0, tags_weight: 1.0, embedding_weight: 2.0, ..Params::default() };
    let one = Table::empty(2).with_multi("tags", &[vec![3, 1, 2, 2], vec![2, 3, 4]]);
    assert_eq!(similar(one.clone(), &params), 0.5);
    let two = one.with_categorical("category", &[9, 9]);
    assert_eq!(similar(two.clone(), &params), 0.75);
    let diagonal = Some(vec![1.0, 1.0, 0.0, 0.0, 0.0]);
    let three = two.clone().with_embeddings(5, &[diagonal, Some(vec![3.0, 0.0, 0.0, 0.0, 0.0])]);
    let expected = (1.0 + 0.5 + 2.0 * 0.5_f32.sqrt()) / 4.0;
    assert!((similar(three, &params) - expected).abs() < 1e-6);
    let opposite = two.with_embeddings(1, &[Some(vec![1.0]), Some(vec![-1.0])]);
    assert_eq!(similar(opposite, &params), 0.375, "opposites are unlike, no more");
}

#[test]
fn only_the_window_is_filled_from_its_pool() {
    // Nine of one category, then one of another: outside the pool of 2 · 4.
    let categories: Vec<u32> = (0..10).map(|at| if at == 9 { 2 } else { 1 }).collect();
    let scores: Vec<f32> = (0..10).map(|at| 10.0 - at as f32).collect();
    let run = |params: &str| {
        let items = Table::empty(10).with_categorical("category", &categories);
        rerank(&rerank_request(&scores, items, 0.9, params)).unwrap().handles
    };
    assert_eq!(run(r#"{"window": 2}"#), (1..=10).collect::<Vec<_>>());
    assert_eq!(run(r#"{"window": 3}"#)[..3], [1, 10, 2]);
    assert_eq!(Params::default().window(20), 50);
    assert_eq!(Params::default().window(u32::MAX), 400);
}

#[test]
fn params_are_checked_and_ask_for_their_columns() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"category_weight": -0.1}"#), "/category_weight");
    assert_eq!(path(r#"{"tags_weight": 1e3}"#), "/tags_weight");
    assert_eq!(path(r#"{"embedding_weight": "x"}"#), "/embedding_weight");
    assert_eq!(path(r#"{"window": 0}"#), "/window");
    assert_eq!(path(r#"{"window": 401}"#), "/window");
    assert_eq!(path(r#"{"tags_field": ""}"#), "/tags_field");
    assert_eq!(path(r#"{"category_weight": 0, "tags_weight": 0, "embedding_weight": 0}"#), "");
    assert!(Stage::check(r#"{"lambda": 1}"#.into()).unwrap_err().message.contains("lambda"));
    let columns = |params: &str| {
        let columns = Stage::check(params.into()).unwrap().columns;
        columns.into_iter().map(|column| (column.name, column.kind)).collect::<Vec<_>>()
    };
    let column = |name: &str, kind| (name.to_owned(), kind);
    assert_eq!(
        columns(r#"{"category_field": "genre"}"#),
        [
            column("genre", ColumnKind::Categorical),
            column("tags", ColumnKind::MultiCategorical),
            column("embedding", ColumnKind::Embedding)
        ]
    );
    assert_eq!(columns(r#"{"tags_weight": 0, "embedding_weight": 0}"#), [column("category", ColumnKind::Categorical)]);
}

/// Every pair looked at in every round.
fn select_plainly(relevance: &[f32], lambda: f32, take: usize, similarity: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    let mut selected: Vec<usize> = Vec::new();
    let mut waiting: Vec<usize> = (0..relevance.len()).collect();
    while selected.len() < take && !waiting.is_empty() {
        let value = |at: usize| {
            let most = selected.iter().map(|other| similarity(at, *other)).fold(0.0, f32::max);
            lambda * relevance[at] - (1.0 - lambda) * most
        };
        let mut best = 0;
        for place in 1..waiting.len() {
            if value(waiting[place]) > value(waiting[best]) {
                best = place;
            }
        }
        selected.push(waiting.remove(best));
    }
    selected.extend(waiting);
    selected
}

type Row = (f32, u32, Vec<u32>, Option<Vec<f32>>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let embedding = prop::option::of(prop::collection::vec(-1.0_f32..1.0, 3));
    prop::collection::vec((any::<f32>(), 0_u32..4, prop::collection::vec(1_u32..6, 0..4), embedding), 0..80)
}

fn table(rows: &[Row]) -> Table {
    let categories: Vec<u32> = rows.iter().map(|row| row.1).collect();
    let tags: Vec<Vec<u32>> = rows.iter().map(|row| row.2.clone()).collect();
    let embeddings: Vec<_> = rows.iter().map(|row| row.3.clone()).collect();
    Table::empty(rows.len() as u32)
        .with_categorical("category", &categories)
        .with_multi("tags", &tags)
        .with_embeddings(3, &embeddings)
}

proptest! {
    #[test]
    fn a_permutation_whatever_the_input(rows in rows(), weight in any::<f32>(), window in 1_usize..400) {
        let scores: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let params = format!("{{\"window\": {window}}}");
        let request = rerank_request(&scores, table(&rows), weight, &params);
        let reranked = rerank(&request).unwrap();
        prop_assert_eq!(check_partition(&request, &reranked), Ok(()));
        prop_assert!(reranked.removed.is_empty());
    }

    #[test]
    fn without_weight_the_list_stays(rows in rows()) {
        let scores: Vec<f32> = rows.iter().map(|row| if row.0.is_nan() { 0.0 } else { row.0 }).collect();
        let request = rerank_request(&scores, table(&rows), 0.0, "");
        prop_assert_eq!(rerank(&request).unwrap().handles, request.candidates.handles);
    }

    #[test]
    fn being_lazy_changes_nothing(rows in rows(), weight in 0.0_f32..=1.0, take in 0_usize..80) {
        let scores: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let relevance = order::min_max(&scores);
        let items = table(&rows);
        let places = places::read(&rerank_request(&scores, items.clone(), weight, "")).unwrap();
        let features = similarity::Features::of(&places, &items, &Params::default());
        let similarity = |one: usize, other: usize| features.similarity(one, other);
        let lazy = mmr::select(&relevance, 1.0 - weight, take, similarity);
        prop_assert_eq!(lazy, select_plainly(&relevance, 1.0 - weight, take, similarity));
    }
}

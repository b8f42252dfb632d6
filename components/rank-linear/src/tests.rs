use funnelweb_guest::{
    fixtures::{candidates, context},
    types::{ColumnKind, FeatureSpec, StageErrorCode, Table},
};
use proptest::prelude::*;

use super::*;

fn feature(name: &str, kind: ColumnKind, weight: f32) -> FeatureSpec {
    FeatureSpec { name: name.to_owned(), kind, weight }
}

fn request(rows: usize, items: Table, features: Vec<FeatureSpec>, params: &str) -> RankRequest {
    RankRequest {
        context: context(),
        candidates: candidates(&vec![0.0; rows]),
        items,
        user: Table::empty(1),
        item_features: features,
        objective: "click_rate".to_owned(),
        params: params.to_owned(),
    }
}

#[test]
fn numbers_are_scaled_and_missing_ones_are_average() {
    let items = Table::empty(4).with_numeric("likes", &[10.0, 30.0, 20.0, f32::NAN]);
    let scores = rank(&request(4, items, vec![feature("likes", ColumnKind::Numeric, 2.0)], "")).unwrap();
    assert_eq!(scores, [0.0, 1.0, 0.5, 0.5]);
}

#[test]
fn constant_and_absent_columns_say_nothing() {
    let features = vec![feature("likes", ColumnKind::Numeric, 2.0), feature("none", ColumnKind::Numeric, 1.0)];
    let items = Table::empty(2).with_numeric("likes", &[7.0, 7.0]).with_numeric("none", &[f32::NAN; 2]);
    assert_eq!(rank(&request(2, items, features.clone(), "")).unwrap(), [0.5, 0.5]);
    assert_eq!(rank(&request(2, Table::empty(2), features, "")).unwrap(), [0.0, 0.0]);
}

#[test]
fn a_half_life_halves_and_the_future_is_now() {
    let items = Table::empty(3).with_numeric("publish_time", &[-5.0, 72.0, 144.0]);
    let features = vec![feature("publish_time", ColumnKind::Timestamp, 3.0)];
    assert_eq!(rank(&request(3, items.clone(), features.clone(), "")).unwrap(), [1.0, 0.5, 0.25]);
    let scores = rank(&request(3, items, features, r#"{"half_life_hours": 144}"#)).unwrap();
    assert_eq!(scores[2], 0.5);
}

#[test]
fn affinity_recall_and_weights_are_mixed_by_weight() {
    let items = Table::empty(2)
        .with_categorical("category", &[1, 2])
        .with_numeric("category:affinity", &[1.0, -0.5])
        .with_numeric("recall:score", &[0.2, 0.6])
        .with_numeric("like_count", &[5.0, 0.0]);
    let features = vec![feature("category", ColumnKind::Categorical, 3.0)];
    assert_eq!(rank(&request(2, items.clone(), features.clone(), "")).unwrap(), [0.75, -0.125]);
    let params = r#"{"recall_weight": 0, "weights": {"category": 1, "like_count": -1}}"#;
    assert_eq!(rank(&request(2, items, features, params)).unwrap(), [0.0, -0.25]);
}

#[test]
fn a_table_of_another_length_is_refused() {
    let error = rank(&request(2, Table::empty(3), vec![], "")).unwrap_err();
    assert_eq!(error.code, StageErrorCode::InvalidInput);
    assert_eq!(error.message, "2 candidates, 3 rows of features");
}

#[test]
fn params_are_checked_and_ask_for_their_columns() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"half_life_hours": 0}"#), "/half_life_hours");
    assert_eq!(path(r#"{"recall_weight": 1e9}"#), "/recall_weight");
    assert_eq!(path(r#"{"weights": {"a/b": 1e39}}"#), "/weights/a~1b");
    assert_eq!(path(r#"{"weights": {"recall:score": 1}}"#), "/weights/recall:score");
    assert_eq!(path(r#"{"weights": {"category:affinity": 1}}"#), "/weights/category:affinity");
    assert_eq!(path(r#"{"weights": {"a": "x"}}"#), "/weights/a");
    let many: Vec<String> = (0..17).map(|at| format!("\"c{at}\":1")).collect();
    assert_eq!(path(&format!("{{\"weights\":{{{}}}}}", many.join(","))), "/weights");
    let requirements = Stage::check(r#"{"weights": {"b": 1, "a": 2}}"#.into()).unwrap();
    let names: Vec<_> = requirements.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    assert_eq!(names, [("a", ColumnKind::Numeric), ("b", ColumnKind::Numeric)]);
}

proptest! {
    #[test]
    fn scores_are_finite_and_bounded(
        cells in prop::collection::vec((any::<f32>(), any::<f32>(), -1.0_f32..1.0), 0..40),
        weights in prop::array::uniform3(-1000.0_f32..1000.0),
    ) {
        let column = |at: usize| cells.iter().map(|row| [row.0, row.1, row.2][at]).collect::<Vec<_>>();
        let items = Table::empty(cells.len() as u32)
            .with_numeric("n", &column(0))
            .with_numeric("t", &column(1))
            .with_numeric("c:affinity", &column(2))
            .with_numeric("recall:score", &column(0));
        let features = vec![
            feature("n", ColumnKind::Numeric, weights[0]),
            feature("t", ColumnKind::Timestamp, weights[1]),
            feature("c", ColumnKind::Categorical, weights[2]),
        ];
        let scores = rank(&request(cells.len(), items, features, "")).unwrap();
        prop_assert_eq!(scores.len(), cells.len());
        prop_assert!(scores.iter().all(|score| score.is_finite() && score.abs() <= 1.0 + 1e-5));
    }
}

use std::cell::RefCell;

use funnelweb_core::id::value_hash;
use funnelweb_guest::{
    fixtures::{attribute, candidates, context, preference},
    types::{ColumnKind, FeatureSpec, NumericColumns, StageErrorCode, Table},
};
use proptest::prelude::*;

use super::*;

/// Three items of which the second is gone; calls are written down.
#[derive(Default)]
struct Store {
    table: Option<Table>,
    asked: RefCell<Vec<(String, ColumnKind)>>,
    hot: RefCell<Vec<Vec<Handle>>>,
    stats: RefCell<Vec<(Vec<Handle>, Vec<String>)>>,
    live_error: Option<Error>,
}

impl Sources for Store {
    fn item_columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, Error> {
        assert_eq!((scenario_id, handles, now_ms), ("s", &[1, 2, 3][..], context().now_ms));
        self.asked.borrow_mut().extend(columns.iter().map(|column| (column.name.clone(), column.kind)));
        let table = self.table.clone().ok_or_else(|| Error::Unavailable("no table".into()))?;
        Ok(ItemTable { found: vec![0, 2], table })
    }

    fn hot_scores(&self, _: &str, handles: &[Handle], _: u64) -> Result<Vec<f32>, Error> {
        self.hot.borrow_mut().push(handles.to_vec());
        match &self.live_error {
            Some(error) => Err(error.clone()),
            None => Ok(handles.iter().map(|handle| *handle as f32 * 10.0).collect()),
        }
    }

    fn item_stats(&self, _: &str, handles: &[Handle], fields: &[String]) -> Result<Vec<f64>, Error> {
        self.stats.borrow_mut().push((handles.to_vec(), fields.to_vec()));
        match &self.live_error {
            Some(error) => Err(error.clone()),
            None => Ok((0..handles.len() * fields.len()).map(|at| at as f64).collect()),
        }
    }
}

fn store(table: Table) -> Store {
    Store { table: Some(table), ..Store::default() }
}

fn feature(name: &str, kind: ColumnKind) -> FeatureSpec {
    FeatureSpec { name: name.to_owned(), kind, weight: 1.0 }
}

fn request(item_features: Vec<FeatureSpec>) -> FeaturesRequest {
    FeaturesRequest {
        context: context(),
        candidates: candidates(&[0.9, 0.8, 0.7]),
        item_features,
        user_features: Vec::new(),
        context_features: Vec::new(),
        derived_features: Vec::new(),
        evidence: NumericColumns { names: Vec::new(), cells: Vec::new() },
        columns: Vec::new(),
    }
}

fn column(table: &Table, name: &str) -> Vec<f32> {
    let column = table.numeric_column(name).unwrap();
    (0..table.rows as usize).map(|row| column.get(row)).collect()
}

#[test]
fn rows_are_the_candidates_found_and_the_others_are_removed() {
    let store = store(Table::empty(2).with_numeric("duration", &[5.0, f32::NAN]));
    let made = extract(&request(vec![feature("duration", ColumnKind::Numeric)]), &store).unwrap();
    assert_eq!(made.removed, [2]);
    assert_eq!((made.items.rows, made.user.rows), (2, 1));
    assert_eq!(made.items.numeric_names, ["duration", "recall:score"]);
    assert_eq!(made.items.numeric[..2], [5.0, 0.9]);
    assert!(made.items.numeric[2].is_nan() && made.items.numeric[3] == 0.7);
    assert!(store.hot.borrow().is_empty() && store.stats.borrow().is_empty());
}

#[test]
fn columns_are_asked_for_once_and_handed_on() {
    let table = Table::empty(2)
        .with_categorical("category", &[4, 5])
        .with_multi("tags", &[vec![1], vec![]])
        .with_embeddings(2, &[None, Some(vec![1.0, 0.0])]);
    let store = store(table.clone());
    let mut request =
        request(vec![feature("category", ColumnKind::Categorical), feature("when", ColumnKind::Timestamp)]);
    let asked = |name: &str, kind| ColumnSpec { name: name.to_owned(), kind };
    request.columns = vec![
        asked("category", ColumnKind::Categorical),
        asked("category", ColumnKind::MultiCategorical),
        asked("tags", ColumnKind::MultiCategorical),
        asked("embedding", ColumnKind::Embedding),
    ];
    let made = extract(&request, &store).unwrap().items;
    let names: Vec<String> = store.asked.borrow().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["category", "when", "category", "tags", "embedding"]);
    assert_eq!((made.categorical, made.multi_values, made.multi_offsets), (vec![4, 5], vec![1], vec![0, 1, 1]));
    assert_eq!((made.embedding_dim, made.embeddings[2..].to_vec()), (2, vec![1.0, 0.0]));
    assert_eq!(made.numeric_names, ["when", "category:affinity", "recall:score"]);
    assert!(made.numeric[0].is_nan(), "a column no item has is there, missing");
}

#[test]
fn affinity_is_what_the_user_likes_of_the_values() {
    let hash = value_hash;
    let table = Table::empty(2)
        .with_categorical("category", &[hash("fun"), hash("war")])
        .with_multi("tags", &[vec![hash("cats"), hash("dogs")], vec![hash("cats"), hash("none")]])
        .with_multi("genres", &[vec![hash("dogs")], vec![]]);
    let mut request = request(vec![
        feature("category", ColumnKind::Categorical),
        feature("tags", ColumnKind::MultiCategorical),
        feature("genres", ColumnKind::MultiCategorical),
        feature("absent", ColumnKind::Categorical),
    ]);
    request.context.user.preferences = vec![
        preference("category", "fun", 4.0),
        preference("tags", "cats", 2.0),
        preference("category", "war", -3.0),
        preference("tags", "dogs", 1.0),
    ];
    let made = extract(&request, &store(table)).unwrap().items;
    assert_eq!(column(&made, "category:affinity"), [1.0, -0.75]);
    assert_eq!(column(&made, "tags:affinity"), [0.375, 0.25]);
    assert_eq!(column(&made, "genres:affinity"), [0.25, 0.0], "`genres` is not learnt, `tags` is");
    assert_eq!(column(&made, "absent:affinity"), [0.0, 0.0]);

    request.context.user.preferences.clear();
    let table = Table::empty(2).with_categorical("category", &[hash("fun"), hash("war")]);
    let made = extract(&request, &store(table)).unwrap().items;
    assert_eq!(column(&made, "category:affinity"), [0.0, 0.0]);
}

#[test]
fn a_field_of_its_own_name_goes_before_the_learnt_ones() {
    let table = Table::empty(2).with_categorical("location", &[value_hash("paris"), value_hash("fun")]);
    let mut request = request(vec![feature("location", ColumnKind::Categorical)]);
    request.context.user.preferences = vec![preference("category", "fun", 1.0), preference("location", "paris", 0.5)];
    let made = extract(&request, &store(table)).unwrap().items;
    assert_eq!(column(&made, "location:affinity"), [0.5, 0.0]);
}

#[test]
fn statistics_come_from_live_where_metadata_has_none() {
    let table = Table::empty(2)
        .with_numeric("hot_score", &[f32::NAN, 7.0])
        .with_numeric("ctr", &[f32::NAN, f32::NAN])
        .with_numeric("completion_rate", &[0.9, f32::NAN])
        .with_numeric("click_count", &[f32::NAN, 1.0]);
    let names = ["hot_score", "ctr", "completion_rate", "click_count"];
    let features = names.map(|name| feature(name, ColumnKind::Numeric)).to_vec();
    let store = store(table);
    let made = extract(&request(features), &store).unwrap().items;
    assert_eq!(column(&made, "hot_score"), [10.0, 7.0]);
    assert_eq!(*store.hot.borrow(), [vec![1]]);
    let fields = ["click_count", "impression_count", "completion_rate_sum", "completion_rate_count"];
    assert_eq!(*store.stats.borrow(), [(vec![1, 3], fields.map(str::to_owned).to_vec())]);
    // Rows [0, 1, 2, 3] and [4, 5, 6, 7]: (0 + 0.05·20) / (1 + 20), (4 + 1) / (5 + 20).
    assert_eq!(column(&made, "ctr"), [1.0 / 21.0, 0.2]);
    // (6 + 0.5·5) / (7 + 5)
    assert_eq!(column(&made, "completion_rate"), [0.9, 8.5 / 12.0]);
    assert_eq!(column(&made, "click_count"), [0.0, 1.0]);
}

#[test]
fn a_rule_s_column_is_a_statistic_too_and_a_timestamp_is_none() {
    let store = store(Table::empty(2));
    let mut request = request(vec![feature("view_count", ColumnKind::Timestamp)]);
    request.columns = vec![ColumnSpec { name: "like_count".into(), kind: ColumnKind::Numeric }];
    let made = extract(&request, &store).unwrap().items;
    assert_eq!(column(&made, "like_count"), [0.0, 1.0]);
    assert!(column(&made, "view_count")[0].is_nan());
    assert_eq!(store.stats.borrow().len(), 1);
}

#[test]
fn live_structures_that_are_gone_leave_cells_missing() {
    let features = vec![feature("hot_score", ColumnKind::Numeric), feature("ctr", ColumnKind::Numeric)];
    let mut store = store(Table::empty(2));
    store.live_error = Some(Error::Unavailable("gone".into()));
    let made = extract(&request(features.clone()), &store).unwrap().items;
    assert!(column(&made, "hot_score")[0].is_nan() && column(&made, "ctr")[1].is_nan());
    store.live_error = Some(Error::Invalid("no".into()));
    assert_eq!(extract(&request(features), &store).unwrap_err().code, StageErrorCode::InvalidInput);
}

#[test]
fn documents_that_are_gone_are_an_error() {
    let error = extract(&request(vec![]), &Store::default()).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (StageErrorCode::Unavailable, "no table"));
}

#[test]
fn the_user_is_one_row() {
    let mut request = request(vec![]);
    request.context.user.attributes = vec![
        attribute("age", &["31"]),
        attribute("premium", &["true"]),
        attribute("joined", &["2024-01-31T06:00:00Z"]),
        attribute("favorite_categories", &["a", "b"]),
        attribute("height", &["inf"]),
    ];
    request.user_features = vec![
        feature("age", ColumnKind::Numeric),
        feature("age", ColumnKind::Categorical),
        feature("favorite_categories", ColumnKind::MultiCategorical),
        feature("premium", ColumnKind::Numeric),
        feature("height", ColumnKind::Numeric),
        feature("joined", ColumnKind::Timestamp),
        feature("gone", ColumnKind::MultiCategorical),
        feature("gone", ColumnKind::Categorical),
    ];
    let user = extract(&request, &store(Table::empty(2))).unwrap().user;
    assert_eq!(user.numeric_names, ["age", "premium", "height", "joined"]);
    assert_eq!((user.numeric[0], user.numeric[1], user.numeric[3]), (31.0, 1.0, 6.0));
    assert!(user.numeric[2].is_nan());
    assert_eq!(user.categorical, [value_hash("31"), 0]);
    assert_eq!(user.multi_column("favorite_categories").unwrap().get(0), [value_hash("a"), value_hash("b")]);
    assert!(user.multi_column("gone").unwrap().get(0).is_empty());
}

proptest! {
    #[test]
    fn every_candidate_has_its_row_or_is_removed(
        items in prop::collection::vec((any::<bool>(), any::<f32>(), any::<u32>()), 0..60),
    ) {
        let scores: Vec<f32> = (0..items.len()).map(|at| at as f32).collect();
        let mut request = request(vec![feature("n", ColumnKind::Numeric), feature("c", ColumnKind::Categorical)]);
        request.candidates = candidates(&scores);
        let found: Vec<u32> = (0..).zip(&items).filter(|(_, item)| item.0).map(|(at, _)| at).collect();
        let kept: Vec<_> = items.iter().filter(|item| item.0).collect();
        let table = Table::empty(kept.len() as u32)
            .with_numeric("n", &kept.iter().map(|item| item.1).collect::<Vec<_>>())
            .with_categorical("c", &kept.iter().map(|item| item.2).collect::<Vec<_>>());
        let made = extract(&request, &Fixed(ItemTable { found: found.clone(), table })).unwrap();
        let missing: Vec<Handle> = (1..).zip(&items).filter(|(_, item)| !item.0).map(|(handle, _)| handle).collect();
        prop_assert_eq!(made.removed, missing);
        prop_assert_eq!(made.items.numeric.len(), kept.len() * made.items.numeric_names.len());
        prop_assert_eq!(column(&made.items, "recall:score"), found.iter().map(|at| *at as f32).collect::<Vec<_>>());
        for (row, cell) in column(&made.items, "n").iter().enumerate() {
            prop_assert_eq!(cell.to_bits(), kept[row].1.to_bits());
        }
    }
}

/// Documents that answer this, and nothing live.
struct Fixed(ItemTable);

impl Sources for Fixed {
    fn item_columns(&self, _: &str, _: &[Handle], _: &[ColumnSpec], _: u64) -> Result<ItemTable, Error> {
        Ok(self.0.clone())
    }

    fn hot_scores(&self, _: &str, _: &[Handle], _: u64) -> Result<Vec<f32>, Error> {
        Err(Error::Denied("not asked for".into()))
    }

    fn item_stats(&self, _: &str, _: &[Handle], _: &[String]) -> Result<Vec<f64>, Error> {
        Err(Error::Denied("not asked for".into()))
    }
}

/// Two items and what the user did lately, of which the second is gone.
struct Lately {
    items: Table,
    recent: Table,
    asked: RefCell<Vec<Vec<String>>>,
}

impl Sources for Lately {
    fn item_columns(&self, _: &str, handles: &[Handle], columns: &[ColumnSpec], _: u64) -> Result<ItemTable, Error> {
        self.asked.borrow_mut().push(columns.iter().map(|column| column.name.clone()).collect());
        match handles {
            [1, 2] => Ok(ItemTable { found: vec![0, 1], table: self.items.clone() }),
            [7, 8, 9] => Ok(ItemTable { found: vec![0, 2], table: self.recent.clone() }),
            other => panic!("{other:?}"),
        }
    }

    fn hot_scores(&self, _: &str, _: &[Handle], _: u64) -> Result<Vec<f32>, Error> {
        panic!("must not be asked")
    }

    fn item_stats(&self, _: &str, _: &[Handle], _: &[String]) -> Result<Vec<f64>, Error> {
        panic!("must not be asked")
    }
}

#[test]
fn derived_features_are_of_what_the_user_did_and_likes() {
    let hash = value_hash;
    let sources = Lately {
        items: Table::empty(2)
            .with_categorical("category", &[hash("fun"), 0])
            .with_multi("tags", &[vec![hash("cats"), hash("dogs")], vec![]])
            .with_embeddings(2, &[Some(vec![0.0, 3.0]), None]),
        recent: Table::empty(2)
            .with_categorical("category", &[hash("war"), hash("fun")])
            .with_multi("tags", &[vec![hash("dogs")], vec![hash("dogs"), hash("cats")]])
            .with_embeddings(2, &[Some(vec![1.0, 0.0]), Some(vec![0.0, 1.0])]),
        asked: RefCell::default(),
    };
    let mut request =
        request(vec![feature("category", ColumnKind::Categorical), feature("tags", ColumnKind::MultiCategorical)]);
    request.candidates = candidates(&[0.9, 0.8]);
    request.context.user.recent = vec![7, 8, 9];
    request.context.user.preferences = vec![preference("tags", "cats", 2.0), preference("tags", "dogs", -1.0)];
    let derived = ["tags:overlap", "tags:recency", "category:recency", "embedding:similarity", "tags:affinity"];
    request.derived_features = derived.map(str::to_owned).to_vec();
    request.evidence = NumericColumns { names: vec!["recall:hot_items:rank".to_owned()], cells: vec![0.5, f32::NAN] };
    let made = extract(&request, &sources).unwrap().items;
    assert_eq!(
        made.numeric_names,
        [
            "category:affinity",
            "tags:affinity",
            "tags:overlap",
            "tags:recency",
            "category:recency",
            "embedding:similarity",
            "recall:hot_items:rank",
            "recall:score"
        ]
    );
    assert_eq!(column(&made, "tags:overlap"), [0.5, 0.0]);
    assert_eq!(column(&made, "tags:recency"), [1.0, 0.0]);
    assert_eq!(column(&made, "category:recency"), [1.0 / 3.0, 0.0]);
    let similarity = column(&made, "embedding:similarity");
    assert!((similarity[0] - 0.5_f32.sqrt()).abs() < 1e-6 && similarity[1] == 0.0, "{similarity:?}");
    let rank = column(&made, "recall:hot_items:rank");
    assert!(rank[0] == 0.5 && rank[1].is_nan());
    assert_eq!(*sources.asked.borrow(), [vec!["category", "tags", "embedding"], vec!["tags", "category", "embedding"]]);
}

#[test]
fn a_user_without_a_history_costs_no_question() {
    let sources = Lately {
        items: Table::empty(2).with_categorical("category", &[1, 2]),
        recent: Table::empty(0),
        asked: RefCell::default(),
    };
    let mut request = request(vec![feature("category", ColumnKind::Categorical)]);
    request.candidates = candidates(&[0.9, 0.8]);
    request.derived_features = vec!["category:recency".to_owned(), "embedding:similarity".to_owned()];
    let made = extract(&request, &sources).unwrap().items;
    assert_eq!(
        (column(&made, "category:recency"), column(&made, "embedding:similarity")),
        (vec![0.0; 2], vec![0.0; 2])
    );
    assert_eq!(sources.asked.borrow().len(), 1);
}

#[test]
fn the_context_and_the_clock_are_columns_of_the_user_s_row() {
    let mut request = request(Vec::new());
    request.context.context = vec![attribute("device_type", &["mobile"]), attribute("utc_offset_minutes", &["-720.0"])];
    let of =
        |request: &FeaturesRequest| user::table(&request.user_features, &request.context_features, &request.context);
    request.context_features = vec![
        feature("device_type", ColumnKind::Categorical),
        feature("hour", ColumnKind::Numeric),
        feature("weekday", ColumnKind::Categorical),
        feature("absent", ColumnKind::Numeric),
    ];
    // 2024-01-31T12:00:00Z, a Wednesday, half a day earlier.
    let row = of(&request);
    assert_eq!(row.numeric_names, ["context:hour", "context:absent"]);
    assert!(row.numeric[0] == 0.0 && row.numeric[1].is_nan());
    assert_eq!(row.categorical_names, ["context:device_type", "context:weekday"]);
    assert_eq!(row.categorical, [value_hash("mobile"), value_hash("2")]);
    // What the client says of the hour counts.
    request.context.context = vec![attribute("hour", &["7"]), attribute("utc_offset_minutes", &["-721"])];
    let row = of(&request);
    assert_eq!((row.numeric[0], row.categorical[1]), (7.0, value_hash("1")));
}

use funnelweb_core::id::{handle, value_hash};
use funnelweb_guest::{
    fixtures::{check_partition, rerank_request},
    types::{ColumnKind, Handle, Table},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn request(scores: &[f32], items: Table, params: &Value) -> RerankRequest {
    rerank_request(scores, items, 1.0, &params.to_string())
}

fn falling(count: usize) -> Vec<f32> {
    (0..count).map(|at| 100.0 - at as f32).collect()
}

fn categories(values: &[u32]) -> Table {
    Table::empty(values.len() as u32).with_categorical("category", values)
}

/// Handles 1, 2, … as `rerank_request` has them, and the pinned one by its id.
fn with_pinned(mut request: RerankRequest, at: usize, id: &str) -> RerankRequest {
    request.candidates.handles[at] = handle(id);
    request
}

fn run(request: &RerankRequest) -> (Vec<Handle>, Vec<Handle>) {
    let reranked = rerank(request).unwrap();
    check_partition(request, &reranked).unwrap();
    (reranked.handles, reranked.removed)
}

#[test]
fn without_params_the_list_stays() {
    let request = request(&[3.0, 2.0, 1.0], Table::empty(3), &json!({}));
    assert_eq!(run(&request), (vec![1, 2, 3], vec![]));
    assert_eq!(rerank(&request).unwrap().scores, [3.0, 2.0, 1.0]);
}

#[test]
fn every_operator_matches_what_it_says() {
    let hash = value_hash;
    let items = Table::empty(4)
        .with_numeric("price", &[10.0, 20.0, 30.0, f32::NAN])
        .with_multi("brand", &[vec![hash("a")], vec![hash("b"), hash("c")], vec![hash("true")], vec![]]);
    let removed =
        |condition: Value| run(&request(&falling(4), items.clone(), &json!({"filter": [{"where": condition}]}))).1;
    assert_eq!(removed(json!({"field": "price", "equals": 20})), [2]);
    assert_eq!(removed(json!({"field": "price", "in": [10, 30.0]})), [1, 3]);
    assert_eq!(removed(json!({"field": "price", "above": 20})), [3]);
    assert_eq!(removed(json!({"field": "price", "below": 20})), [1]);
    assert_eq!(removed(json!({"field": "brand", "equals": "c"})), [2]);
    assert_eq!(removed(json!({"field": "brand", "equals": true})), [3]);
    assert_eq!(removed(json!({"field": "brand", "in": ["a", "b", true]})), [1, 2, 3]);
    assert_eq!(removed(json!({"field": "brand", "missing": true})), [4]);
    assert_eq!(removed(json!({"field": "brand", "missing": false})), [1, 2, 3]);
    assert_eq!(removed(json!({"field": "none", "equals": "a"})), [] as [Handle; 0]);
}

#[test]
fn boosts_multiply_and_sort_again() {
    let items = Table::empty(3).with_numeric("price", &[1.0, 2.0, 3.0]);
    let boost =
        |field: &str, above: f32, factor: f32| json!({"where": {"field": field, "above": above}, "factor": factor});
    let params = json!({"boost": [boost("price", 1.0, 2.0), boost("price", 2.0, 3.0)]});
    let reranked = rerank(&request(&[4.0, 1.5, 1.0], items.clone(), &params)).unwrap();
    assert_eq!((reranked.handles, reranked.scores), (vec![3, 1, 2], vec![6.0, 4.0, 3.0]));
    let below = rerank(&request(&[-1.0, -2.0, -3.0], items, &params)).unwrap();
    assert_eq!((below.handles, below.scores), (vec![3, 1, 2], vec![-0.5, -1.0, -1.0]));
}

#[test]
fn the_buried_go_to_the_end_in_their_order() {
    let items = Table::empty(4).with_numeric("price", &[9.0, 1.0, 9.0, 1.0]);
    let params = json!({"bury": [{"where": {"field": "price", "above": 5}}]});
    assert_eq!(run(&request(&falling(4), items, &params)).0, [2, 4, 1, 3]);
}

#[test]
fn the_first_of_each_value_stays() {
    let items = categories(&[5, 0, 5, 6, 0, 6]);
    let params = json!({"dedupe": [{"field": "category"}]});
    assert_eq!(run(&request(&falling(6), items, &params)), (vec![1, 2, 4, 5], vec![3, 6]));
}

#[test]
fn the_unburied_or_pinned_one_of_duplicates_stays() {
    let items = categories(&[5, 5, 5]).with_numeric("price", &[9.0, 1.0, 1.0]);
    let bury = json!([{"where": {"field": "price", "above": 5}}]);
    let params = json!({"bury": bury, "dedupe": [{"field": "category"}]});
    assert_eq!(run(&request(&falling(3), items.clone(), &params)), (vec![2], vec![3, 1]));
    let pinned = json!({"pin": [{"item_id": "p", "position": 1}], "dedupe": [{"field": "category"}]});
    assert_eq!(run(&with_pinned(request(&falling(3), items, &pinned), 2, "p")), (vec![handle("p")], vec![1, 2]));
}

#[test]
fn quotas_move_violators_down() {
    let items = categories(&[1, 1, 1, 2, 3, 0, 0]);
    let params = json!({"quota": [{"field": "category", "max": 1, "window": 3}]});
    assert_eq!(run(&request(&falling(7), items, &params)).0, [1, 4, 5, 2, 6, 7, 3]);
}

#[test]
fn a_quota_that_cannot_hold_loses_nothing() {
    let params = json!({"quota": [{"field": "category", "max": 1, "window": 2}]});
    assert_eq!(run(&request(&falling(4), categories(&[1, 1, 1, 2]), &params)).0, [1, 4, 2, 3]);
}

#[test]
fn quotas_look_ahead_to_pins() {
    let items = categories(&[1, 2, 1, 3, 1]);
    let params = json!({
        "pin": [{"item_id": "p", "position": 2}],
        "quota": [{"field": "category", "max": 1, "window": 2}]
    });
    let request = with_pinned(request(&falling(5), items, &params), 4, "p");
    assert_eq!(run(&request).0, [2, handle("p"), 4, 1, 3]);
}

#[test]
fn pins_land_and_those_behind_the_end_stand_last() {
    let params = json!({"pin": [
        {"item_id": "z", "position": 200}, {"item_id": "p", "position": 2},
        {"item_id": "y", "position": 150}, {"item_id": "gone", "position": 1}
    ]});
    let request = request(&falling(5), Table::empty(5), &params);
    let request = with_pinned(with_pinned(with_pinned(request, 0, "p"), 1, "z"), 4, "y");
    assert_eq!(run(&request).0, [3, handle("p"), 4, handle("y"), handle("z")]);
}

#[test]
fn a_filter_goes_before_a_pin() {
    let items = Table::empty(2).with_numeric("price", &[1.0, 9.0]);
    let params = json!({
        "pin": [{"item_id": "p", "position": 1}],
        "filter": [{"where": {"field": "price", "above": 5}}]
    });
    assert_eq!(run(&with_pinned(request(&falling(2), items, &params), 1, "p")), (vec![1], vec![handle("p")]));
}

#[test]
fn every_fault_of_the_params_names_its_path() {
    let path = |params: Value| Stage::check(params.to_string()).unwrap_err().path;
    let condition = |condition: Value| path(json!({"bury": [{"where": condition}]}));
    assert_eq!(path(json!({"pin": [{"item_id": "a/b", "position": 1}]})), "/pin/0/item_id");
    assert_eq!(path(json!({"pin": [{"item_id": "a", "position": 0}]})), "/pin/0/position");
    assert_eq!(path(json!({"pin": [{"item_id": "a", "position": 201}]})), "/pin/0/position");
    let pin = |id: &str, position: u32| json!({"item_id": id, "position": position});
    assert_eq!(path(json!({"pin": [pin("a", 1), pin("a", 2)]})), "/pin/1/item_id");
    assert_eq!(path(json!({"pin": [pin("a", 1), pin("b", 1)]})), "/pin/1/position");
    let pins: Vec<Value> = (1..=101).map(|at| pin(&at.to_string(), at)).collect();
    assert_eq!(path(json!({"pin": pins})), "/pin");
    assert_eq!(condition(json!({"field": "a"})), "/bury/0/where");
    assert_eq!(condition(json!({"field": "a", "above": 1, "below": 2})), "/bury/0/where");
    assert_eq!(condition(json!({"field": "", "above": 1})), "/bury/0/where/field");
    assert_eq!(condition(json!({"field": "a", "in": []})), "/bury/0/where/in");
    assert_eq!(condition(json!({"field": "a", "in": ["x", 1]})), "/bury/0/where/in");
    assert_eq!(condition(json!({"field": "a", "above": 1e39})), "/bury/0/where/above");
    assert_eq!(condition(json!({"field": "a", "equals": 1e39})), "/bury/0/where/equals");
    assert_eq!(condition(json!({"field": "a", "equals": [1]})), "/bury/0/where/equals");
    assert_eq!(path(json!({"boost": [{"where": {"field": "a", "above": 1}, "factor": 0}]})), "/boost/0/factor");
    let quota = |max: u32, window: u32| json!({"quota": [{"field": "a", "max": max, "window": window}]});
    assert_eq!(path(quota(0, 5)), "/quota/0/max");
    assert_eq!(path(quota(6, 5)), "/quota/0/max");
    assert_eq!(path(quota(1, 1)), "/quota/0/window");
    assert_eq!(path(quota(1, 101)), "/quota/0/window");
    assert_eq!(path(json!({"dedupe": [{"field": "a"}, {"field": ""}]})), "/dedupe/1/field");
    let fields: Vec<Value> = (0..9).map(|at| json!({"field": format!("f{at}")})).collect();
    assert_eq!(path(json!({"dedupe": fields})), "/dedupe");
    let filters: Vec<Value> = (0..17).map(|at| json!({"where": {"field": format!("f{at}"), "above": 1}})).collect();
    let error = Stage::check(json!({"filter": filters}).to_string()).unwrap_err();
    assert_eq!((error.path.as_str(), error.message.as_str()), ("", "may use at most 16 item fields, got 17"));
    assert!(Stage::check(json!({"pins": []}).to_string()).unwrap_err().message.contains("pins"));
}

#[test]
fn the_fields_named_are_asked_for_once() {
    let requirements = Stage::check(
        json!({
            "pin": [{"item_id": "p", "position": 3}],
            "boost": [{"where": {"field": "price", "above": 1}, "factor": 2}],
            "filter": [{"where": {"field": "price", "equals": 3}}, {"where": {"field": "brand", "equals": "x"}}],
            "quota": [{"field": "category", "max": 1, "window": 2}],
            "dedupe": [{"field": "category"}, {"field": "brand"}]
        })
        .to_string(),
    )
    .unwrap();
    assert_eq!(requirements.items, [handle("p")]);
    let columns: Vec<_> = requirements.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    assert_eq!(
        columns,
        [
            ("price", ColumnKind::Numeric),
            ("brand", ColumnKind::MultiCategorical),
            ("category", ColumnKind::Categorical),
            ("brand", ColumnKind::Categorical)
        ]
    );
}

/// Whether one more of `value` at `position` keeps the quota in all windows
/// before it.
fn fits(before: &[u32], value: u32, max: usize, window: usize) -> bool {
    let recent = &before[(before.len() + 1).saturating_sub(window)..];
    value == 0 || recent.iter().filter(|other| **other == value).count() < max
}

proptest! {
    #[test]
    fn a_partition_whatever_the_input(
        rows in prop::collection::vec((any::<f32>(), any::<f32>(), 0_u32..5), 0..80),
        pins in prop::collection::btree_map(1_usize..=200, 0_usize..90, 0..6),
        bounds in (any::<f32>(), any::<f32>(), any::<f32>()),
        quota in (1_usize..4, 4_usize..9),
    ) {
        let scores: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let prices: Vec<f32> = rows.iter().map(|row| row.1).collect();
        let values: Vec<u32> = rows.iter().map(|row| row.2).collect();
        let mut pinned: Vec<(usize, usize)> = pins.into_iter().collect();
        pinned.sort_by_key(|pin| pin.1);
        pinned.dedup_by_key(|pin| pin.1);
        let pin: Vec<Value> =
            pinned.iter().map(|(position, at)| json!({"item_id": format!("i{at}"), "position": position})).collect();
        let above = |bound: f32| json!({"field": "price", "above": bound});
        let params = json!({
            "pin": pin,
            "boost": [{"where": above(bounds.0), "factor": 3}],
            "bury": [{"where": above(bounds.1)}],
            "filter": [{"where": above(bounds.2)}],
            "dedupe": [{"field": "brand"}],
            "quota": [{"field": "category", "max": quota.0, "window": quota.1}]
        });
        prop_assume!(Params::parse(&params.to_string()).is_ok());
        let brands: Vec<u32> = (0..rows.len() as u32).map(|at| at % 30).collect();
        let items = categories(&values).with_categorical("brand", &brands).with_numeric("price", &prices);
        let mut request = request(&scores, items, &params);
        request.candidates.handles = (0..rows.len()).map(|at| handle(&format!("i{at}"))).collect();
        let (handles, removed) = run(&request);
        for (position, at) in pinned.iter().filter(|(_, at)| *at < rows.len()) {
            let item = handle(&format!("i{at}"));
            if !removed.contains(&item) && *position <= handles.len() {
                // Only pins behind the end move, and only to make room for each other.
                let behind = pinned.iter().any(|(other, _)| *other > handles.len());
                prop_assert!(behind || handles[*position - 1] == item);
            }
        }
    }

    #[test]
    fn a_quota_is_broken_only_where_nothing_fits(
        values in prop::collection::vec(0_u32..5, 0..50),
        (max, window) in (1_usize..4, 4_usize..9),
    ) {
        let params = json!({"quota": [{"field": "category", "max": max, "window": window}]});
        let (handles, _) = run(&request(&falling(values.len()), categories(&values), &params));
        let placed: Vec<u32> = handles.iter().map(|handle| values[*handle as usize - 1]).collect();
        for (at, value) in placed.iter().enumerate() {
            if !fits(&placed[..at], *value, max, window) {
                let another = placed[at..].iter().any(|other| fits(&placed[..at], *other, max, window));
                prop_assert!(!another, "position {at} of {placed:?}");
            }
        }
    }

    #[test]
    fn quotas_hold_where_values_are_even(
        (max, window) in (1_usize..4, 2_usize..7),
        order in Just((0..36_u32).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        prop_assume!(max <= window);
        // Enough values that the top always has one that fits.
        let values: Vec<u32> = order.iter().map(|at| at % 12 + 1).collect();
        let params = json!({"quota": [{"field": "category", "max": max, "window": window}]});
        let (handles, _) = run(&request(&falling(36), categories(&values), &params));
        let placed: Vec<u32> = handles.iter().map(|handle| values[*handle as usize - 1]).collect();
        for places in placed[..18].windows(window) {
            prop_assert!(places.iter().all(|value| places.iter().filter(|other| *other == value).count() <= max));
        }
    }
}

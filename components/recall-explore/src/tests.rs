use funnelweb_core::limits;
use funnelweb_guest::{
    fixtures::recall_request,
    handles::HandleMap,
    types::{StageErrorCode, Table},
};
use proptest::prelude::*;

use super::*;

/// Items newest first: handle, age in hours, places served, impressions and clicks.
struct Items(Vec<(Handle, f32, [f64; 3])>);

/// Served as often as seen.
fn seen(handle: Handle, age: f32, shown: f64, clicked: f64) -> (Handle, f32, [f64; 3]) {
    (handle, age, [shown, shown, clicked])
}

impl Sources for Items {
    fn newest(&self, scenario_id: &str, limit: u32) -> Result<Vec<Handle>, Error> {
        assert_eq!(scenario_id, "s");
        Ok(self.0.iter().map(|(handle, ..)| *handle).take(limit as usize).collect())
    }

    fn columns(&self, _: &str, handles: &[Handle], columns: &[ColumnSpec], _: u64) -> Result<ItemTable, Error> {
        assert_eq!(columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["created_at"]);
        let ages: HandleMap<f32> = self.0.iter().map(|(handle, age, ..)| (*handle, *age)).collect();
        let ages: Vec<f32> = handles.iter().map(|handle| ages[handle]).collect();
        let table = Table::empty(handles.len() as u32).with_numeric("created_at", &ages);
        Ok(ItemTable { found: (0..handles.len() as u32).collect(), table })
    }

    fn statistics(&self, _: &str, handles: &[Handle], fields: &[String]) -> Result<Vec<f64>, Error> {
        assert_eq!(fields, ["served_places", "impression_count", "click_count"]);
        let counts: HandleMap<[f64; 3]> = self.0.iter().map(|(handle, _, counts)| (*handle, *counts)).collect();
        Ok(handles.iter().flat_map(|handle| counts[handle]).collect())
    }
}

fn run(items: &Items, seed: u64, params: &str) -> Vec<Handle> {
    let mut request = recall_request(100, &[], params);
    request.context.seed = seed;
    recall(&request, items).unwrap().handles
}

#[test]
fn only_the_new_and_little_shown_are_offered() {
    let items = Items(vec![
        seen(1, 0.5, 0.0, 0.0),
        seen(2, 10.0, 99.0, 5.0),
        seen(3, 20.0, 100.0, 5.0),
        seen(4, 200.0, 0.0, 0.0),
    ]);
    let sorted = |params: &str| {
        let mut handles = run(&items, 1, params);
        handles.sort_unstable();
        handles
    };
    assert_eq!(sorted(""), [1, 2]);
    assert_eq!(sorted(r#"{"max_age_hours": 1000, "budget": 101}"#), [1, 2, 3, 4]);
    assert_eq!(sorted(r#"{"newest": 1}"#), [1]);
    assert_eq!(sorted(r#"{"max_age_hours": 0.1}"#), Vec::<Handle>::new());
    let mut request = recall_request(100, &[1], "");
    request.context.user.recent = vec![2];
    assert!(recall(&request, &items).unwrap().handles.is_empty());
}

#[test]
fn the_budget_is_spent_by_what_is_served_whatever_is_reported() {
    let shown = [[10.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 10.0, 0.0], [1.0, 0.0, 10.0], [9.0, 9.0, 9.0]];
    let items = Items((1..).zip(shown).map(|(handle, counts)| (handle, 1.0, counts)).collect());
    let mut offered = run(&items, 1, r#"{"budget": 10}"#);
    offered.sort_unstable();
    assert_eq!(offered, [2, 5]);
}

#[test]
fn the_seed_decides() {
    let items = Items((1..=50).map(|handle| seen(handle, 1.0, 3.0, 1.0)).collect());
    for params in ["", r#"{"method": "epsilon"}"#] {
        assert_eq!(run(&items, 1, params), run(&items, 1, params));
        assert_ne!(run(&items, 1, params), run(&items, 2, params));
    }
}

/// How often each of two items is first, of 2000 requests.
fn firsts(items: &Items, params: &str) -> [u32; 2] {
    let mut firsts = [0; 2];
    for seed in 0..2000 {
        firsts[run(items, seed, params)[0] as usize - 1] += 1;
    }
    firsts
}

#[test]
fn thompson_favours_what_is_clicked_and_tries_the_unseen() {
    let clicked = Items(vec![seen(1, 1.0, 80.0, 20.0), seen(2, 1.0, 80.0, 4.0)]);
    let [more, less] = firsts(&clicked, "");
    assert!(more > 1900, "{more} to {less}");
    // Never shown, a click rate of 0.25 may well be surpassed: P = 1 − E ≈ 0.74.
    let unseen = Items(vec![seen(1, 1.0, 80.0, 20.0), seen(2, 1.0, 0.0, 0.0)]);
    let [known, unseen] = firsts(&unseen, "");
    assert!((unseen as f32 / 2000.0 - 0.744).abs() < 0.05, "{known} to {unseen}");
}

#[test]
fn epsilon_favours_nothing() {
    let [one, other] =
        firsts(&Items(vec![seen(1, 1.0, 80.0, 20.0), seen(2, 1.0, 80.0, 0.0)]), r#"{"method": "epsilon"}"#);
    assert!(one.abs_diff(other) < 200, "{one} to {other}");
}

#[test]
fn params_are_checked() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"method": "ucb"}"#), "/method");
    assert_eq!(path(r#"{"max_age_hours": 0}"#), "/max_age_hours");
    assert_eq!(path(r#"{"budget": 0}"#), "/budget");
    assert_eq!(path(&format!(r#"{{"newest": {}}}"#, limits::RECALL_LIMIT + 1)), "/newest");
    assert!(Stage::check(r#"{"epsilon": 0.1}"#.into()).unwrap_err().message.contains("epsilon"));
    assert_eq!(Stage::check(String::new()).unwrap().personal, Personal::RECENT);
}

#[test]
fn a_store_that_does_not_answer_is_reported() {
    struct Gone;
    impl Sources for Gone {
        fn newest(&self, _: &str, _: u32) -> Result<Vec<Handle>, Error> {
            Err(Error::Unavailable("gone".into()))
        }
        fn columns(&self, _: &str, _: &[Handle], _: &[ColumnSpec], _: u64) -> Result<ItemTable, Error> {
            panic!("must not be asked")
        }
        fn statistics(&self, _: &str, _: &[Handle], _: &[String]) -> Result<Vec<f64>, Error> {
            panic!("must not be asked")
        }
    }
    assert_eq!(recall(&recall_request(1, &[], ""), &Gone).unwrap_err().code, StageErrorCode::Unavailable);
}

proptest! {
    #[test]
    fn keeps_the_contract(
        items in prop::collection::vec((any::<f32>(), any::<[f64; 3]>()), 0..50),
        thompson in any::<bool>(),
        seed in any::<u64>(),
        limit in 1_u32..60,
    ) {
        let items = Items((1..).zip(items).map(|(handle, (age, counts))| (handle, age, counts)).collect());
        let params = format!(r#"{{"method": "{}", "budget": 1000000}}"#, if thompson { "thompson" } else { "epsilon" });
        let mut request = recall_request(limit, &[], &params);
        request.context.seed = seed;
        let recalled = recall(&request, &items).unwrap();
        prop_assert!(recalled.handles.len() <= limit as usize);
        prop_assert_eq!(recalled.handles.len(), recalled.scores.len());
        prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
        prop_assert!(recalled.scores.is_sorted_by(|one, other| one >= other));
    }
}

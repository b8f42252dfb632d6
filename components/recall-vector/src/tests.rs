use std::cell::RefCell;

use funnelweb_core::id;
use funnelweb_guest::{
    fixtures::{attribute, factor_model, recall_request},
    types::StageErrorCode,
};
use proptest::prelude::*;

use super::*;

/// Vectors by space and handle; similarity is the inner product. Notes what was
/// asked last.
#[derive(Default)]
struct Stored {
    model: Option<FactorModel>,
    items: Vec<(&'static str, Handle, Vec<f32>)>,
    asked: RefCell<Option<(String, Vec<f32>)>>,
}

impl Sources for Stored {
    fn factors(&self, scenario_id: &str) -> Result<Option<FactorModel>, Error> {
        assert_eq!(scenario_id, "s");
        Ok(self.model.clone())
    }

    fn vectors(&self, _: &str, space: &str, handles: &[Handle]) -> Result<Rows, Error> {
        let mut rows = Rows { found: vec![], values: vec![] };
        for (at, handle) in (0..).zip(handles) {
            if let Some((_, _, vector)) = self.items.iter().find(|(of, other, _)| *of == space && other == handle) {
                rows.found.push(at);
                rows.values.extend(vector);
            }
        }
        Ok(rows)
    }

    fn nearest(&self, _: &str, space: &str, vector: &[f32], limit: u32, except: Vec<Handle>) -> Result<Hits, Error> {
        assert!(vector.iter().all(|value| value.is_finite()) && vector.iter().any(|value| *value != 0.0));
        *self.asked.borrow_mut() = Some((space.to_owned(), vector.to_vec()));
        let of = self.items.iter().filter(|(of, handle, _)| *of == space && !except.contains(handle));
        let product = |other: &[f32]| vector.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();
        let mut hits: Vec<(Handle, f32)> = of.map(|(_, handle, other)| (*handle, product(other))).collect();
        hits.sort_by(|one, other| other.1.total_cmp(&one.1));
        hits.truncate(limit as usize);
        let (handles, scores) = hits.into_iter().unzip();
        Ok(Hits { handles, scores })
    }
}

fn stored() -> Stored {
    let item = |space, handle, x: f32, y: f32| (space, handle, vec![x, y]);
    Stored {
        model: Some(factor_model()),
        items: vec![
            item("items", 1, 1.0, 0.0),
            item("items", 2, 0.5, 0.5),
            item("items", 3, 0.0, 1.0),
            item("items", 4, -1.0, 0.0),
            item("embedding", 11, 0.0, 3.0),
            item("embedding", 12, 2.0, 0.0),
            item("embedding", 13, 0.0, 1.0),
            item("embedding", 14, 1.0, 0.0),
        ],
        asked: RefCell::default(),
    }
}

fn request(recent: &[(Handle, f32)], params: &str) -> RecallRequest {
    let mut request = recall_request(10, &[], params);
    (request.context.user.recent, request.context.user.recent_weights) = recent.iter().copied().unzip();
    request
}

fn run(stored: &Stored, recent: &[(Handle, f32)], params: &str) -> Vec<Handle> {
    recall(&request(recent, params), stored).unwrap().handles
}

#[test]
fn the_user_is_folded_in_among_the_factors() {
    let stored = stored();
    let recalled = recall(&request(&[(1, 1.0)], r#"{"vectors": "factors"}"#), &stored).unwrap();
    // 3 is at a right angle, 4 opposite, 1 known.
    assert_eq!((recalled.handles, recalled.scores), (vec![2], vec![1.0]));
    assert_eq!(run(&stored, &[(1, 8.0), (3, 1.0)], ""), [2]);
    let (space, vector) = stored.asked.take().unwrap();
    assert!(space == "items" && vector[0] > vector[1] && vector[1] > 0.0, "{vector:?}");
}

#[test]
fn embeddings_are_averaged_by_direction() {
    let stored = stored();
    assert_eq!(run(&stored, &[(11, 1.0), (12, 4.0)], ""), [14, 13]);
    let (space, vector) = stored.asked.take().unwrap();
    // The length of an embedding says nothing: 12 counts four times 11.
    assert_eq!(space, "embedding");
    assert!((vector[0] / vector[1] - 4.0).abs() < 1e-5, "{vector:?}");
    assert!((vector[0].hypot(vector[1]) - 1.0).abs() < 1e-6);
    // Newer ones count more when they should.
    assert_eq!(run(&stored, &[(11, 1.0), (12, 4.0)], r#"{"decay": 0.1}"#), [13, 14]);
    assert_eq!(run(&stored, &[(11, 1.0), (12, 4.0)], r#"{"recent": 1}"#), [13]);
}

#[test]
fn auto_takes_embeddings_where_there_are_any() {
    let stored = stored();
    let space = |recent: &[(Handle, f32)], params: &str| {
        let _ = run(&stored, recent, params);
        stored.asked.take().map(|(space, _)| space)
    };
    assert_eq!(space(&[(1, 1.0), (11, 1.0)], ""), Some("embedding".to_owned()));
    assert_eq!(space(&[(1, 1.0)], ""), Some("items".to_owned()));
    assert_eq!(space(&[(1, 1.0), (11, 1.0)], r#"{"vectors": "factors"}"#), Some("items".to_owned()));
    assert_eq!(space(&[(1, 1.0)], r#"{"vectors": "embedding"}"#), None);
}

#[test]
fn what_is_looked_at_makes_a_vector_too() {
    let mut stored = stored();
    stored.items.push(("embedding", id::handle("a"), vec![1.0, 0.0]));
    let mut asked = request(&[], "");
    asked.context.context = vec![attribute("item_id", &["a"])];
    asked.exclude = vec![12];
    assert_eq!(recall(&asked, &stored).unwrap().handles, [14]);
}

#[test]
fn without_anything_to_go_by_there_is_nothing() {
    assert!(run(&stored(), &[], "").is_empty(), "no history");
    assert!(run(&stored(), &[(77, 1.0)], "").is_empty(), "no vectors");
    assert!(run(&Stored { model: None, ..stored() }, &[(1, 1.0)], "").is_empty(), "no training");
    let mut opposite = stored();
    opposite.items.push(("embedding", 15, vec![-7.0, 0.0]));
    assert!(run(&opposite, &[(12, 1.0), (15, 1.0)], "").is_empty(), "no direction");
    let zero = Stored { items: vec![("embedding", 1, vec![0.0, 0.0])], ..Stored::default() };
    assert!(run(&zero, &[(1, 1.0)], "").is_empty(), "no length");
}

#[test]
fn params_are_checked() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"vectors": "all"}"#), "/vectors");
    assert_eq!(path(r#"{"recent": 0}"#), "/recent");
    assert_eq!(path(r#"{"recent": 101}"#), "/recent");
    assert_eq!(path(r#"{"decay": 0}"#), "/decay");
    let needs = Stage::check(r#"{"vectors": "auto", "recent": 100, "decay": 0.01}"#.into()).unwrap();
    assert_eq!(needs.personal, Personal::RECENT | Personal::SITUATION);
}

#[test]
fn a_model_that_does_not_fit_is_the_stage_s_fault() {
    let model = FactorModel { dimension: 3, ..factor_model() };
    let error = recall(&request(&[(1, 1.0)], ""), &Stored { model: Some(model), ..stored() }).unwrap_err();
    assert_eq!(error.code, StageErrorCode::Internal);
}

proptest! {
    #[test]
    fn keeps_the_contract(
        values in prop::collection::vec((any::<f32>(), any::<f32>()), 1..30),
        recent in prop::collection::vec((1_u64..30, 0.0_f32..9.0), 0..20),
        exclude in prop::collection::vec(1_u64..30, 0..20),
        limit in 1_u32..40,
    ) {
        let finite = |(x, y): (f32, f32)| vec![x, y].into_iter().map(|value| if value.is_finite() { value } else { 0.0 }).collect();
        let items = (1..).zip(values).map(|(handle, value)| ("embedding", handle, finite(value))).collect();
        let mut request = request(&recent, "");
        (request.limit, request.exclude) = (limit, exclude.clone());
        let recalled = recall(&request, &Stored { items, ..Stored::default() }).unwrap();
        prop_assert!(recalled.handles.len() <= limit as usize);
        prop_assert!(recalled.handles.iter().all(|handle| !exclude.contains(handle)));
        prop_assert!(recalled.handles.iter().all(|handle| recent.iter().all(|(one, _)| one != handle)));
        prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
    }
}

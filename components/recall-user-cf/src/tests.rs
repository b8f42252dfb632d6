use std::cell::RefCell;

use funnelweb_core::{id, limits};
use funnelweb_guest::{
    fixtures::{factor_model, recall_request},
    types::StageErrorCode,
};
use proptest::prelude::*;

use super::*;

type List = Vec<(Handle, f32)>;

/// What was learned, and which calls were made.
#[derive(Default)]
struct Learned {
    similar_users: Vec<(Handle, List)>,
    user_items: Vec<(Handle, List)>,
    model: Option<FactorModel>,
    item_vectors: Vec<(Handle, [f32; 2])>,
    nearest: List,
    calls: RefCell<Vec<String>>,
}

impl Sources for Learned {
    fn related(&self, scenario_id: &str, of: Relation, handles: &[Handle], limit: u32) -> Result<Lists, Error> {
        assert_eq!(scenario_id, "s");
        self.calls.borrow_mut().push(format!("{of:?} {limit}"));
        let known = match of {
            Relation::SimilarUsers => &self.similar_users,
            Relation::UserItems => &self.user_items,
            Relation::SimilarItems => panic!("not asked here"),
        };
        let mut lists = Lists { offsets: vec![0], handles: vec![], scores: vec![] };
        for handle in handles {
            let list = known.iter().find(|(other, _)| other == handle).map_or(&[][..], |(_, list)| list);
            for (other, score) in list.iter().take(limit as usize) {
                lists.handles.push(*other);
                lists.scores.push(*score);
            }
            lists.offsets.push(lists.handles.len() as u32);
        }
        Ok(lists)
    }

    fn factors(&self, _: &str) -> Result<Option<FactorModel>, Error> {
        self.calls.borrow_mut().push("factors".to_owned());
        Ok(self.model.clone())
    }

    fn vectors(&self, _: &str, space: &str, handles: &[Handle]) -> Result<Rows, Error> {
        assert_eq!(space, "items");
        let mut rows = Rows { found: vec![], values: vec![] };
        for (at, handle) in (0..).zip(handles) {
            if let Some((_, vector)) = self.item_vectors.iter().find(|(other, _)| other == handle) {
                rows.found.push(at);
                rows.values.extend(vector);
            }
        }
        Ok(rows)
    }

    fn nearest(&self, _: &str, space: &str, vector: &[f32], limit: u32) -> Result<Hits, Error> {
        assert_eq!((space, vector.len()), ("users", 2));
        let (handles, scores) = self.nearest.iter().copied().take(limit as usize).unzip();
        Ok(Hits { handles, scores })
    }
}

fn learned() -> Learned {
    let user = |at: Handle, items: &[(Handle, f32)]| (at, items.to_vec());
    Learned {
        similar_users: vec![user(id::handle("u"), &[(100, 0.5), (101, 0.25), (102, -0.5)])],
        user_items: vec![user(100, &[(1, 2.0), (2, 1.0)]), user(101, &[(2, 8.0), (3, 1.0)]), user(102, &[(4, 9.0)])],
        model: Some(factor_model()),
        item_vectors: vec![(1, [1.0, 0.0])],
        nearest: vec![(101, 0.9), (100, 0.1)],
        calls: RefCell::default(),
    }
}

fn request(user: &str, recent: &[Handle], params: &str) -> RecallRequest {
    let mut request = recall_request(10, &[], params);
    request.context.user.id = user.to_owned();
    request.context.user.recent = recent.to_vec();
    request.context.user.recent_weights = vec![1.0; recent.len()];
    request
}

#[test]
fn what_similar_users_acted_on_sums_up() {
    let learned = learned();
    let recalled = recall(&request("u", &[], ""), &learned).unwrap();
    // 2: 0.5 · 1 + 0.25 · 8; 1: 0.5 · 2; 3: 0.25. Nobody is disliked by likeness.
    assert_eq!((recalled.handles, recalled.scores), (vec![2, 1, 3], vec![1.0, 0.4, 0.1]));
    assert_eq!(*learned.calls.borrow(), ["Relation::SimilarUsers 50", "Relation::UserItems 100"]);
    let recalled = recall(&request("u", &[2], r#"{"neighbours": 1, "items": 2}"#), &learned).unwrap();
    assert_eq!(recalled.handles, [1]);
}

#[test]
fn who_came_after_the_training_is_folded_in() {
    let learned = learned();
    let recalled = recall(&request("new", &[1], ""), &learned).unwrap();
    assert_eq!(recalled.handles, [2, 3]);
    // So is one who is nobody, without a look into the lists of users.
    learned.calls.borrow_mut().clear();
    assert_eq!(recall(&request("", &[1], ""), &learned).unwrap().handles, [2, 3]);
    assert_eq!(*learned.calls.borrow(), ["factors", "Relation::UserItems 100"]);
}

#[test]
fn without_anything_to_go_by_there_is_nothing() {
    let empty =
        |learned: &Learned, recent: &[Handle]| recall(&request("new", recent, ""), learned).unwrap().handles.is_empty();
    assert!(empty(&learned(), &[]), "no history");
    assert!(empty(&learned(), &[77]), "no vectors");
    assert!(empty(&Learned { model: None, ..learned() }, &[1]), "no training");
    assert!(empty(&Learned { nearest: vec![], ..learned() }, &[1]), "no users");
    assert!(empty(&Learned { nearest: vec![(100, -0.1), (101, f32::NAN)], ..learned() }, &[1]), "nobody is near");
}

#[test]
fn params_are_checked() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"neighbours": 0}"#), "/neighbours");
    assert_eq!(path(&format!(r#"{{"neighbours": {}}}"#, limits::RECALL_LIMIT + 1)), "/neighbours");
    assert_eq!(path(r#"{"items": 1001}"#), "/items");
    assert_eq!(path(r#"{"recent": 101}"#), "/recent");
    let needs = Stage::check(r#"{"neighbours": 1000, "items": 1000, "recent": 100}"#.into()).unwrap();
    assert_eq!(needs.personal, Personal::ID | Personal::RECENT);
}

#[test]
fn a_model_that_does_not_fit_is_the_stage_s_fault() {
    let model = FactorModel { gramian: vec![1.0], ..factor_model() };
    let error = recall(&request("new", &[1], ""), &Learned { model: Some(model), ..learned() }).unwrap_err();
    assert_eq!(error.code, StageErrorCode::Internal);
}

proptest! {
    #[test]
    fn keeps_the_contract(
        neighbours in prop::collection::vec(any::<f32>(), 0..20),
        items in prop::collection::vec(prop::collection::vec((1_u64..60, any::<f32>()), 0..20), 20),
        exclude in prop::collection::vec(1_u64..60, 0..20),
        limit in 1_u32..50,
    ) {
        let mut request = request("u", &[], "");
        (request.limit, request.exclude) = (limit, exclude.clone());
        let learned = Learned {
            similar_users: vec![(id::handle("u"), (100..).zip(neighbours).collect())],
            user_items: (100..).zip(items).collect(),
            ..Learned::default()
        };
        let recalled = recall(&request, &learned).unwrap();
        let mut unique = recalled.handles.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), recalled.handles.len());
        prop_assert!(recalled.handles.len() <= limit as usize);
        prop_assert!(recalled.handles.iter().all(|handle| !exclude.contains(handle)));
        prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
    }
}

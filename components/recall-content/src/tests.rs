use std::cell::RefCell;

use funnelweb_guest::{
    documents::Term,
    fixtures::{attribute, preference, recall_request},
    types::Handle,
};
use proptest::prelude::*;

use super::*;

/// An index of `field:value` to handles, newest first, that counts its calls.
struct Index {
    lists: Vec<(&'static str, Vec<Handle>)>,
    calls: RefCell<Vec<Vec<(String, u32)>>>,
}

impl Index {
    fn of(lists: &[(&'static str, &[Handle])]) -> Self {
        let lists = lists.iter().map(|(term, handles)| (*term, handles.to_vec())).collect();
        Self { lists, calls: RefCell::default() }
    }

    fn run(&self, request: &RecallRequest) -> Recalled {
        recall(request, |scenario, asked| {
            assert_eq!(scenario, "s");
            let name = |term: &Option<Term>| term.as_ref().map(|it| format!("{}:{}", it.field, it.value)).unwrap();
            self.calls.borrow_mut().push(asked.iter().map(|(term, count)| (name(term), *count)).collect());
            let list = |(term, count): &(Option<Term>, u32)| {
                let found = self.lists.iter().find(|(other, _)| *other == name(term));
                found.map_or_else(Vec::new, |(_, list)| list.iter().copied().take(*count as usize).collect())
            };
            Ok(asked.iter().map(list).collect())
        })
        .unwrap()
    }
}

fn request(preferences: &[(&str, &str, f32)], params: &str) -> RecallRequest {
    let mut request = recall_request(10, &[], params);
    request.context.user.preferences =
        preferences.iter().map(|(field, value, score)| preference(field, value, *score)).collect();
    request
}

#[test]
fn items_sum_the_preferences_they_match() {
    let index = Index::of(&[("category:a", &[1, 2]), ("tags:x", &[2, 3]), ("tags:y", &[4])]);
    let recalled = index.run(&request(&[("category", "a", 1.0), ("tags", "x", 0.5), ("tags", "y", 0.5)], ""));
    // 2: 1 + 0.25; 1: 1; 4 stands higher in its list than 3 does.
    assert_eq!(recalled.handles, [2, 1, 4, 3]);
    assert_eq!(recalled.scores, [1.0, 0.8, 0.2, 0.2]);
    assert_eq!(index.calls.borrow().len(), 1);
}

#[test]
fn dislikes_take_away_and_bring_nothing() {
    let index = Index::of(&[("category:a", &[1, 2, 3]), ("tags:x", &[2, 9]), ("tags:z", &[3])]);
    let preferences = [("category", "a", 1.0), ("tags", "x", -0.5), ("tags", "z", -1.0)];
    let recalled = index.run(&request(&preferences, r#"{"tag_weight": 1}"#));
    assert_eq!((recalled.handles, recalled.scores), (vec![1, 2], vec![1.0, 0.5]));
}

#[test]
fn shown_and_recent_items_are_left_out() {
    let index = Index::of(&[("category:a", &[1, 2, 3, 4])]);
    let mut request = request(&[("category", "a", 1.0)], "");
    request.limit = 2;
    request.exclude = vec![1];
    request.context.user.recent = vec![3];
    assert_eq!(index.run(&request).handles, [2, 4]);
    // The limit and all that may be hidden, since there is one term.
    assert_eq!(*index.calls.borrow(), [vec![("category:a".to_owned(), 4)]]);
}

#[test]
fn several_terms_share_the_work() {
    let values: Vec<String> = (0..20).map(|at| format!("v{at}")).collect();
    let preferences: Vec<_> = values.iter().map(|value| ("tags", value.as_str(), 1.0)).collect();
    let mut request = request(&preferences, r#"{"terms": 4}"#);
    request.limit = 100;
    request.exclude = (1..=1000).collect();
    let index = Index::of(&[]);
    assert!(index.run(&request).handles.is_empty());
    let calls = index.calls.borrow();
    assert_eq!(calls[0].iter().map(|(_, count)| *count).collect::<Vec<_>>(), [550; 4]);
    assert_eq!(calls[0][0].0, "tags:v0");
}

#[test]
fn without_preferences_the_context_speaks() {
    let index = Index::of(&[("category:news", &[4, 2])]);
    assert!(index.run(&request(&[], "")).handles.is_empty());
    assert!(index.calls.borrow().is_empty(), "nothing to look up");
    let mut asked = request(&[("author", "ann", 1.0)], "");
    asked.context.context = vec![attribute("category", &["news"])];
    let recalled = index.run(&asked);
    assert_eq!((recalled.handles, recalled.scores), (vec![4, 2], vec![1.0, 1.0]));
    asked.context.user.preferences.push(preference("category", "b", 0.5));
    assert!(index.run(&asked).handles.is_empty(), "a preference goes first");
}

#[test]
fn params_are_checked() {
    let path = |params: &str| Stage::check(params.into()).unwrap_err().path;
    assert_eq!(path(r#"{"terms": 0}"#), "/terms");
    assert_eq!(path(r#"{"terms": 65}"#), "/terms");
    assert_eq!(path(r#"{"category_weight": -1}"#), "/category_weight");
    assert_eq!(path(r#"{"tag_weight": 101}"#), "/tag_weight");
    assert_eq!(path(r#"{"tag_weight": 0, "category_weight": 0}"#), "");
    assert!(Stage::check(r#"{"tags_weight": 1}"#.into()).unwrap_err().message.contains("tags_weight"));
    assert!(Stage::check(r#"{"terms": 64}"#.into()).unwrap().columns.is_empty());
}

proptest! {
    #[test]
    fn keeps_the_contract(
        lists in prop::collection::vec(prop::collection::btree_set(1_u64..80, 0..40), 0..20),
        scores in prop::collection::vec(-1.0_f32..1.0, 20),
        exclude in prop::collection::btree_set(1_u64..80, 0..20),
        limit in 1_u32..50,
    ) {
        let mut request = recall_request(limit, &exclude.iter().copied().collect::<Vec<_>>(), "");
        request.context.user.preferences =
            (0..lists.len()).map(|at| preference("tags", &at.to_string(), scores[at])).collect();
        let recalled = recall(&request, |_, asked| {
            let list = |(term, count): &(Option<Term>, u32)| {
                let at: usize = term.as_ref().unwrap().value.parse().unwrap();
                lists[at].iter().rev().copied().take(*count as usize).collect()
            };
            Ok(asked.iter().map(list).collect())
        })
        .unwrap();
        let mut unique = recalled.handles.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), recalled.handles.len());
        prop_assert!(recalled.handles.len() <= limit as usize);
        prop_assert!(recalled.handles.iter().all(|handle| !exclude.contains(handle)));
        prop_assert_eq!(recalled.handles.len(), recalled.scores.len());
        prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
        prop_assert!(recalled.scores.is_sorted_by(|one, other| one >= other));
    }
}

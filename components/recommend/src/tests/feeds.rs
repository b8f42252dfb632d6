//! Feeds: pages that follow each other.

use std::{collections::HashSet, rc::Rc};

use proptest::prelude::*;

use super::*;

/// Items `i000`, `i001`, …, best first.
fn catalogue(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|at| format!("i{at:03}")).collect()
}

/// What was shown may be shown again, if `exposure` does not say otherwise.
fn host_of(items: &[String], exposure: bool) -> Host {
    let config = json!({"recall": {"strategies": [{"name": "latest"}]}, "exposure": {"enabled": exposure}});
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    Host { remembers: exposure, ..Host::default().with_scenario(&config).with_channel("latest", &items) }
}

/// A page: its items, and the cursor of the next.
fn page(host: &Host, user: &str, count: usize, cursor: Option<&str>) -> (Vec<String>, Option<String>) {
    let text = json!({"scenario_id": "s", "count": count, "cursor": cursor}).to_string();
    let call = Call { body: text.as_bytes(), ..call(user, false) };
    let answer = body(funnel::recommend(host, &call, &serde_json::from_str(&text).unwrap()).unwrap());
    let items = answer["items"].as_array().unwrap();
    let items = items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect();
    (items, answer.get("next_cursor").map(|cursor| cursor.as_str().unwrap().to_owned()))
}

/// Everything that a feed serves.
fn all(host: &Host, count: usize) -> Vec<String> {
    let (mut served, mut cursor) = page(host, "ann", count, None);
    while let Some(next) = cursor {
        let (items, after) = page(host, "ann", count, Some(&next));
        served.extend(items);
        cursor = after;
    }
    served
}

#[test]
fn a_feed_serves_everything_in_order() {
    let items = catalogue(0..103);
    for exposure in [false, true] {
        for count in [1, 7, 20, 103, 200] {
            assert_eq!(all(&host_of(&items, exposure), count), items, "pages of {count}, exposure {exposure}");
        }
    }
    // A last page that is full has an empty one after it.
    let (items, cursor) = page(&host_of(&catalogue(0..4), false), "ann", 4, None);
    assert_eq!(items.len(), 4);
    let last = page(&host_of(&catalogue(0..4), false), "ann", 4, cursor.as_deref());
    assert_eq!(last, (Vec::new(), None));
}

#[test]
fn a_pinned_item_is_served_once() {
    let pinned = catalogue(0..30).swap_remove(17);
    for pin in [pinned, "elsewhere".to_owned()] {
        let host = Host { pins: vec![id::handle(&pin)], ..host_of(&catalogue(0..30), false) };
        let served = all(&host.with_item(&pin, "{}"), 4);
        let unique: HashSet<&String> = served.iter().collect();
        assert!(unique.len() == served.len() && unique.contains(&pin), "{served:?}");
    }
}

#[test]
fn a_session_has_feeds_of_its_own() {
    let host = host_of(&catalogue(0..5), true);
    let ask = |cursor: Option<&str>| {
        session(&host, json!({"scenario_id": "s", "count": 3, "behaviors": [], "cursor": cursor}))
    };
    let first = ask(None).unwrap();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = ask(Some(cursor)).unwrap();
    assert_eq!((second["items"].as_array().unwrap().len(), second.get("next_cursor")), (2, None));
    let (_, of_ann) = page(&host, "ann", 1, None);
    assert_eq!(ask(of_ann.as_deref()).unwrap_err(), (Code::InvalidField, Some("cursor".to_owned())));
}

#[test]
fn a_page_that_is_asked_for_again_is_the_same_also_where_it_counts_as_shown() {
    let host = host_of(&catalogue(0..40), true);
    let (_, first) = page(&host, "ann", 5, None);
    let second = page(&host, "ann", 5, first.as_deref());
    let third = page(&host, "ann", 5, second.1.as_deref());
    assert_eq!(page(&host, "ann", 5, first.as_deref()), second);
    assert_eq!(page(&host, "ann", 5, second.1.as_deref()), third);
    // When its time is over, what it leaves out it still leaves out; and what was shown too.
    host.kept.borrow_mut().clear();
    let (items, _) = page(&host, "ann", 5, first.as_deref());
    assert_eq!(items, catalogue(15..20));
}

#[test]
fn a_profile_that_moves_changes_no_page_that_was_served() {
    let before = host_of(&catalogue(0..40), true);
    let (_, first) = page(&before, "ann", 5, None);
    let second = page(&before, "ann", 5, first.as_deref());
    let after = Host { kept: Rc::clone(&before.kept), ..before.copied() }.with_profile("ann", "{}");
    assert_eq!(page(&after, "ann", 5, first.as_deref()), second);
}

/// Something that happens to a feed.
#[derive(Debug, Clone)]
enum Step {
    Next,
    /// A cursor from before, by its place.
    Retry(prop::sample::Index),
    /// What is kept is lost.
    Expire,
    /// Items come, others go.
    Change(Vec<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Next),
        2 => any::<prop::sample::Index>().prop_map(Step::Retry),
        1 => Just(Step::Expire),
        1 => prop::collection::vec(0_usize..60, 0..30).prop_map(Step::Change),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    /// Along any chain of cursors nothing is served twice, whatever happens in between; and
    /// while the catalogue stays, a page is what comes next in its order.
    #[test]
    fn nothing_is_served_twice(steps in steps(), count in 1_usize..9, exposure in any::<bool>()) {
        let mut host = host_of(&catalogue(0..30), exposure);
        // Each with what its chain served before.
        let mut cursors: Vec<(Option<String>, Vec<String>)> = vec![(None, Vec::new())];
        let mut at = 0;
        for step in steps {
            match step {
                Step::Expire => host.kept.borrow_mut().clear(),
                Step::Change(numbers) => {
                    let (kept, shown) = (Rc::clone(&host.kept), host.exposures.take());
                    let numbers: HashSet<usize> = numbers.into_iter().collect();
                    host = Host { kept, exposures: shown.into(), ..host_of(&catalogue(numbers.into_iter()), exposure) };
                }
                Step::Next | Step::Retry(_) => {
                    if let Step::Retry(which) = step {
                        at = which.index(cursors.len());
                    }
                    let (cursor, before) = cursors[at].clone();
                    let (items, next) = page(&host, "ann", count, cursor.as_deref());
                    let mut served: Vec<String> = before;
                    served.extend(items.iter().cloned());
                    let unique: HashSet<&String> = served.iter().collect();
                    prop_assert_eq!(unique.len(), served.len(), "{:?} twice", items);
                    prop_assert!(next.is_some() || items.len() < count);
                    if let Some(next) = next {
                        cursors.push((Some(next), served));
                        at = cursors.len() - 1;
                    }
                }
            }
        }
    }

    /// Retries and losses change nothing of a feed, where what was shown may be shown again.
    #[test]
    fn a_fixed_catalogue_is_served_whole(
        retries in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
        count in 1_usize..9,
    ) {
        let items = catalogue(0..41);
        let host = host_of(&items, false);
        let mut pages = vec![(None, page(&host, "ann", count, None))];
        while let Some(next) = pages[pages.len() - 1].1.1.clone() {
            let served = page(&host, "ann", count, Some(&next));
            pages.push((Some(next), served));
        }
        let served: Vec<String> = pages.iter().flat_map(|(_, (items, _))| items.clone()).collect();
        prop_assert_eq!(served, items);
        for (which, lost) in retries {
            if lost {
                host.kept.borrow_mut().clear();
            }
            let (cursor, before) = &pages[which.index(pages.len())];
            prop_assert_eq!(&page(&host, "ann", count, cursor.as_deref()), before);
        }
    }
}

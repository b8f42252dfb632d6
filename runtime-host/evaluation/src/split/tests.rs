use proptest::prelude::*;

use super::*;

/// User, item, time, gain.
fn data(events: &[(u32, u32, u64, f32)]) -> Data {
    let mut data = Data::default();
    for user in 0..20 {
        data.users.number(&format!("u{user}"));
    }
    for item in 0..100 {
        data.items.number(&format!("i{item}"));
    }
    for (user, item, at_ms, gain) in events {
        data.push(&format!("u{user}"), &format!("i{item}"), *at_ms, *gain);
    }
    data
}

fn config(kind: Kind) -> Config {
    Config { kind, min_history: 1, seed: 42 }
}

fn wanted(split: &Split) -> Vec<(u32, Vec<u32>)> {
    split.asked.iter().map(|asked| (asked.user, asked.wanted.iter().map(|(item, _)| *item).collect())).collect()
}

#[test]
fn the_last_new_item_is_left_out() {
    let data = data(&[
        (0, 1, 10, 1.0),
        (0, 2, 20, 1.0),
        (0, 3, 15, 1.0),
        // Again, and after what is asked for: not learned from.
        (0, 1, 30, 1.0),
        // One item only, twice.
        (1, 5, 1, 1.0),
        (1, 5, 2, 1.0),
        // Seen, then liked: it was not known before; what was disliked is.
        (2, 6, 1, 1.0),
        (2, 7, 2, 0.0),
        (2, 7, 3, 1.0),
        (2, 6, 4, -1.0),
        // Nothing but an impression and a dislike.
        (3, 8, 1, 0.0),
        (3, 9, 2, -1.0),
    ]);
    let split = split(&data, &config(Kind::LeaveLastOut)).unwrap();
    assert_eq!(wanted(&split), [(0, vec![2]), (2, vec![7])]);
    assert_eq!(split.asked[0].known, [1, 3]);
    assert_eq!(split.left_out, 1);
    let mut train = split.train.clone();
    train.sort_unstable();
    assert_eq!(train, [0, 2, 4, 5, 6, 7, 10, 11]);
    assert!(split.history.is_empty());
}

#[test]
fn events_of_one_time_are_in_their_order() {
    let data = data(&[(0, 1, 5, 1.0), (0, 2, 5, 1.0), (0, 3, 5, 1.0)]);
    assert_eq!(wanted(&split(&data, &config(Kind::LeaveLastOut)).unwrap()), [(0, vec![3])]);
}

#[test]
fn time_splits_for_everybody_at_once() {
    let data = data(&[
        (0, 1, 10, 1.0),
        (0, 2, 20, 2.0),
        (0, 2, 21, 5.0),
        (0, 1, 22, 1.0),
        (1, 3, 19, 1.0),
        (1, 4, 25, 1.0),
        (1, 5, 26, -1.0),
        (2, 6, 30, 1.0),
        (3, 7, 5, 1.0),
    ]);
    let split = |cut| split(&data, &config(Kind::Time(cut))).unwrap();
    let at = split(Cut::At(20));
    assert_eq!(wanted(&at), [(0, vec![2]), (1, vec![4])]);
    assert_eq!(at.asked[0].wanted, [(2, 5.0)], "what the strongest action weighs");
    assert_eq!((at.train.len(), at.left_out), (3, 2));
    // 9 · 0.4 → the fourth event in time, at 20.
    assert_eq!(split(Cut::Share(0.4)), at);
    let new = Config { min_history: 0, ..config(Kind::Time(Cut::At(20))) };
    let with_new = super::split(&data, &new).unwrap();
    assert_eq!(wanted(&with_new), [(0, vec![2]), (1, vec![4]), (2, vec![6])]);
    assert_eq!(with_new.left_out, 1);
}

#[test]
fn held_out_users_are_folded_in() {
    let events: Vec<_> =
        (0..10).flat_map(|user| (0..5).map(move |at| (user, user + 7 * at, u64::from(at), 1.0))).collect();
    let mut events = events;
    events.push((15, 1, 1, 1.0));
    let data = data(&events);
    let kind = Kind::UserHoldout { users: 0.3, history: 0.8 };
    let held_out = split(&data, &config(kind)).unwrap();
    assert_eq!(held_out.asked.len(), 3);
    for asked in &held_out.asked {
        assert_eq!((asked.known.len(), asked.wanted.len()), (4, 1));
        assert_eq!(asked.wanted[0].0, asked.user + 28);
        assert!(held_out.train.iter().all(|&at| data.events[at].user != asked.user));
    }
    assert_eq!((held_out.train.len(), held_out.history.len()), (7 * 5 + 1, 12));
    assert_eq!(split(&data, &config(kind)).unwrap(), held_out);
    let others = (0..20).map(|seed| wanted(&split(&data, &Config { seed, ..config(kind) }).unwrap()));
    assert!(others.collect::<HashSet<_>>().len() > 5);
}

#[test]
fn a_fixed_split_is_used_as_it_is() {
    let data = data(&[(0, 1, 9, 1.0), (0, 2, 1, 1.0), (0, 1, 1, 1.0), (1, 3, 0, 1.0)]);
    let split = fixed(&data, vec![0], vec![1, 2, 3], 1).unwrap();
    assert_eq!(wanted(&split), [(0, vec![2])]);
    assert_eq!(split.left_out, 1);
    assert_eq!(wanted(&fixed(&data, vec![0], vec![1, 2, 3], 0).unwrap()), [(0, vec![2]), (1, vec![3])]);
}

#[test]
fn a_sample_asks_fewer_and_learns_all() {
    let events: Vec<_> = (0..20).flat_map(|user| [(user, 1, 1, 1.0), (user, 2, 2, 1.0)]).collect();
    let data = data(&events);
    let all = split(&data, &config(Kind::LeaveLastOut)).unwrap();
    let mut some = all.clone();
    some.sample(7, 3);
    assert_eq!((some.asked.len(), some.train.len()), (7, all.train.len()));
    assert!(some.asked.is_sorted_by_key(|asked| asked.user));
    let mut again = all.clone();
    again.sample(7, 3);
    assert_eq!(again, some);
    again.sample(70, 3);
    assert_eq!(again, some);
}

#[test]
fn a_part_is_split_again() {
    let data = data(&[(0, 1, 3, 1.0), (0, 2, 2, 1.0), (0, 3, 1, 1.0), (1, 4, 1, 1.0), (1, 5, 2, 1.0)]);
    let outer = split(&data, &config(Kind::LeaveLastOut)).unwrap();
    assert_eq!(wanted(&outer), [(0, vec![1]), (1, vec![5])]);
    let inner = within(&data, outer.train, &config(Kind::LeaveLastOut)).unwrap();
    assert_eq!(wanted(&inner), [(0, vec![2])]);
    assert_eq!((inner.train, inner.left_out), (vec![2, 3], 1));
}

#[test]
fn empty_parts_are_told_of() {
    let fault = |events: &[(u32, u32, u64, f32)], kind| split(&data(events), &config(kind)).unwrap_err().to_string();
    let once = [(0, 1, 5, 1.0), (1, 1, 5, 1.0)];
    assert!(fault(&once, Kind::LeaveLastOut).starts_with("no test user: 2 users have liked something"));
    assert!(fault(&once, Kind::Time(Cut::At(5))).starts_with("no behaviour is left to learn from: of 0 events"));
    assert!(fault(&once, Kind::Time(Cut::At(6))).starts_with("no test user"));
    assert!(fault(&[], Kind::LeaveLastOut).starts_with("no behaviour is left"));
    assert!(fault(&[], Kind::UserHoldout { users: 0.5, history: 0.5 }).starts_with("no behaviour is left"));
    for share in [0.0, 1.0, -0.1, f64::NAN] {
        for kind in [
            Kind::Time(Cut::Share(share)),
            Kind::UserHoldout { users: share, history: 0.5 },
            Kind::UserHoldout { users: 0.5, history: share },
        ] {
            let fault = fault(&once, kind);
            assert!(fault.contains("must be above 0 and below 1, not"), "{fault}");
        }
    }
}

proptest! {
    /// Whatever the events: nothing is learned from twice or unlearned by moving,
    /// nothing wanted is known, and of no user anything is learned from that came
    /// after the first item wanted (but for a fixed split).
    #[test]
    fn parts_do_not_overlap(
        events in prop::collection::vec((0_u32..6, 0_u32..8, 0_u64..30, prop::sample::select(vec![-1.0_f32, 0.0, 1.0, 2.0])), 0..60),
        which in 0_usize..3,
        min_history in 0_u32..3,
        seed: u64,
    ) {
        let data = data(&events);
        let kind = [
            Kind::LeaveLastOut,
            Kind::Time(Cut::Share(0.7)),
            Kind::UserHoldout { users: 0.5, history: 0.6 },
        ][which];
        let Ok(split) = split(&data, &Config { kind, min_history, seed }) else { return Ok(()) };
        let mut places: Vec<usize> = split.train.iter().chain(&split.history).copied().collect();
        places.sort_unstable();
        let count = places.len();
        places.dedup();
        prop_assert_eq!(places.len(), count);
        prop_assert!(split.asked.is_sorted_by(|a, b| a.user < b.user));
        for asked in &split.asked {
            prop_assert!(!asked.wanted.is_empty());
            prop_assert!(asked.known.is_sorted() && asked.wanted.is_sorted_by(|a, b| a.0 < b.0));
            let own: Vec<&Event> = places.iter().map(|&at| &data.events[at]).filter(|event| event.user == asked.user).collect();
            for (item, gain) in &asked.wanted {
                prop_assert!(*gain > 0.0);
                prop_assert!(asked.known.binary_search(item).is_err());
                prop_assert!(own.iter().all(|event| event.item != *item || !event.is_contact()));
            }
            let liked: HashSet<u32> = own.iter().filter(|event| event.is_liking()).map(|event| event.item).collect();
            prop_assert!(liked.len() >= min_history as usize);
            let first = data.events.iter().filter(|event| event.user == asked.user && event.is_liking()
                && asked.wanted.iter().any(|(item, _)| *item == event.item)).map(|event| event.at_ms).min();
            prop_assert!(own.iter().all(|event| Some(event.at_ms) <= first));
        }
    }
}

//! Places in the slate for what the channel `explore` offers
//! (`config.exploration`): ε-greedy by place, where the channel says what is tried
//! (Sutton, Barto: *Reinforcement Learning*, 2018, §2.2).

use funnelweb_core::scenario::{Exploration, ExploringUsers};
use funnelweb_guest::{
    handles::{HandleMap, HandleSet},
    random::Random,
    types::{Candidates, Handle, RequestContext},
};

use crate::merge::PINNED;

/// Among the random numbers of a request, those that say which places.
const STREAM: u64 = 0x0065_7870_6c6f_7265;

/// Gives places of the slate, the first `context.count` of `ranked`, to items that
/// `offered` names, best first, and that have no place there by their rank; returns
/// the new order and the items that were given one.
///
/// There are `share · count` such places, a fraction rounded up as often as it says;
/// which ones follows from the request's seed. The place of a pinned item is none of
/// them, nor is the first one when something is known of the user. Other items move
/// down and keep their order.
pub(crate) fn explore(
    ranked: Candidates,
    offered: &[Handle],
    exploration: &Exploration,
    context: &RequestContext,
) -> (Candidates, HandleSet) {
    let known = !(context.user.recent.is_empty() && context.user.preferences.is_empty());
    let wanted = exploration.share > 0.0 && !(known && exploration.users == ExploringUsers::New);
    if !wanted || offered.is_empty() {
        return (ranked, HandleSet::default());
    }
    let count = ranked.handles.len().min(context.count as usize);
    let pinned = |at: usize| ranked.sources.get(at).is_some_and(|sources| sources & PINNED != 0);
    let mut places: Vec<usize> = (usize::from(known)..count).filter(|at| !pinned(*at)).collect();
    let mut random = Random::new(context.seed, STREAM);
    let most = rounded(f64::from(exploration.share) * count as f64, &mut random).min(places.len());

    let ranks: HandleMap<usize> = ranked.handles.iter().copied().zip(0..).collect();
    let unseen = |handle: &Handle| ranks.get(handle).copied().filter(|at| *at >= count - most && !pinned(*at));
    let chosen: Vec<usize> = offered.iter().filter_map(unseen).take(most).collect();
    draw(&mut places, chosen.len(), &mut random);

    let handles = chosen.iter().filter_map(|at| ranked.handles.get(*at).copied()).collect();
    (reordered(&ranked, &order(&ranked, count, &places, &chosen)), handles)
}

/// A whole number whose mean is `value`.
fn rounded(value: f64, random: &mut Random) -> usize {
    value.floor() as usize + usize::from(random.uniform() < value.fract())
}

/// Leaves `count` places, drawn without putting back (Fisher, Yates), ascending.
fn draw(places: &mut Vec<usize>, count: usize, random: &mut Random) {
    for at in 0..count {
        let other = at + random.below(places.len() - at);
        places.swap(at, other);
    }
    places.truncate(count);
    places.sort_unstable();
}

/// Where each place of the new list finds its item in the old one.
fn order(ranked: &Candidates, count: usize, places: &[usize], chosen: &[usize]) -> Vec<usize> {
    let stays = |at: usize| at < count && ranked.sources.get(at).is_some_and(|sources| sources & PINNED != 0);
    let mut explored = chosen.iter().copied();
    let mut others = (0..ranked.handles.len()).filter(|at| !stays(*at) && !chosen.contains(at));
    let place = |at: usize| match () {
        () if stays(at) => Some(at),
        () if places.binary_search(&at).is_ok() => explored.next(),
        () => others.next(),
    };
    (0..ranked.handles.len()).filter_map(place).collect()
}

fn reordered(ranked: &Candidates, order: &[usize]) -> Candidates {
    fn pick<T: Copy>(list: &[T], order: &[usize]) -> Vec<T> {
        order.iter().filter_map(|at| list.get(*at).copied()).collect()
    }
    Candidates {
        handles: pick(&ranked.handles, order),
        scores: pick(&ranked.scores, order),
        sources: pick(&ranked.sources, order),
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_guest::types::{Preference, User};
    use proptest::prelude::*;

    use super::*;

    fn context(count: u32, seed: u64, known: bool) -> RequestContext {
        let user = User {
            id: "u".into(),
            attributes: vec![],
            preferences: if known {
                vec![Preference { field: "category".into(), value: "a".into(), score: 1.0 }]
            } else {
                vec![]
            },
            recent: vec![],
            recent_weights: vec![],
        };
        RequestContext { scenario_id: "s".into(), user, context: vec![], now_ms: 0, count, seed }
    }

    /// Candidates 1 to `count`, in that order; the handles of `pinned` are pins.
    fn ranked(count: u64, pinned: &[Handle]) -> Candidates {
        Candidates {
            handles: (1..=count).collect(),
            scores: (1..=count).map(|at| 1.0 / at as f32).collect(),
            sources: (1..=count).map(|handle| if pinned.contains(&handle) { PINNED } else { 1 }).collect(),
        }
    }

    const ALL: Exploration = Exploration { share: 0.25, users: ExploringUsers::All };

    fn run(count: u32, seed: u64, known: bool) -> (Vec<Handle>, HandleSet) {
        let (candidates, explored) = explore(ranked(40, &[]), &[30, 33, 31, 2], &ALL, &context(count, seed, known));
        (candidates.handles, explored)
    }

    #[test]
    fn a_share_of_the_places_is_explored() {
        let (handles, explored) = run(8, 7, true);
        assert_eq!(explored, [30, 33].into_iter().collect());
        let slate = &handles[..8];
        assert!(slate.contains(&30) && slate.contains(&33));
        // The first stays, the rest in order; scores stay with their items.
        let rest: Vec<_> = slate.iter().filter(|handle| **handle < 30).copied().collect();
        assert_eq!((slate[0], rest), (1, vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(handles.len(), 40);
        let (candidates, _) = explore(ranked(40, &[]), &[30], &ALL, &context(8, 7, true));
        let at = candidates.handles.iter().position(|handle| *handle == 30).unwrap();
        assert_eq!(candidates.scores[at], 1.0 / 30.0);
    }

    #[test]
    fn a_fraction_of_a_place_is_one_as_often() {
        let explored: usize = (0..4000).map(|seed| run(5, seed, true).1.len()).sum();
        // 1.25 places on average.
        assert!((explored as f64 / 4000.0 - 1.25).abs() < 0.03, "{explored}");
    }

    #[test]
    fn the_first_place_is_for_new_users_only() {
        let firsts = |known| (0..500).filter(|seed| run(4, *seed, known).0[0] == 30).count();
        assert_eq!(firsts(true), 0);
        assert!((75..200).contains(&firsts(false)), "{}", firsts(false));
        // Of one place there is none to spare.
        assert!((0..50).all(|seed| run(1, seed, true).1.is_empty()));
    }

    #[test]
    fn who_is_known_can_be_left_alone() {
        let new = Exploration { users: ExploringUsers::New, ..ALL };
        let explored =
            |known, offered: &[Handle]| explore(ranked(40, &[]), offered, &new, &context(8, 1, known)).1.len();
        assert_eq!((explored(true, &[30]), explored(false, &[30]), explored(false, &[])), (0, 1, 0));
        let none = Exploration { share: 0.0, ..ALL };
        assert_eq!(explore(ranked(40, &[]), &[30], &none, &context(8, 1, false)).0.handles, ranked(40, &[]).handles);
    }

    #[test]
    fn pins_stay_where_they_are() {
        for seed in 0..200 {
            let pins = [2, 5, 20];
            let (candidates, explored) = explore(ranked(20, &pins), &[18, 20, 19], &ALL, &context(8, seed, true));
            assert_eq!((candidates.handles[1], candidates.handles[4], explored.len()), (2, 5, 2));
            assert!(!explored.contains(&20), "a pin is no exploration");
        }
        let all: Vec<Handle> = (1..=8).collect();
        assert!(explore(ranked(20, &all), &[18], &ALL, &context(8, 1, true)).1.is_empty(), "no place is free");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled(
            length in 0_u64..40,
            count in 1_u32..50,
            offered in prop::collection::vec(1_u64..60, 0..20),
            pinned in prop::collection::vec(1_u64..40, 0..10),
            share in 0.0_f32..=0.5,
            seed in any::<u64>(),
            known in any::<bool>(),
        ) {
            let mut unique = offered.clone();
            unique.sort_unstable();
            unique.dedup();
            let exploration = Exploration { share, users: ExploringUsers::All };
            let before = ranked(length, &pinned);
            let (after, explored) = explore(before.clone(), &unique, &exploration, &context(count, seed, known));
            let mut all = after.handles.clone();
            all.sort_unstable();
            prop_assert_eq!(all, before.handles);
            prop_assert_eq!(after.sources.len(), after.handles.len());
            let slate = &after.handles[..after.handles.len().min(count as usize)];
            prop_assert!(explored.iter().all(|handle| slate.contains(handle) && unique.contains(handle)));
            prop_assert!(explored.len() as f32 <= (share * slate.len() as f32).ceil());
            if known && !slate.is_empty() {
                prop_assert_eq!(slate[0], 1);
            }
        }
    }
}

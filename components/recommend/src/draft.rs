//! Two rankings in one slate: team-draft interleaving (Radlinski, Kurup, Joachims: *How Does
//! Clickthrough Data Reflect Retrieval Quality?*, CIKM 2008, §4.2). In each round a coin says
//! which of them drafts first, and each drafts its best item that nobody has yet: so each item
//! is there once, either has as many of them, and the order within a team is its ranking's.
//!
//! What a rule has pinned to a place that is the same in both is nobody's, and stays there.

use std::{borrow::Borrow, mem::swap};

use funnelweb_core::id;
use funnelweb_guest::{
    dispatch::{Draft, Team},
    handles::HandleMap,
    random::Random,
    types::{Candidates, Handle},
};

use crate::{merge::PINNED, slate::Item};

/// What two rankings drafted.
pub(crate) struct Drafted {
    pub(crate) experiment_id: String,
    /// In the order in which they were drafted.
    pub(crate) candidates: Candidates,
    picks: HandleMap<Pick>,
}

/// From which ranking an item was taken, and whether both took one in its round.
#[derive(Clone, Copy)]
struct Pick {
    from: Team,
    is_contested: bool,
}

/// A ranking, and how far it was drafted from.
struct Side<'a> {
    ranking: &'a Candidates,
    from: usize,
    team: Team,
}

impl Side<'_> {
    /// The place of its best item that nobody has.
    fn best(&mut self, drafted: &Drafted) -> Option<usize> {
        let left = self.ranking.handles.get(self.from..).unwrap_or_default();
        self.from += left.iter().position(|handle| !drafted.picks.contains_key(handle))?;
        Some(self.from)
    }
}

/// The slate that two rankings draft. The coins are the user's own: whoever sends every
/// request with the same id, and so with the same seed, has either of them first as often,
/// over many users.
pub(crate) fn draft(
    experiment_id: &str,
    control: &Candidates,
    treatment: &Candidates,
    seed: u64,
    user_id: &str,
) -> Drafted {
    let mut coins = Random::new(seed, id::handle(&format!("{experiment_id}\n{user_id}")));
    let mut drafted = Drafted::new(experiment_id, control.handles.len());
    let mut one = Side { ranking: control, from: 0, team: Team::Control };
    let mut other = Side { ranking: treatment, from: 0, team: Team::Treatment };
    let pinned = pinned(control, treatment);
    for at in &pinned {
        drafted.pick(control, *at, Team::Nobody);
    }
    loop {
        if coins.below(2) == 0 {
            swap(&mut one, &mut other);
        }
        let (Some(first), Some(_)) = (one.best(&drafted), other.best(&drafted)) else { break };
        drafted.take(&one, first);
        let second = other.best(&drafted);
        if let Some(second) = second {
            drafted.take(&other, second);
            drafted.contested(&other, second);
        }
        // The last one of both is the coin's as well.
        if second.is_some() || one.best(&drafted).is_none() {
            drafted.contested(&one, first);
        }
    }
    // What one of them has left when the other has nothing was in no contest.
    for mut side in [one, other] {
        while let Some(best) = side.best(&drafted) {
            drafted.take(&side, best);
        }
    }
    for at in pinned {
        drafted.put(at, control, at);
    }
    drafted
}

/// The places at which both have the same pinned item.
fn pinned(control: &Candidates, treatment: &Candidates) -> Vec<usize> {
    let same = |at: &usize| control.handles.get(*at) == treatment.handles.get(*at);
    let is_pinned = |at: &usize| control.sources.get(*at).is_some_and(|sources| sources & PINNED != 0);
    (0..control.handles.len()).filter(|at| is_pinned(at) && same(at)).collect()
}

impl Drafted {
    fn new(experiment_id: &str, length: usize) -> Self {
        let candidates = Candidates {
            handles: Vec::with_capacity(length),
            scores: Vec::with_capacity(length),
            sources: Vec::with_capacity(length),
        };
        Self { experiment_id: experiment_id.to_owned(), candidates, picks: HandleMap::default() }
    }

    /// Says whose an item of a ranking is.
    fn pick(&mut self, ranking: &Candidates, at: usize, from: Team) {
        if let Some(handle) = ranking.handles.get(at) {
            self.picks.insert(*handle, Pick { from, is_contested: false });
        }
    }

    /// The item has the next place.
    fn take(&mut self, side: &Side<'_>, at: usize) {
        self.pick(side.ranking, at, side.team);
        self.put(self.candidates.handles.len(), side.ranking, at);
    }

    /// The item was taken in a round in which both took one.
    fn contested(&mut self, side: &Side<'_>, at: usize) {
        let handle = side.ranking.handles.get(at);
        if let Some(pick) = handle.and_then(|handle| self.picks.get_mut(handle)) {
            pick.is_contested = true;
        }
    }

    /// Puts an item of a ranking at a place.
    fn put(&mut self, place: usize, ranking: &Candidates, at: usize) {
        let item = (ranking.handles.get(at), ranking.scores.get(at), ranking.sources.get(at));
        let (Some(handle), Some(score), Some(sources)) = item else { return };
        self.candidates.handles.insert(place, *handle);
        self.candidates.scores.insert(place, *score);
        self.candidates.sources.insert(place, *sources);
    }

    /// Who has drafted an item.
    fn team(&self, handle: Handle) -> Team {
        let pick = self.picks.get(&handle).filter(|pick| pick.is_contested);
        pick.map_or(Team::Nobody, |pick| pick.from)
    }

    /// Whether it was taken from the treatment's ranking.
    pub(crate) fn is_treatments(&self, handle: Handle) -> bool {
        self.picks.get(&handle).is_some_and(|pick| pick.from == Team::Treatment)
    }

    /// Who has drafted these places; nobody those that are explored.
    pub(crate) fn of(&self, items: &[impl Borrow<Item>]) -> Draft {
        let team = |item: &Item| if item.explored { Team::Nobody } else { self.team(id::handle(&item.item_id)) };
        Draft { experiment: self.experiment_id.clone(), teams: items.iter().map(|item| team(item.borrow())).collect() }
    }
}

/// What a team is called.
pub(crate) fn name(team: Team) -> Option<&'static str> {
    match team {
        Team::Nobody => None,
        Team::Control => Some("control"),
        Team::Treatment => Some("treatment"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranking(handles: &[Handle]) -> Candidates {
        let scores = (1..).take(handles.len()).map(|rank| 1.0 / rank as f32).collect();
        Candidates { handles: handles.to_vec(), scores, sources: vec![1; handles.len()] }
    }

    fn drafted(control: &[Handle], treatment: &[Handle], seed: u64) -> Drafted {
        draft("exp", &ranking(control), &ranking(treatment), seed, "ann")
    }

    fn of(drafted: &Drafted, team: Team) -> Vec<Handle> {
        drafted.candidates.handles.iter().copied().filter(|handle| drafted.team(*handle) == team).collect()
    }

    #[test]
    fn two_equal_rankings_draft_that_ranking() {
        for seed in 0..50 {
            let drafted = drafted(&[3, 1, 4, 5, 9], &[3, 1, 4, 5, 9], seed);
            assert_eq!(drafted.candidates.handles, [3, 1, 4, 5, 9]);
            assert!(of(&drafted, Team::Nobody).is_empty());
        }
    }

    #[test]
    fn either_has_as_many_places_also_of_odd_ones() {
        let (seeds, places) = (4000, 5);
        let mut firsts = 0;
        let mut treated = vec![0; places];
        for seed in 0..seeds {
            let drafted = drafted(&[1, 2, 3, 4, 5, 6], &[6, 5, 4, 3, 2, 1], seed);
            let teams: Vec<Team> = drafted.candidates.handles.iter().map(|handle| drafted.team(*handle)).collect();
            firsts += u64::from(teams[0] == Team::Treatment);
            treated.iter_mut().zip(&teams).for_each(|(count, team)| *count += u64::from(*team == Team::Treatment));
            let of_round = |round: &[Team]| round.contains(&Team::Control) && round.contains(&Team::Treatment);
            assert!(teams[..4].chunks(2).all(of_round), "{teams:?}");
        }
        // Five standard errors of a half.
        let half = |count: u64| (count as f64 / seeds as f64 - 0.5).abs() < 0.04;
        assert!(half(firsts) && treated.iter().all(|count| half(*count)), "{treated:?}");
    }

    #[test]
    fn users_of_one_seed_have_coins_of_their_own() {
        let (control, treatment) = (ranking(&[1, 2]), ranking(&[2, 1]));
        let first = |user: u32| draft("exp", &control, &treatment, 7, &format!("u{user}")).candidates.handles[0];
        let treated = (0..1000).filter(|user| first(*user) == 2).count();
        assert!((420..580).contains(&treated), "{treated}");
    }

    #[test]
    fn what_only_one_has_left_is_nobody_s() {
        let one = drafted(&[1, 2, 3, 4], &[], 1);
        assert_eq!((one.candidates.handles.as_slice(), of(&one, Team::Nobody).len()), (&[1, 2, 3, 4][..], 4));
        for seed in 0..20 {
            let some = drafted(&[1, 2, 3, 4, 5, 6], &[7], seed);
            assert_eq!(of(&some, Team::Treatment), [7]);
            assert_eq!(of(&some, Team::Control), [1], "one in the round of the other's");
            assert_eq!(some.candidates.handles.len(), 7);
            // Who drafts second has nothing left, or both have a place.
            let some = drafted(&[1, 2], &[1], seed);
            assert_eq!(of(&some, Team::Treatment).len(), of(&some, Team::Control).len());
        }
        let last = (0..400).filter(|seed| of(&drafted(&[1], &[1], *seed), Team::Control) == [1]).count();
        assert!((140..260).contains(&last), "the coin's: {last}");
    }

    #[test]
    fn what_both_pin_stays_in_its_place_and_is_nobody_s() {
        let of_pinned = |handles: &[Handle], pins: &[Handle]| {
            let sources = handles.iter().map(|handle| if pins.contains(handle) { PINNED } else { 1 }).collect();
            Candidates { sources, ..ranking(handles) }
        };
        let control = of_pinned(&[1, 2, 90, 3, 91, 4], &[90, 91]);
        for (treatment, places) in [
            (of_pinned(&[4, 3, 90, 2, 91, 1], &[90, 91]), vec![(2, 90), (4, 91)]),
            // It is in a place of its own in either.
            (of_pinned(&[91, 4, 90, 3, 2, 1], &[90, 91]), vec![(2, 90)]),
            (of_pinned(&[4, 3, 90], &[90]), vec![(2, 90)]),
        ] {
            for seed in 0..50 {
                let drafted = draft("exp", &control, &treatment, seed, "ann");
                for (place, handle) in &places {
                    assert_eq!(drafted.candidates.handles[*place], *handle, "{:?}", drafted.candidates.handles);
                    assert_eq!((drafted.candidates.sources[*place], drafted.team(*handle)), (PINNED, Team::Nobody));
                }
                let mut all = drafted.candidates.handles.clone();
                all.sort_unstable();
                assert_eq!(all, [1, 2, 3, 4, 90, 91]);
            }
        }
    }

    proptest! {
        #[test]
        fn each_item_is_there_once_and_teams_keep_their_order(
            control in prop::collection::hash_set(0_u64..30, 0..20),
            treatment in prop::collection::hash_set(0_u64..30, 0..20),
            seed in any::<u64>(),
        ) {
            let (control, treatment): (Vec<_>, Vec<_>) = (control.into_iter().collect(), treatment.into_iter().collect());
            let drafted = drafted(&control, &treatment, seed);
            let mut all: Vec<Handle> = control.iter().chain(&treatment).copied().collect();
            all.sort_unstable();
            all.dedup();
            let mut there = drafted.candidates.handles.clone();
            there.sort_unstable();
            prop_assert_eq!(there, all);
            let (of_control, of_treatment) = (of(&drafted, Team::Control), of(&drafted, Team::Treatment));
            prop_assert!(of_control.len().abs_diff(of_treatment.len()) <= 1);
            for (team, ranking) in [(of_control, &control), (of_treatment, &treatment)] {
                let places: Vec<_> = team.iter().map(|handle| ranking.iter().position(|of| of == handle)).collect();
                prop_assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{:?}", places);
            }
            // At any place neither is ahead by more than one.
            let mut ahead = 0_i32;
            for handle in &drafted.candidates.handles {
                ahead += match drafted.team(*handle) { Team::Nobody => 0, Team::Control => 1, Team::Treatment => -1 };
                prop_assert!(ahead.abs() <= 1);
            }
        }
    }
}

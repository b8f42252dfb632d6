//! Recommenders that know nothing of a user: what any other must beat.

use std::collections::HashSet;

use rand_core::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{
    catalogue::Catalogue,
    data::Data,
    draw,
    split::{Asked, Split},
};

/// For each user who is asked for, what most users like of the part learned from,
/// without what the user knows. Of items that as many like, the first counts.
#[must_use]
pub fn popularity(split: &Split, catalogue: &Catalogue, k: u32) -> Vec<Vec<u32>> {
    let likers = catalogue.likers();
    let mut order: Vec<u32> = (0..).take(likers.len()).collect();
    order.sort_by_key(|item| std::cmp::Reverse(likers.get(*item as usize).copied()));
    let slate = |asked: &Asked| {
        let unknown = order.iter().filter(|item| asked.known.binary_search(item).is_err());
        unknown.take(k as usize).copied().collect()
    };
    split.asked.iter().map(slate).collect()
}

/// For each user who is asked for, what chance picks of the items learned from,
/// without what the user knows; each user's draw depends on the seed and the user.
#[must_use]
pub fn random(data: &Data, split: &Split, k: u32, seed: u64) -> Vec<Vec<u32>> {
    let events = split.train.iter().filter_map(|&at| data.events.get(at));
    let mut items: Vec<u32> = events.map(|event| event.item).collect::<HashSet<_>>().into_iter().collect();
    items.sort_unstable();
    let slate = |asked: &Asked| {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ (u64::from(asked.user) << 32));
        // Drawn one by one: the shuffle of a whole catalogue for a few would be slow.
        let known = asked.known.iter().filter(|item| items.binary_search(item).is_ok()).count();
        let count = (k as usize).min(items.len() - known);
        let mut slate: Vec<u32> = Vec::with_capacity(count);
        if items.len() <= 2 * (count + known) {
            let mut unknown = items.clone();
            unknown.retain(|item| asked.known.binary_search(item).is_err());
            draw::shuffle_front(&mut unknown, count, &mut random);
            unknown.truncate(count);
            return unknown;
        }
        while slate.len() < count {
            let Some(item) = items.get(draw::below(&mut random, items.len())) else { break };
            if asked.known.binary_search(item).is_err() && !slate.contains(item) {
                slate.push(*item);
            }
        }
        slate
    };
    split.asked.iter().map(slate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue::Features, split};

    fn case() -> (Data, Split) {
        let mut data = Data::default();
        // Item i<n> is liked by 6 − n users.
        for item in 0..6 {
            for user in item..6 {
                data.push(&format!("u{user}"), &format!("i{item}"), 0, 1.0);
            }
        }
        data.push("u0", "new", 9, 1.0);
        data.push("u2", "new", 9, 1.0);
        let config = split::Config { kind: split::Kind::Time(split::Cut::At(9)), min_history: 1, seed: 1 };
        let split = split::split(&data, &config).unwrap();
        (data, split)
    }

    #[test]
    fn the_most_liked_come_first_and_known_ones_not_at_all() {
        let (data, split) = case();
        let catalogue = Catalogue::new(&data, &split.train, Features::default());
        let slates = popularity(&split, &catalogue, 3);
        assert_eq!(slates, [vec![1, 2, 3], vec![3, 4, 5]]);
    }

    #[test]
    fn chance_depends_on_seed_and_user_and_spares_what_is_known() {
        let (data, split) = case();
        for (seed, k) in [(1, 2), (2, 3), (3, 9)] {
            let slates = random(&data, &split, k, seed);
            assert_eq!(slates, random(&data, &split, k, seed));
            for (slate, asked) in slates.iter().zip(&split.asked) {
                let distinct: HashSet<_> = slate.iter().collect();
                assert_eq!(distinct.len(), (k as usize).min(6 - asked.known.len()));
                assert_eq!(distinct.len(), slate.len());
                assert!(slate.iter().all(|item| !asked.known.contains(item) && *item < 6));
            }
        }
        let many: HashSet<_> = (0..20).map(|seed| random(&data, &split, 3, seed)).collect();
        assert!(many.len() > 5);
    }
}

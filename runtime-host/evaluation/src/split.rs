//! What is learned from, and what is asked for.
//!
//! | split | learned from | asked for |
//! |---|---|---|
//! | [`Kind::LeaveLastOut`] | of each user, what came before the last new item | that item |
//! | [`Kind::Time`] | everything before a moment | what a user likes from then on |
//! | [`Kind::UserHoldout`] | everything of the other users; of the held-out, the first part is history | the last part |
//! | [`fixed`] | one list of events | another |
//!
//! Only an item that is new to its user is asked for, since a user is not
//! recommended what the user has, and only when the action is a liking. An event
//! that happened after what its user is asked for is not learned from, but other
//! users' events may be later, except in a split by time: leave-last-out and
//! holdout let a recommender know what became popular afterwards (Ji et al., "A
//! Critical Study on Data Leakage in Recommender System Offline Evaluation", TOIS
//! 2023).
//!
//! Users with too few items are learned from and not asked for, as in Koren (2008)
//! and Liang et al. (2018), and they are counted; nothing is filtered out of the
//! data (no "5-core").

use std::collections::{HashMap, HashSet};

use rand_core::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{
    data::{Data, Event},
    draw,
    error::{Error, Result, setting},
};

/// How events are split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Of each user, the item that was new to the user last.
    LeaveLastOut,
    /// By time.
    Time(Cut),
    /// A share of the users, above 0 and below 1, is held out wholly: of each the
    /// first part is folded in, the last part asked for (Liang et al., "Variational
    /// Autoencoders for Collaborative Filtering", WWW 2018, which draws the parts
    /// at random; here time decides).
    UserHoldout {
        /// Of the users who have enough items.
        users: f64,
        /// Of the items of each: folded in, at least one, and at least one not.
        history: f64,
    },
}

/// Where a split by time cuts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// In milliseconds since 1970; what happens then is asked for.
    At(u64),
    /// After this share of the events, above 0 and below 1; events of the time it
    /// falls on are asked for.
    Share(f64),
}

/// A split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Which.
    pub kind: Kind,
    /// Liked items that a user must have in the part learned from, or the history,
    /// to be asked for; 0 asks for users who are new too.
    pub min_history: u32,
    /// The same seed holds out the same users.
    pub seed: u64,
}

/// The parts of the events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Split {
    /// What is learned from: places in [`Data::events`], by time.
    pub train: Vec<usize>,
    /// What held-out users did before they are asked for, by time. It is known when
    /// they are asked for and not learned from.
    pub history: Vec<usize>,
    /// Who is asked for, by number.
    pub asked: Vec<Asked>,
    /// Users who have liked something and are not asked for.
    pub left_out: u32,
}

/// A user who is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// By number.
    pub user: u32,
    /// Items that must be found, by number, each with what it is worth (the highest
    /// gain of the user's events); at least one.
    pub wanted: Vec<(u32, f32)>,
    /// What the user liked or disliked before, by number: not recommended, and not
    /// wanted.
    pub known: Vec<u32>,
}

/// Splits events.
///
/// # Errors
/// [`Error::Setting`] for a share that is none, [`Error::NoTraining`] and
/// [`Error::NoUsers`] when a part is empty.
pub fn split(data: &Data, config: &Config) -> Result<Split> {
    within(data, (0..data.events.len()).collect(), config)
}

/// Splits the events at some places and passes over the others: of what one split
/// learns from, another gives a part to tune on.
///
/// # Errors
/// As [`split`].
pub fn within(data: &Data, places: Vec<usize>, config: &Config) -> Result<Split> {
    let mut order = places;
    order.sort_by_key(|&at| (event(data, at).map(|event| event.at_ms), at));
    let parts = match config.kind {
        Kind::LeaveLastOut => leave_last_out(data, &order),
        Kind::Time(cut) => by_time(data, order, cut)?,
        Kind::UserHoldout { users, history } => hold_out(data, &order, users, history, config.seed)?,
    };
    finish(data, parts, config.min_history)
}

/// A split that the data came with: events of `train` are learned from, those of
/// `test` asked for. Both are places in [`Data::events`].
///
/// # Errors
/// As [`split`].
pub fn fixed(data: &Data, train: Vec<usize>, test: Vec<usize>, min_history: u32) -> Result<Split> {
    finish(data, Parts { train, history: Vec::new(), test }, min_history)
}

struct Parts {
    train: Vec<usize>,
    history: Vec<usize>,
    test: Vec<usize>,
}

fn event(data: &Data, at: usize) -> Option<&Event> {
    data.events.get(at)
}

/// Events in an order, with their places.
fn events<'a>(data: &'a Data, places: &'a [usize]) -> impl Iterator<Item = (usize, &'a Event)> {
    places.iter().filter_map(|&at| Some((at, event(data, at)?)))
}

/// By user, the items liked, each where it was liked for the first time.
fn first_likings(data: &Data, order: &[usize]) -> HashMap<u32, Vec<usize>> {
    let mut seen = HashSet::new();
    let mut firsts: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, event) in events(data, order).filter(|(_, event)| event.is_contact()) {
        // An item that was disliked first is known all the same.
        if seen.insert((event.user, event.item)) && event.is_liking() {
            firsts.entry(event.user).or_default().push(at);
        }
    }
    firsts
}

fn leave_last_out(data: &Data, order: &[usize]) -> Parts {
    let firsts = first_likings(data, order);
    let last = |user: &u32| firsts.get(user).filter(|firsts| firsts.len() > 1).and_then(|firsts| firsts.last());
    let mut reached = HashSet::new();
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (at, event) in events(data, order) {
        if last(&event.user) == Some(&at) {
            test.push(at);
            reached.insert(event.user);
        } else if !reached.contains(&event.user) {
            train.push(at);
        }
    }
    Parts { train, history: Vec::new(), test }
}

fn by_time(data: &Data, order: Vec<usize>, cut: Cut) -> Result<Parts> {
    let moment = match cut {
        Cut::At(moment) => moment,
        Cut::Share(share) => {
            check_share("the share of a split by time", share)?;
            let at = (share * order.len() as f64) as usize;
            order.get(at).and_then(|&at| event(data, at)).map_or(0, |event| event.at_ms)
        }
    };
    let (train, test) = order.into_iter().partition(|&at| event(data, at).is_some_and(|event| event.at_ms < moment));
    Ok(Parts { train, history: Vec::new(), test })
}

fn hold_out(data: &Data, order: &[usize], users: f64, history: f64, seed: u64) -> Result<Parts> {
    check_share("the share of users held out", users)?;
    check_share("the share of items folded in", history)?;
    let firsts = first_likings(data, order);
    let mut able: Vec<u32> = firsts.iter().filter(|(_, firsts)| firsts.len() > 1).map(|(user, _)| *user).collect();
    able.sort_unstable();
    let count = (users * able.len() as f64).round().max(1.0) as usize;
    draw::shuffle_front(&mut able, count, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
    able.truncate(count);
    // The first event that is asked for of each; what is before it is history.
    let start = |user: u32| {
        let firsts = firsts.get(&user)?;
        let kept = ((history * firsts.len() as f64).round() as usize).clamp(1, firsts.len() - 1);
        Some((user, *firsts.get(kept)?))
    };
    let starts: HashMap<u32, usize> = able.into_iter().filter_map(start).collect();
    let mut reached = HashSet::new();
    let mut parts = Parts { train: Vec::new(), history: Vec::new(), test: Vec::new() };
    for (at, event) in events(data, order) {
        let Some(start) = starts.get(&event.user) else {
            parts.train.push(at);
            continue;
        };
        if *start == at {
            reached.insert(event.user);
        }
        if reached.contains(&event.user) { parts.test.push(at) } else { parts.history.push(at) }
    }
    Ok(parts)
}

fn check_share(name: &'static str, share: f64) -> Result<()> {
    if share > 0.0 && share < 1.0 { Ok(()) } else { setting(name, "above 0 and below 1", share) }
}

/// Who is asked for, and for what.
fn finish(data: &Data, parts: Parts, min_history: u32) -> Result<Split> {
    let Parts { train, history, test } = parts;
    if !events(data, &train).any(|(_, event)| event.is_liking()) {
        let reason = format!("of {} events before the part asked for, none is a liking", train.len());
        return Err(Error::NoTraining(reason));
    }
    let mut known: HashMap<u32, HashMap<u32, bool>> = HashMap::new();
    for (_, event) in events(data, &train).chain(events(data, &history)).filter(|(_, event)| event.is_contact()) {
        let liked = known.entry(event.user).or_default().entry(event.item).or_default();
        *liked |= event.is_liking();
    }
    let mut wanted: HashMap<u32, HashMap<u32, f32>> = HashMap::new();
    for (_, event) in events(data, &test).filter(|(_, event)| event.is_liking()) {
        if !known.get(&event.user).is_some_and(|items| items.contains_key(&event.item)) {
            let gain = wanted.entry(event.user).or_default().entry(event.item).or_default();
            *gain = gain.max(event.gain);
        }
    }
    let all = [&train, &history, &test].into_iter().flat_map(|part| events(data, part));
    let likers: HashSet<u32> = all.filter(|(_, event)| event.is_liking()).map(|(_, event)| event.user).collect();
    let mut asked = Vec::new();
    for (user, items) in wanted {
        let before = known.get(&user);
        let liked = before.map_or(0, |items| items.values().filter(|liked| **liked).count());
        if liked >= min_history as usize {
            let mut known: Vec<u32> = before.into_iter().flat_map(HashMap::keys).copied().collect();
            let mut wanted: Vec<(u32, f32)> = items.into_iter().collect();
            known.sort_unstable();
            wanted.sort_unstable_by_key(|(item, _)| *item);
            asked.push(Asked { user, wanted, known });
        }
    }
    asked.sort_unstable_by_key(|asked| asked.user);
    if asked.is_empty() {
        let reason = format!(
            "{} users have liked something, and none of them something new in the part asked for with at least \
             {min_history} liked items before it",
            likers.len()
        );
        return Err(Error::NoUsers(reason));
    }
    let left_out = likers.len().saturating_sub(asked.len());
    Ok(Split { train, history, asked, left_out: u32::try_from(left_out).unwrap_or(u32::MAX) })
}

impl Split {
    /// At most `users` of those asked for, drawn by the seed; the others are
    /// learned from all the same, and not asked for.
    pub fn sample(&mut self, users: usize, seed: u64) {
        if users < self.asked.len() {
            draw::shuffle_front(&mut self.asked, users, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            self.asked.truncate(users);
            self.asked.sort_unstable_by_key(|asked| asked.user);
        }
    }
}

#[cfg(test)]
mod tests;

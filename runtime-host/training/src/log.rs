//! From an event log to who did how much with what.

use funnelweb_algorithms::Interactions;
use funnelweb_core::{handles::HandleMap, id::handle, limits::HISTORY_EVENTS, scenario::Behaviors};
use funnelweb_factor_events::store::Events;

use crate::{
    context::{Error, Target, blocking},
    follow::Phase,
    limits,
};

/// Entries before they are merged for the first time.
const FIRST_MERGE: usize = 1 << 20;

/// What a user did with an item, all of it together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) user: u32,
    pub(crate) item: u32,
    /// As of `at_s`.
    pub(crate) weight: f32,
    /// When it happened last, in seconds since 1970.
    pub(crate) at_s: u32,
}

/// How much memory a log may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) pairs: usize,
    pub(crate) ids: usize,
}

impl Default for Most {
    fn default() -> Self {
        Self { pairs: limits::PAIRS, ids: limits::IDS }
    }
}

/// The behaviours of a scenario, learned from where their weights sum to more than 0.
#[derive(Debug, Default)]
pub(crate) struct Behaved {
    /// Handles of users, ascending; ids are places in them.
    pub(crate) users: Vec<u64>,
    /// Handles of items, ascending; ids are places in them.
    pub(crate) items: Vec<u64>,
    /// By user and item, with weights as of the newest behaviour.
    pub(crate) entries: Vec<Entry>,
    /// Behaviours that were read, those that weigh nothing excepted.
    pub(crate) events: u64,
    /// The log was read up to here.
    pub(crate) end: u64,
}

impl Behaved {
    /// Users × items.
    pub(crate) fn interactions(&self) -> Result<Interactions, Error> {
        // No more than a u32 counts: they were counted by one.
        let (users, items) = (self.users.len() as u32, self.items.len() as u32);
        let triples = self.entries.iter().map(|entry| (entry.user, entry.item, entry.weight));
        Ok(Interactions::from_triples(users, items, triples)?)
    }
}

/// Which part of a log, and how it counts.
pub(crate) struct Reading<'a> {
    pub(crate) events: &'a dyn Events,
    pub(crate) target: &'a Target,
    pub(crate) behaviors: &'a Behaviors,
    pub(crate) half_life_days: Option<f32>,
    /// Up to this offset; to the end when there is none.
    pub(crate) end: Option<u64>,
}

impl Reading<'_> {
    /// Walks the log once.
    ///
    /// # Errors
    /// [`Error::Data`] when there is more than `most`.
    pub(crate) async fn read(&self, most: Most, phase: &Phase) -> Result<Behaved, Error> {
        let Self { events, target, .. } = self;
        let end = match self.end {
            Some(end) => end,
            // What arrives meanwhile is for the next run.
            None => events.last_offset(&target.tenant).await?,
        };
        let mut gathered = Gathered::new(self.half_life_days, most);
        let mut offset = 0;
        while offset <= end {
            phase.go_on(offset as f32 / end.max(1) as f32)?;
            let page = events.read(&target.tenant, offset, HISTORY_EVENTS).await?;
            let Some(last) = page.last().map(|stored| stored.offset) else { break };
            for stored in page.iter().take_while(|stored| stored.offset <= end) {
                let event = &stored.event;
                if event.scenario_id == target.scenario_id {
                    let weight = self.behaviors.weight(&event.action_type);
                    gathered.add(handle(&event.user_id), handle(&event.item_id), weight, event.timestamp_ms)?;
                }
            }
            gathered = gathered.merged_if_due().await?;
            offset = last + 1;
        }
        blocking(move || gathered.finish(end)).await
    }
}

struct Gathered {
    users: HandleMap<u32>,
    items: HandleMap<u32>,
    entries: Vec<Entry>,
    /// Entries at which they are merged next.
    merge_at: usize,
    half_life_s: Option<f64>,
    newest_s: u32,
    events: u64,
    most: Most,
}

impl Gathered {
    fn new(half_life_days: Option<f32>, most: Most) -> Self {
        Self {
            users: HandleMap::default(),
            items: HandleMap::default(),
            entries: Vec::new(),
            merge_at: FIRST_MERGE.min(2 * most.pairs),
            half_life_s: half_life_days.map(|days| f64::from(days) * 86_400.0),
            newest_s: 0,
            events: 0,
            most,
        }
    }

    fn add(&mut self, user: u64, item: u64, weight: f32, at_ms: u64) -> Result<(), Error> {
        if weight == 0.0 {
            return Ok(());
        }
        let most = self.most.ids;
        let (user, item) =
            (intern(&mut self.users, user, "users", most)?, intern(&mut self.items, item, "items", most)?);
        let at_s = u32::try_from(at_ms / 1000).unwrap_or(u32::MAX);
        self.newest_s = self.newest_s.max(at_s);
        self.events += 1;
        self.entries.push(Entry { user, item, weight, at_s });
        Ok(())
    }

    async fn merged_if_due(mut self) -> Result<Self, Error> {
        if self.entries.len() < self.merge_at {
            return Ok(self);
        }
        blocking(move || {
            self.merge()?;
            Ok(self)
        })
        .await
    }

    /// Puts together what is of one user and item.
    fn merge(&mut self) -> Result<(), Error> {
        // By all there is of them, so that a sum does not depend on the pages.
        self.entries.sort_unstable_by_key(|entry| (entry.user, entry.item, entry.at_s, entry.weight.to_bits()));
        let half_life_s = self.half_life_s;
        self.entries.dedup_by(|next, kept| {
            let same = (next.user, next.item) == (kept.user, kept.item);
            if same {
                kept.weight = next.weight + aged(kept.weight, next.at_s - kept.at_s, half_life_s);
                kept.at_s = next.at_s;
            }
            same
        });
        if self.entries.len() > self.most.pairs {
            let most = self.most.pairs;
            return Err(Error::Data(format!("more than {most} pairs of a user and an item, the limit")));
        }
        self.merge_at = (2 * self.entries.len()).max(FIRST_MERGE.min(2 * self.most.pairs));
        Ok(())
    }

    fn finish(mut self, end: u64) -> Result<Behaved, Error> {
        self.merge()?;
        let (newest_s, half_life_s) = (self.newest_s, self.half_life_s);
        for entry in &mut self.entries {
            entry.weight = aged(entry.weight, newest_s - entry.at_s, half_life_s);
        }
        self.entries.retain(|entry| entry.weight > 0.0);
        let (users, user_ids) = renumbered(&self.users, self.entries.iter().map(|entry| entry.user));
        let (items, item_ids) = renumbered(&self.items, self.entries.iter().map(|entry| entry.item));
        for entry in &mut self.entries {
            entry.user = user_ids.get(entry.user as usize).copied().unwrap_or_default();
            entry.item = item_ids.get(entry.item as usize).copied().unwrap_or_default();
        }
        self.entries.sort_unstable_by_key(|entry| (entry.user, entry.item));
        Ok(Behaved { users, items, entries: self.entries, events: self.events, end })
    }
}

/// A weight `age_s` later.
fn aged(weight: f32, age_s: u32, half_life_s: Option<f64>) -> f32 {
    match half_life_s {
        Some(half_life_s) => (f64::from(weight) * (-f64::from(age_s) / half_life_s).exp2()) as f32,
        None => weight,
    }
}

fn intern(ids: &mut HandleMap<u32>, handle: u64, what: &str, most: usize) -> Result<u32, Error> {
    let next = ids.len();
    if let Some(id) = ids.get(&handle) {
        return Ok(*id);
    }
    if next >= most {
        return Err(Error::Data(format!("more than {most} {what}, the limit")));
    }
    let id = u32::try_from(next).map_err(|_| Error::Data(format!("more {what} than can be numbered")))?;
    ids.insert(handle, id);
    Ok(id)
}

/// The handles that are used, ascending, and from old ids to places in them.
fn renumbered(ids: &HandleMap<u32>, used: impl Iterator<Item = u32>) -> (Vec<u64>, Vec<u32>) {
    let mut is_used = vec![false; ids.len()];
    for id in used {
        if let Some(is_used) = is_used.get_mut(id as usize) {
            *is_used = true;
        }
    }
    let mut pairs: Vec<(u64, u32)> = ids.iter().map(|(handle, id)| (*handle, *id)).collect();
    pairs.retain(|(_, id)| is_used.get(*id as usize).copied().unwrap_or_default());
    pairs.sort_unstable();
    let mut places = vec![0; ids.len()];
    for (place, (_, id)) in (0..).zip(&pairs) {
        if let Some(at) = places.get_mut(*id as usize) {
            *at = place;
        }
    }
    (pairs.into_iter().map(|(handle, _)| handle).collect(), places)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn gathered(half_life_days: Option<f32>, events: &[(u64, u64, f32, u64)]) -> Behaved {
        let mut gathered = Gathered::new(half_life_days, Most::default());
        for &(user, item, weight, day) in events {
            gathered.add(user, item, weight, day * DAY_MS).unwrap();
        }
        gathered.finish(9).unwrap()
    }

    fn weights(behaved: &Behaved) -> Vec<(u64, u64, f32)> {
        let of = |entry: &Entry| (behaved.users[entry.user as usize], behaved.items[entry.item as usize], entry.weight);
        behaved.entries.iter().map(of).collect()
    }

    #[test]
    fn weights_add_up_and_age_from_the_newest() {
        let events = [(7, 1, 2.0, 10), (5, 2, 1.0, 30), (7, 1, 4.0, 20), (5, 1, 1.0, 20)];
        assert_eq!(weights(&gathered(None, &events)), [(5, 1, 1.0), (5, 2, 1.0), (7, 1, 6.0)]);
        assert_eq!(weights(&gathered(Some(10.0), &events)), [(5, 1, 0.5), (5, 2, 1.0), (7, 1, 2.5)]);
        let reversed: Vec<_> = events.iter().rev().copied().collect();
        assert_eq!(weights(&gathered(Some(10.0), &reversed)), [(5, 1, 0.5), (5, 2, 1.0), (7, 1, 2.5)]);
    }

    #[test]
    fn who_or_what_is_not_liked_is_not_numbered() {
        let events = [(1, 10, 1.0, 0), (1, 20, -1.0, 0), (2, 10, 1.0, 0), (2, 10, -3.0, 1), (3, 30, 0.0, 0)];
        let behaved = gathered(None, &events);
        assert_eq!((&*behaved.users, &*behaved.items), (&[1][..], &[10][..]));
        assert_eq!((behaved.events, behaved.entries.len(), behaved.end), (4, 1, 9));
        assert_eq!(behaved.interactions().unwrap().len(), 1);
        assert!(gathered(None, &[]).interactions().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_one_user_repeats_takes_no_memory() {
        let mut gathered = Gathered::new(None, Most { pairs: 10, ids: 100 });
        for at in 0..1000 {
            gathered.add(1, at % 3, 1.0, at * 1000).unwrap();
            gathered = gathered.merged_if_due().await.unwrap();
            assert!(gathered.entries.len() <= 20);
        }
        assert_eq!(weights(&gathered.finish(0).unwrap()), [(1, 0, 334.0), (1, 1, 333.0), (1, 2, 333.0)]);
    }

    #[test]
    fn what_is_too_much_is_an_error_that_says_the_limit() {
        let mut gathered = Gathered::new(None, Most { pairs: 3, ids: 5 });
        for item in 0..4 {
            gathered.add(1, item, 1.0, 0).unwrap();
        }
        assert_eq!(gathered.merge().unwrap_err().to_string(), "more than 3 pairs of a user and an item, the limit");
        let error = (4..9).find_map(|item| gathered.add(1, item, 1.0, 0).err()).unwrap();
        assert_eq!(error.to_string(), "more than 5 items, the limit");
        let most = Most::default();
        assert_eq!((most.pairs, most.ids), (limits::PAIRS, limits::IDS));
    }
}

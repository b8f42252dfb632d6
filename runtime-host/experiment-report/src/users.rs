//! What is kept of each user.

use bincode::{Decode, Encode};
use funnelweb_core::{experiment::Guardrail, handles::HandleMap, id, limits};

use crate::{Error, spread::Times};

/// What an experiment is, as far as a report needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its groups.
    pub groups: Vec<GroupPlan>,
    /// The place of the one that the others are compared with.
    pub control: usize,
    /// How often it may find a difference where there is none, over all looks together.
    pub alpha: f64,
    /// How often it should find one of `effect`.
    pub power: f64,
    /// The least difference of interest, as a share of the control's value.
    pub effect: f64,
    /// What no group may harm.
    pub guardrails: Vec<Guardrail>,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPlan {
    /// Which.
    pub group_id: String,
    /// Its share of the users.
    pub traffic_ratio: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { groups: Vec::new(), control: 0, alpha: 0.05, power: 0.8, effect: 0.05, guardrails: Vec::new() }
    }
}

/// Something that a user did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Act<'a> {
    /// What.
    pub action_type: &'a str,
    /// Of something that was watched.
    pub watch_s: Option<f64>,
    /// What it brought in.
    pub revenue: Option<f64>,
}

impl Act<'static> {
    /// A click.
    #[must_use]
    pub fn click() -> Self {
        Act { action_type: CLICK, watch_s: None, revenue: None }
    }
}

const IMPRESSION: &str = "impression";
pub(crate) const CLICK: &str = "click";
/// Actions that a scenario is there for.
const CONVERSIONS: [&str; 4] = ["purchase", "buy", "order", "conversion"];

/// Whether it is one of those.
pub(crate) fn is_conversion(action_type: &str) -> bool {
    CONVERSIONS.contains(&action_type)
}

/// What is no amount, or more than any could be, was a mistake of whoever sent it.
pub(crate) fn is_amount(amount: &f64) -> bool {
    (0.0..1e9).contains(amount)
}

/// The users of an experiment, from the first slate of it that each was shown. As bytes
/// ([`Encode`]) they are kept from one report to the next, which then reads what is new.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Users {
    by_id: HandleMap<User>,
    /// What slates of each group took.
    times: Vec<Took>,
    /// Whether clients tell what was seen; else what was served counts as that.
    has_impressions: bool,
    begin_is_lost: bool,
    /// Whether there are more users than are kept.
    is_full: bool,
}

/// What slates took.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub(crate) struct Took {
    pub(crate) elapsed: Times,
    pub(crate) cost: Times,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub(crate) struct User {
    /// None of one who was in two: what came of it is of neither.
    pub(crate) group: Option<u8>,
    first_ms: u64,
    /// Slates whose times are known, and those times together.
    pub(crate) timed: u32,
    pub(crate) elapsed_us: u64,
    pub(crate) cost_us: u64,
    pub(crate) served: u32,
    pub(crate) impressions: u32,
    pub(crate) clicks: u32,
    pub(crate) watches: u32,
    pub(crate) watched_s: f64,
    pub(crate) conversions: u32,
    pub(crate) revenue: f64,
    pub(crate) has_revenue: bool,
}

impl Users {
    /// Of nobody yet.
    ///
    /// # Errors
    /// [`Error::Plan`] for fewer than two groups, or a control that is none of them.
    pub fn new(plan: &Plan) -> Result<Self, Error> {
        if plan.groups.len() < 2 || plan.control >= plan.groups.len() {
            let count = plan.groups.len();
            return Err(Error::Plan(format!("there are {count} groups, and the control is number {}", plan.control)));
        }
        Ok(Self {
            by_id: HandleMap::default(),
            times: vec![Took::default(); plan.groups.len()],
            has_impressions: false,
            begin_is_lost: false,
            is_full: false,
        })
    }

    /// Takes a slate of so many items, of a group. A slate comes before what its user did with it.
    pub fn shown(&mut self, user_id: &str, group: usize, at_ms: u64, items: u32) {
        let Some(user) = self.user(user_id, group, at_ms) else { return };
        user.first_ms = user.first_ms.min(at_ms);
        user.served = user.served.saturating_add(items);
    }

    /// Takes what a slate took, in microseconds, of a user to whom it was [`shown`](Self::shown).
    pub fn took(&mut self, user_id: &str, group: usize, elapsed_us: u32, cost_us: u32) {
        let Some(user) = self.by_id.get_mut(&id::handle(user_id)) else { return };
        let Some(times) = self.times.get_mut(group).filter(|_| user.group.map(usize::from) == Some(group)) else {
            return;
        };
        user.timed = user.timed.saturating_add(1);
        user.elapsed_us = user.elapsed_us.saturating_add(elapsed_us.into());
        user.cost_us = user.cost_us.saturating_add(cost_us.into());
        times.elapsed.add(elapsed_us);
        times.cost.add(cost_us);
    }

    /// The user that a slate of a group is of; none of whoever is nobody, of groups that are not
    /// there, and of those who come when no more are kept. Whom that leaves out does not depend on
    /// the group, so that what is said of the others holds.
    fn user(&mut self, user_id: &str, group: usize, at_ms: u64) -> Option<&mut User> {
        if user_id.is_empty() || group >= self.times.len() {
            return None;
        }
        let (handle, group) = (id::handle(user_id), u8::try_from(group).ok()?);
        if self.by_id.len() >= limits::EXPERIMENT_USERS && !self.by_id.contains_key(&handle) {
            self.is_full = true;
            return None;
        }
        let new = || User { group: Some(group), first_ms: at_ms, ..User::default() };
        let user = self.by_id.entry(handle).or_insert_with(new);
        if user.group != Some(group) {
            user.group = None;
        }
        Some(user)
    }

    /// Takes what a user did; what came before its first slate, or of whom none was shown, is not
    /// of the experiment.
    pub fn did(&mut self, user_id: &str, at_ms: u64, act: &Act<'_>) {
        let Some(user) = self.by_id.get_mut(&id::handle(user_id)).filter(|user| user.first_ms <= at_ms) else { return };
        match act.action_type {
            IMPRESSION => {
                user.impressions = user.impressions.saturating_add(1);
                self.has_impressions = true;
            }
            CLICK => user.clicks = user.clicks.saturating_add(1),
            action if is_conversion(action) => user.conversions = user.conversions.saturating_add(1),
            _ => {}
        }
        if let Some(watch_s) = act.watch_s.filter(is_amount) {
            user.watches = user.watches.saturating_add(1);
            user.watched_s += watch_s;
        }
        if let Some(revenue) = act.revenue.filter(is_amount) {
            user.has_revenue = true;
            user.revenue += revenue;
        }
    }

    /// Forgets users, by their handles ([`id::handle`]).
    pub fn forget(&mut self, users: impl IntoIterator<Item = u64>) {
        for user in users {
            self.by_id.remove(&user);
        }
    }

    /// Says that slates of it are kept no more that were not taken.
    pub fn lose_begin(&mut self) {
        self.begin_is_lost = true;
    }

    pub(crate) fn begin_is_lost(&self) -> bool {
        self.begin_is_lost
    }

    /// Those of a group.
    pub(crate) fn of(&self, group: usize) -> impl Iterator<Item = &User> {
        self.by_id.values().filter(move |user| user.group.map(usize::from) == Some(group))
    }

    /// What slates of a group took.
    pub(crate) fn times(&self, group: usize) -> Option<&Took> {
        self.times.get(group)
    }

    pub(crate) fn crossed(&self) -> u64 {
        self.by_id.values().filter(|user| user.group.is_none()).count() as u64
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether clients tell what was seen; none as long as nobody did anything to tell it by.
    pub(crate) fn reports_impressions(&self) -> Option<bool> {
        let has_clicks = || self.by_id.values().any(|user| user.clicks > 0);
        (self.has_impressions || has_clicks()).then_some(self.has_impressions)
    }

    pub(crate) fn has_revenue(&self) -> bool {
        self.by_id.values().any(|user| user.has_revenue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> (Plan, Users) {
        let group = |name: &str| GroupPlan { group_id: name.to_owned(), traffic_ratio: 0.5 };
        let plan = Plan { groups: vec![group("a"), group("b")], ..Plan::default() };
        let users = Users::new(&plan).unwrap();
        (plan, users)
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_and_goes_on() {
        let (_, mut users) = users();
        users.shown("ann", 0, 100, 20);
        users.took("ann", 0, 5000, 3000);
        users.shown("bob", 1, 200, 20);
        users.shown("eve", 0, 100, 20);
        users.shown("eve", 1, 200, 20);
        let bytes = bincode::encode_to_vec(&users, bincode::config::standard()).unwrap();
        let mut read: Users = bincode::decode_from_slice(&bytes, bincode::config::standard()).unwrap().0;
        assert_eq!(read, users);
        // Late, and of somebody who was there before.
        read.did("bob", 250, &Act::click());
        assert_eq!((read.of(1).map(|user| user.clicks).sum::<u32>(), read.crossed()), (1, 1));
        read.forget([id::handle("bob")]);
        assert_eq!((read.of(1).count(), read.of(0).count()), (0, 1));
    }

    #[test]
    fn what_slates_took_counts_for_their_users() {
        let (_, mut users) = users();
        users.took("ann", 0, 1, 1);
        users.shown("ann", 0, 100, 20);
        users.took("ann", 0, 5000, 3000);
        users.took("ann", 0, 7000, 1000);
        users.took("ann", 1, 9, 9);
        let ann = users.of(0).next().unwrap();
        assert_eq!((ann.timed, ann.elapsed_us, ann.cost_us), (2, 12_000, 4000));
        assert_eq!(users.times(0).map(|took| (took.elapsed.count(), took.cost.count())), Some((2, 2)));
    }

    #[test]
    fn beyond_so_many_users_none_is_added() {
        let (_, mut users) = users();
        for user in 0..limits::EXPERIMENT_USERS {
            users.shown(&format!("u{user}"), user % 2, 100, 20);
        }
        assert!(!users.is_full());
        users.shown("one more", 0, 100, 20);
        users.shown("u0", 0, 100, 20);
        assert!(users.is_full() && users.by_id.len() == limits::EXPERIMENT_USERS);
        assert_eq!(users.by_id[&id::handle("u0")].served, 40);
    }
}

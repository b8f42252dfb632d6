//! What is kept of each user.

use std::collections::HashMap;

use funnelweb_core::id;

use crate::Error;

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
        Self { groups: Vec::new(), control: 0, alpha: 0.05, power: 0.8, effect: 0.05 }
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
const CLICK: &str = "click";
/// Actions that a scenario is there for.
const CONVERSIONS: [&str; 4] = ["purchase", "buy", "order", "conversion"];

/// The users of an experiment, from the first slate of it that each was shown.
#[derive(Debug)]
pub struct Users {
    by_id: HashMap<u64, User>,
    groups: usize,
    /// Users who were in two groups: what came of them is of neither.
    crossed: u64,
    /// Whether clients tell what was seen; else what was served counts as that.
    has_impressions: bool,
    begin_is_lost: bool,
}

/// One of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct User {
    /// None of one who was in two.
    pub(crate) group: Option<usize>,
    first_ms: u64,
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
            by_id: HashMap::new(),
            groups: plan.groups.len(),
            crossed: 0,
            has_impressions: false,
            begin_is_lost: false,
        })
    }

    /// Takes a slate of so many items, of a group. All slates come before what users did.
    pub fn shown(&mut self, user_id: &str, group: usize, at_ms: u64, items: u32) {
        // Whoever is nobody, and groups that are not there, tell nothing.
        if user_id.is_empty() || group >= self.groups {
            return;
        }
        let new = || User { group: Some(group), first_ms: at_ms, ..User::default() };
        let user = self.by_id.entry(id::handle(user_id)).or_insert_with(new);
        if user.group.is_some_and(|known| known != group) {
            user.group = None;
            self.crossed += 1;
        }
        user.first_ms = user.first_ms.min(at_ms);
        user.served = user.served.saturating_add(items);
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
            action if CONVERSIONS.contains(&action) => user.conversions = user.conversions.saturating_add(1),
            _ => {}
        }
        // What is no amount, or more than any could be, was a mistake of whoever sent it.
        let is_amount = |amount: &f64| (0.0..1e9).contains(amount);
        if let Some(watch_s) = act.watch_s.filter(is_amount) {
            user.watches = user.watches.saturating_add(1);
            user.watched_s += watch_s;
        }
        if let Some(revenue) = act.revenue.filter(is_amount) {
            user.has_revenue = true;
            user.revenue += revenue;
        }
    }

    /// Says that slates of its begin are kept no more.
    pub fn lose_begin(&mut self) {
        self.begin_is_lost = true;
    }

    pub(crate) fn begin_is_lost(&self) -> bool {
        self.begin_is_lost
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Those of a group.
    pub(crate) fn of(&self, group: usize) -> impl Iterator<Item = &User> {
        self.by_id.values().filter(move |user| user.group == Some(group))
    }

    pub(crate) fn crossed(&self) -> u64 {
        self.crossed
    }

    pub(crate) fn has_impressions(&self) -> bool {
        self.has_impressions
    }

    pub(crate) fn has_revenue(&self) -> bool {
        self.by_id.values().any(|user| user.has_revenue)
    }
}

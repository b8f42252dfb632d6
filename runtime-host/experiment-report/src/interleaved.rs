//! Interleavings: which of two rankings users gave more to, of slates that both drafted.
//!
//! What a user does with an item is the credit of whoever drafted the place where the user was
//! shown it last before, of the last [`limits::INTERLEAVED_PLACES`]; a place is clicked, and
//! converts, once. Each user then has one vote in each metric, for the ranking that they gave more
//! to.

use std::{cmp::Ordering, collections::BTreeMap};

use bincode::{Decode, Encode};
use funnelweb_core::{
    handles::{HandleMap, HandleSet},
    id, limits,
};
use funnelweb_experiment_statistics::{Alpha, Anytime, Interleaved, Interval, Look, Plan, Power};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    users::{Act, CLICK, is_amount, is_conversion},
};

/// What users give credit by.
///
/// | name | what of a place |
/// |---|---|
/// | `clicks` | whether it was clicked |
/// | `watch_time` | seconds for which it was watched |
/// | `conversions` | whether it converted (`purchase`, `buy`, `order`, `conversion`) |
pub const CREDITS: [&str; 3] = ["clicks", "watch_time", "conversions"];

/// What an interleaving is, as far as its report needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Rankings {
    /// The group whose ranking is the control.
    pub control: String,
    /// The other.
    pub treatment: String,
    /// How often it may find a preference where there is none, over all looks together.
    pub alpha: f64,
    /// How often it should find one of `effect`.
    pub power: f64,
    /// The least preference of interest: by how much the share of votes for the treatment differs
    /// from a half.
    pub effect: f64,
}

impl Rankings {
    /// Of these two, looked at as experiments are.
    #[must_use]
    pub fn of(control: String, treatment: String) -> Self {
        Self { control, treatment, alpha: 0.05, power: 0.8, effect: 0.05 }
    }
}

/// Who has drafted a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Team {
    /// Neither ranking.
    Nobody,
    /// The control's.
    Control,
    /// The treatment's.
    Treatment,
}

/// What users of an interleaving were shown and did. As bytes ([`Encode`]) they are kept from one
/// report to the next, which then reads what is new.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Drafts {
    /// The last ones, at most [`limits::INTERLEAVED_PLACES`] and for a while twice as many.
    places: Vec<Place>,
    is_sorted: bool,
    /// All that there were: nobody's, the control's, the treatment's.
    drafted: [u64; 3],
    voters: HandleMap<Voter>,
    begin_is_lost: bool,
    /// Whether there are more users than are kept.
    is_full: bool,
}

/// A place of a slate. There are many of them, so it is small.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
struct Place {
    user: u64,
    /// Of its handle, as much as tells apart what one user is shown.
    item: u32,
    /// In milliseconds since 1970, and in the lowest bits whose it is and what came of it.
    when: u64,
}

/// What one user gave: control and treatment, by metric.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
struct Voter([[f64; 2]; CREDITS.len()]);

impl Place {
    /// Bits below the time.
    const BITS: u32 = 4;
    const TEAM: u64 = 0b11;
    const CLICKED: u64 = 0b100;
    const CONVERTED: u64 = 0b1000;

    /// By whom, what and when: the order in which places are found again.
    fn key(&self) -> (u64, u32, u64) {
        (self.user, self.item, self.when >> Self::BITS)
    }

    /// Which credits it has: the place in [`Voter`].
    fn side(&self) -> Option<usize> {
        usize::try_from(self.when & Self::TEAM).ok()?.checked_sub(1)
    }

    /// Notes that something was done, and says whether it is for the first time.
    fn once(&mut self, what: u64) -> bool {
        let is_first = self.when & what == 0;
        self.when |= what;
        is_first
    }
}

impl Drafts {
    /// Takes a slate that was drafted, place by place. A slate comes before what its user did with
    /// it.
    pub fn shown<'a>(&mut self, user_id: &str, at_ms: u64, places: impl IntoIterator<Item = (&'a str, Team)>) {
        if user_id.is_empty() {
            return;
        }
        let user = id::handle(user_id);
        if self.voters.len() >= limits::EXPERIMENT_USERS && !self.voters.contains_key(&user) {
            self.is_full = true;
            return;
        }
        self.voters.entry(user).or_default();
        for (item_id, team) in places {
            let when = (at_ms << Place::BITS) | team as u64;
            self.places.push(Place { user, item: item(item_id), when });
            self.drafted.iter_mut().skip(team as usize).take(1).for_each(|count| *count += 1);
            self.is_sorted = false;
        }
        if self.places.len() > 2 * limits::INTERLEAVED_PLACES {
            self.drop_oldest();
        }
    }

    /// Takes what a user did with an item; what came of a place that nobody drafted, or of none, is
    /// no credit.
    pub fn did(&mut self, user_id: &str, item_id: &str, at_ms: u64, act: &Act<'_>) {
        self.sort();
        let (user, item) = (id::handle(user_id), item(item_id));
        let behind = self.places.partition_point(|place| place.key() <= (user, item, at_ms));
        let last = behind.checked_sub(1).and_then(|at| self.places.get_mut(at));
        let last = last.filter(|place| (place.user, place.item) == (user, item));
        let (Some(place), Some(voter)) = (last, self.voters.get_mut(&user)) else { return };
        let Some(side) = place.side() else { return };
        let credits = [
            f64::from(u8::from(act.action_type == CLICK && place.once(Place::CLICKED))),
            act.watch_s.filter(is_amount).unwrap_or_default(),
            f64::from(u8::from(is_conversion(act.action_type) && place.once(Place::CONVERTED))),
        ];
        for (given, credit) in voter.0.iter_mut().zip(credits) {
            given.iter_mut().skip(side).take(1).for_each(|sum| *sum += credit);
        }
    }

    /// Forgets users, by their handles ([`id::handle`]).
    pub fn forget(&mut self, users: &HandleSet) {
        self.voters.retain(|user, _| !users.contains(user));
        self.places.retain(|place| !users.contains(&place.user));
    }

    /// Says that slates of it are kept no more that were not taken.
    pub fn lose_begin(&mut self) {
        self.begin_is_lost = true;
    }

    fn sort(&mut self) {
        if !self.is_sorted {
            if self.places.len() > limits::INTERLEAVED_PLACES {
                self.drop_oldest();
            }
            // Of two of one moment the later is the one that was noted later.
            self.places.sort_by_key(Place::key);
            self.is_sorted = true;
        }
    }

    fn drop_oldest(&mut self) {
        let many = self.places.len().saturating_sub(limits::INTERLEAVED_PLACES);
        let mut times: Vec<u64> = self.places.iter().map(|place| place.when).collect();
        let (older, oldest, _) = times.select_nth_unstable(many);
        let oldest = *oldest;
        // Of those of one moment some may stay, and some not.
        let mut too_many = many - older.iter().filter(|when| **when < oldest).count();
        self.places.retain(|place| match place.when.cmp(&oldest) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal if too_many > 0 => {
                too_many -= 1;
                false
            }
            Ordering::Equal => true,
        });
    }
}

/// What of an item's handle tells it apart.
fn item(item_id: &str) -> u32 {
    id::handle(item_id) as u32
}

/// What looks before this one said, which makes it valid to look again: kept from one to the next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DraftLooks {
    /// The least p-value so far, by metric.
    p_values: BTreeMap<String, f64>,
}

/// The report of an interleaving.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preferences {
    /// The group whose ranking is the control.
    pub control: String,
    /// The other.
    pub treatment: String,
    /// Users who were shown a slate that both drafted.
    pub users: u64,
    /// Whose the places of these were.
    pub places: Drafted,
    /// By metric; one that nobody gave any credit by is left out.
    pub preferences: Vec<Preferred>,
    /// How often a preference may be found where there is none, over all looks together.
    pub alpha: f64,
    /// What `days_left` is to find: by how much a share differs from a half.
    pub effect: f64,
    /// Whether some of what it is about was kept no more when it was read: then it is of those who
    /// are known, and nothing is said of chance.
    pub incomplete: bool,
    /// Whether there were more users than are counted: then it is of those who came first.
    pub is_full: bool,
}

/// Places by who drafted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Drafted {
    /// The control: as many as the treatment, but for chance.
    pub control: u64,
    /// The treatment.
    pub treatment: u64,
    /// Those that were explored, and what one ranking had left when the other had nothing.
    pub nobody: u64,
}

/// Which ranking users gave more to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preferred {
    /// By what.
    pub metric: String,
    /// What they gave to the control, in all.
    pub control_credit: f64,
    /// And to the treatment.
    pub treatment_credit: f64,
    /// Users who gave more to the control.
    pub control_users: u64,
    /// Users who gave more to the treatment.
    pub treatment_users: u64,
    /// Users who gave both the same, most of them nothing.
    pub ties: u64,
    /// By how much the treatment is preferred, where a tie is a half: −½ to ½.
    pub preference: f64,
    /// Of those who preferred one, the share of the treatment.
    pub share: f64,
    /// An interval of the share that holds at every look at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Of a share of a half, valid however often it is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Whether it is below the experiment's alpha.
    pub is_significant: bool,
    /// The exact test for who looks once, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_test: Option<Once>,
    /// Days until a share that differs from a half by `effect` would be found, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<u64>,
}

/// The sign test, for one look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Once {
    /// Of the share.
    pub interval: [f64; 2],
    /// Of a share of a half.
    pub p_value: f64,
}

impl Preferences {
    /// Of an interleaving that has run for so many days. What is valid however often it is looked
    /// at is so of data that only grow: where some were lost, it is
    /// [`incomplete`](Self::incomplete).
    ///
    /// # Errors
    /// [`Error::Statistics`] for rankings whose numbers are out of range.
    pub fn new(rankings: &Rankings, drafts: &Drafts, days: f64, looks: &mut DraftLooks) -> Result<Self, Error> {
        let (alpha, power) = (Alpha::new(rankings.alpha)?, Power::new(rankings.power)?);
        let rule = Anytime::for_effect(alpha, power, rankings.effect)?;
        // Of a vote that is either, the variance is a quarter.
        let needed = Plan { effect: rankings.effect, alpha, power, look: Look::Anytime }.paired_users(0.25)?;
        let [nobody, control, treatment] = drafts.drafted;
        let mut preferences = Vec::new();
        for (at, metric) in CREDITS.iter().enumerate() {
            let (mut users, mut sums) = (Interleaved::default(), [0.0, 0.0]);
            for [of_control, of_treatment] in drafts.voters.values().filter_map(|voter| voter.0.get(at)) {
                users.add(*of_treatment, *of_control)?;
                sums = [sums[0] + of_control, sums[1] + of_treatment];
            }
            let Ok(signs) = users.sign_test(alpha) else { continue };
            let mut preferred = Preferred {
                metric: (*metric).to_owned(),
                control_credit: sums[0],
                treatment_credit: sums[1],
                control_users: signs.control,
                treatment_users: signs.treatment,
                ties: signs.ties,
                preference: signs.preference(),
                share: signs.share,
                interval: None,
                p_value: None,
                is_significant: false,
                sign_test: None,
                days_left: None,
            };
            if !drafts.begin_is_lost {
                let before = looks.p_values.get(*metric).copied().unwrap_or(1.0);
                let reading = users.anytime(&rule, before)?;
                preferred.interval = Some(ends(reading.interval));
                preferred.p_value = Some(reading.p_value);
                preferred.is_significant = reading.p_value < rankings.alpha;
                preferred.sign_test = Some(Once { interval: ends(signs.interval), p_value: signs.p_value });
                preferred.days_left = days_left(signs.control + signs.treatment, needed, days);
                looks.p_values.insert((*metric).to_owned(), reading.p_value);
            }
            preferences.push(preferred);
        }
        Ok(Self {
            control: rankings.control.clone(),
            treatment: rankings.treatment.clone(),
            users: drafts.voters.len() as u64,
            places: Drafted { control, treatment, nobody },
            preferences,
            alpha: rankings.alpha,
            effect: rankings.effect,
            incomplete: drafts.begin_is_lost,
            is_full: drafts.is_full,
        })
    }
}

/// As [`funnelweb_experiment_statistics::Users::days_left`], of votes.
fn days_left(have: u64, needed: u64, days: f64) -> Option<u64> {
    let left = needed.saturating_sub(have) as f64 * days / have as f64;
    (days > 0.0 && left.is_finite()).then_some(left.ceil() as u64)
}

fn ends(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

#[cfg(test)]
mod tests;

//! One request with two slates, and many of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use funnelweb_experiment_statistics::{Counterfactual, Error, Impression, Pair};

use crate::report::{Both, Ctr, Latency, Measured, Report};

/// Weights of impressions are cut here: without it a click far down decides alone.
const CLIP: f64 = 10.0;

/// A slate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slate {
    /// Best first.
    pub items: Vec<String>,
    /// Of each item its category; those without one are of none together.
    pub categories: Vec<Option<String>>,
    /// How long it took, in microseconds.
    pub elapsed_us: u32,
}

/// A request that was run again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compared {
    /// Whose it was.
    pub user_id: String,
    /// What was shown.
    pub then: Slate,
    /// What the change makes.
    pub now: Slate,
    /// Of each item of `then` whether it was clicked.
    pub clicked: Vec<bool>,
}

/// How likely an item is looked at in a place, from 1: 1/k, the position-based model with
/// η = 1 (Joachims, Swaminathan and Schnabel, "Unbiased Learning-to-Rank with Biased Feedback",
/// WSDM 2017). An item that was shown in place k and clicked would be clicked in place m
/// p(m)/p(k) times as often. What was not shown then has nothing to be judged by and counts as
/// never clicked: with little [`Ctr::covered`] the estimate is too low.
#[must_use]
pub fn examination(place: usize) -> f64 {
    1.0 / place.max(1) as f64
}

/// What requests that were run again have come to so far.
#[derive(Debug, Default)]
pub struct Comparison {
    requests: u64,
    same_slates: u64,
    users: BTreeMap<String, User>,
    elapsed_us: Both<Vec<u32>>,
}

/// Sums of one user's requests, each with how many there are.
#[derive(Debug, Default)]
struct User {
    overlap: (f64, f64),
    correlation: (f64, f64),
    diversity: Both<(f64, f64)>,
    clicks: f64,
    covered: f64,
    impressions: Vec<Impression>,
}

impl Comparison {
    /// Adds a request.
    ///
    /// # Errors
    /// Never, as long as slates are what they are said to be: those of numbers out of range.
    pub fn add(&mut self, compared: &Compared) -> Result<(), Error> {
        let Compared { user_id, then, now, clicked } = compared;
        self.requests += 1;
        self.same_slates += u64::from(then.items == now.items);
        self.elapsed_us.then.push(then.elapsed_us);
        self.elapsed_us.now.push(now.elapsed_us);
        let user = self.users.entry(user_id.clone()).or_default();
        let places: HashMap<&str, usize> = now.items.iter().map(String::as_str).zip(1..).collect();
        let count = |sum: &mut (f64, f64), value: Option<f64>| {
            if let Some(value) = value {
                *sum = (sum.0 + value, sum.1 + 1.0);
            }
        };
        count(&mut user.overlap, overlap(then, now));
        count(&mut user.correlation, correlation(then, &places));
        count(&mut user.diversity.then, diversity(then));
        count(&mut user.diversity.now, diversity(now));
        for ((item, clicked), place) in then.items.iter().zip(clicked).zip(1..) {
            let target = places.get(item.as_str()).map_or(0.0, |place| examination(*place));
            let reward = f64::from(u8::from(*clicked));
            user.clicks += reward;
            user.covered += f64::from(u8::from(target > 0.0));
            user.impressions.push(Impression { reward, logged: examination(place), target });
        }
        Ok(())
    }

    /// What it comes to.
    ///
    /// # Errors
    /// Those of numbers out of range.
    pub fn report(&self) -> Result<Report, Error> {
        let ratio = |of: &dyn Fn(&User) -> (f64, f64)| -> Result<Option<Measured>, Error> {
            let (mut pair, mut sum, mut counted) = (Pair::default(), 0.0, 0.0);
            for (value, count) in self.users.values().map(of).filter(|(_, count)| *count > 0.0) {
                pair.add(value, count)?;
                (sum, counted) = (sum + value, counted + count);
            }
            // One user has a value, and no interval.
            let alone = (counted > 0.0).then(|| Measured { value: sum / counted, interval: None });
            Ok(Measured::of(pair.ratio()).or(alone))
        };
        let diversity = Both { then: ratio(&|user| user.diversity.then)?, now: ratio(&|user| user.diversity.now)? };
        Ok(Report {
            requests: self.requests,
            users: self.users.len() as u64,
            same_slates: self.same_slates,
            overlap: ratio(&|user| user.overlap)?,
            rank_correlation: ratio(&|user| user.correlation)?,
            diversity,
            latency_ms: Both { then: Latency::of(&self.elapsed_us.then), now: Latency::of(&self.elapsed_us.now) },
            ctr: self.ctr()?,
        })
    }

    /// None when nothing was clicked: then nothing can be told.
    fn ctr(&self) -> Result<Option<Ctr>, Error> {
        let mut then = Pair::default();
        let mut now = Counterfactual::new(Some(CLIP))?;
        let (mut clicks, mut impressions, mut covered) = (0.0, 0.0, 0.0);
        for user in self.users.values().filter(|user| !user.impressions.is_empty()) {
            let shown = user.impressions.len() as f64;
            then.add(user.clicks, shown)?;
            now.add(user.impressions.iter().copied())?;
            (clicks, impressions, covered) = (clicks + user.clicks, impressions + shown, covered + user.covered);
        }
        let (Some(then), Some(estimate)) = (Measured::of(then.ratio()), Measured::of(now.ips())) else {
            return Ok(None);
        };
        Ok((clicks > 0.0).then(|| Ctr {
            then,
            now: estimate,
            impressions: impressions as u64,
            clicks: clicks as u64,
            covered: covered / impressions,
            effective_impressions: now.weights().map_or(0.0, |weights| weights.effective),
        }))
    }
}

/// The items that both have, as a share of the longer one; 1 for two that are empty.
fn overlap(then: &Slate, now: &Slate) -> Option<f64> {
    let longer = then.items.len().max(now.items.len());
    if longer == 0 {
        return Some(1.0);
    }
    let known: HashSet<&String> = then.items.iter().collect();
    let both = now.items.iter().filter(|item| known.contains(item)).count();
    Some(both as f64 / longer as f64)
}

/// Of the items that both have; none of fewer than two.
fn correlation(then: &Slate, places: &HashMap<&str, usize>) -> Option<f64> {
    let common: Vec<usize> = then.items.iter().filter_map(|item| places.get(item.as_str()).copied()).collect();
    let pairs =
        common.iter().enumerate().flat_map(|(at, one)| common.iter().skip(at + 1).map(move |other| one < other));
    let (mut in_order, mut count) = (0_u64, 0_u64);
    for is_in_order in pairs {
        (in_order, count) = (in_order + u64::from(is_in_order), count + 1);
    }
    (count > 0).then(|| (2.0 * in_order as f64 - count as f64) / count as f64)
}

/// None of a slate with fewer than two items.
fn diversity(slate: &Slate) -> Option<f64> {
    let count = slate.categories.len() as f64;
    if slate.categories.len() < 2 {
        return None;
    }
    let mut sizes: HashMap<&Option<String>, f64> = HashMap::new();
    slate.categories.iter().for_each(|category| *sizes.entry(category).or_default() += 1.0);
    let alike: f64 = sizes.values().map(|size| size * (size - 1.0)).sum();
    Some(1.0 - alike / (count * (count - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slate(items: &[&str]) -> Slate {
        Slate {
            items: items.iter().map(|item| (*item).to_owned()).collect(),
            categories: vec![None; items.len()],
            elapsed_us: 1000,
        }
    }

    fn compared(user: usize, then: &[&str], now: &[&str], clicked: &[bool]) -> Compared {
        Compared { user_id: format!("u{user}"), then: slate(then), now: slate(now), clicked: clicked.to_vec() }
    }

    fn report(all: &[Compared]) -> Report {
        let mut comparison = Comparison::default();
        all.iter().for_each(|one| comparison.add(one).unwrap());
        comparison.report().unwrap()
    }

    #[test]
    fn slates_are_compared_item_by_item() {
        assert_eq!(overlap(&slate(&["a", "b"]), &slate(&["b", "c", "d"])), Some(1.0 / 3.0));
        assert_eq!(overlap(&slate(&[]), &slate(&[])), Some(1.0));
        assert_eq!(overlap(&slate(&["a"]), &slate(&[])), Some(0.0));
        let tau = |then: &[&str], now: &[&str]| {
            let now = slate(now);
            let places = now.items.iter().map(String::as_str).zip(1..).collect();
            correlation(&slate(then), &places)
        };
        assert_eq!(tau(&["a", "b", "c"], &["a", "b", "c"]), Some(1.0));
        assert_eq!(tau(&["a", "b", "c"], &["c", "b", "a"]), Some(-1.0));
        // One pair of three is the other way round.
        assert_eq!(tau(&["a", "b", "c"], &["a", "c", "b"]), Some(1.0 / 3.0));
        assert_eq!(tau(&["a", "b", "c"], &["x", "c", "y"]), None);
    }

    #[test]
    fn pairs_of_different_categories_are_counted() {
        let of = |categories: &[&str]| {
            let categories: Vec<_> = categories.iter().map(|name| Some((*name).to_owned())).collect();
            diversity(&Slate { categories, ..Slate::default() })
        };
        assert_eq!(of(&["a"]), None);
        assert_eq!(of(&["a", "a"]), Some(0.0));
        assert_eq!(of(&["a", "b", "c"]), Some(1.0));
        // Of six pairs two are alike.
        assert!((of(&["a", "a", "b", "b"]).unwrap() - 4.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn the_same_slates_have_the_same_ctr() {
        let items = ["a", "b", "c"];
        let all: Vec<_> =
            (0..40).map(|user| compared(user, &items, &items, &[user % 2 == 0, false, user % 5 == 0])).collect();
        let report = report(&all);
        let ctr = report.ctr.unwrap();
        assert!((ctr.then.value - ctr.now.value).abs() < 1e-12);
        assert_eq!((report.same_slates, ctr.clicks, ctr.impressions, ctr.covered), (40, 28, 120, 1.0));
        assert!(ctr.now.interval.unwrap()[0] < ctr.now.value);
    }

    #[test]
    fn what_is_clicked_counts_for_the_place_that_it_would_have() {
        // Clicked in place 2, would be in place 1, where it is looked at twice as often.
        let up: Vec<_> = (0..20).map(|user| compared(user, &["a", "b"], &["b", "a"], &[false, true])).collect();
        let ctr = report(&up).ctr.unwrap();
        assert!((ctr.then.value - 0.5).abs() < 1e-12 && (ctr.now.value - 1.0).abs() < 1e-12, "{ctr:?}");
        // What would not be shown is not clicked.
        let gone: Vec<_> = (0..20).map(|user| compared(user, &["a", "b"], &["c", "a"], &[false, true])).collect();
        let ctr = report(&gone).ctr.unwrap();
        assert_eq!((ctr.now.value, ctr.covered), (0.0, 0.5));
    }

    #[test]
    fn a_click_from_far_down_is_cut() {
        let then: Vec<String> = (0..50).map(|at| format!("i{at}")).collect();
        let then: Vec<&str> = then.iter().map(String::as_str).collect();
        let mut now = then.clone();
        now.rotate_right(1);
        let mut clicked = vec![false; 50];
        clicked[49] = true;
        let all: Vec<_> = (0..20).map(|user| compared(user, &then, &now, &clicked)).collect();
        let ctr = report(&all).ctr.unwrap();
        assert!((ctr.now.value - CLIP / 50.0).abs() < 1e-9, "{ctr:?}");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let empty = report(&[]);
        assert_eq!((empty.requests, empty.overlap, empty.ctr), (0, None, None));
        let unseen = report(&[compared(1, &["a"], &["a"], &[false])]);
        assert_eq!(unseen.ctr, None);
        assert_eq!(unseen.overlap.unwrap().interval, None, "one user has no interval");
    }
}

//! Which behaviour belongs to which shown item: to the latest one before it, of the same
//! user and item, unless that one's window has ended. One that names its request belongs to
//! none of another's.

use funnelweb_core::id;

/// An item that was shown: 24 bytes, whatever its features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exposure {
    /// Of user and item.
    pair: u64,
    shown_at_ms: u64,
    /// Tells apart what was shown at once.
    request: u64,
}

/// A behaviour, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Behavior<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) item_id: &'a str,
    pub(crate) at_ms: u64,
    pub(crate) click: bool,
    pub(crate) conversion: bool,
    /// Seconds.
    pub(crate) watched_s: f32,
    /// The handle of the request whose slate it is about, when it says so.
    pub(crate) request: Option<u64>,
}

/// What came of an item that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Labels {
    /// Whether there is any behaviour.
    pub(crate) seen: bool,
    pub(crate) click: bool,
    pub(crate) conversion: bool,
    /// Seconds.
    pub(crate) watch_time: f32,
    /// Behaviours that came too late for its part.
    pub(crate) cut: u64,
}

/// A behaviour of an exposure.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// Its place.
    exposure: usize,
    at_ms: u64,
    watched_s: f32,
    click: bool,
    conversion: bool,
}

/// Attributes behaviours.
pub(crate) struct Join {
    window_ms: u64,
    exposures: Vec<Exposure>,
    outcomes: Vec<Outcome>,
}

/// All behaviours, attributed.
pub(crate) struct Joined {
    exposures: Vec<Exposure>,
    /// By their exposure.
    outcomes: Vec<Outcome>,
}

impl Exposure {
    pub(crate) fn new(user_id: &str, item_id: &str, shown_at_ms: u64, request: u64) -> Self {
        Self { pair: pair(user_id, item_id), shown_at_ms, request }
    }
}

/// Ids have no blanks.
fn pair(user_id: &str, item_id: &str) -> u64 {
    id::handle(&format!("{user_id} {item_id}"))
}

impl Join {
    pub(crate) fn new(mut exposures: Vec<Exposure>, window_ms: u64) -> Self {
        exposures.sort_unstable();
        // Two that are the same have the same behaviours.
        exposures.dedup();
        Self { window_ms, exposures, outcomes: Vec::new() }
    }

    /// Whether it belongs to something.
    pub(crate) fn add(&mut self, behavior: &Behavior<'_>) -> bool {
        let Behavior { at_ms, click, conversion, watched_s, .. } = *behavior;
        let key = (pair(behavior.user_id, behavior.item_id), at_ms);
        let later = self.exposures.partition_point(|exposure| (exposure.pair, exposure.shown_at_ms) <= key);
        let before = self.exposures.iter().enumerate().take(later).rev();
        let is_open = |exposure: &Exposure| exposure.pair == key.0 && at_ms - exposure.shown_at_ms < self.window_ms;
        let mut open = before.take_while(|(_, exposure)| is_open(exposure));
        let meant = |exposure: &Exposure| behavior.request.is_none_or(|request| request == exposure.request);
        let Some((exposure, _)) = open.find(|(_, exposure)| meant(exposure)) else { return false };
        self.outcomes.push(Outcome { exposure, at_ms, watched_s, click, conversion });
        true
    }

    pub(crate) fn finish(self) -> Joined {
        let Self { exposures, mut outcomes, .. } = self;
        outcomes.sort_by_key(|outcome| (outcome.exposure, outcome.at_ms));
        Joined { exposures, outcomes }
    }
}

impl Joined {
    /// What came of it before a moment.
    pub(crate) fn labels(&self, exposure: &Exposure, before_ms: u64) -> Labels {
        let mut labels = Labels::default();
        let Ok(place) = self.exposures.binary_search(exposure) else { return labels };
        let from = self.outcomes.partition_point(|outcome| outcome.exposure < place);
        let outcomes = self.outcomes.iter().skip(from).take_while(|outcome| outcome.exposure == place);
        for outcome in outcomes {
            if outcome.at_ms >= before_ms {
                labels.cut += 1;
                continue;
            }
            labels.seen = true;
            labels.click |= outcome.click;
            labels.conversion |= outcome.conversion;
            labels.watch_time += outcome.watched_s;
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW_MS: u64 = 100;

    fn click(user_id: &'static str, item_id: &'static str, at_ms: u64) -> Behavior<'static> {
        Behavior { user_id, item_id, at_ms, click: true, conversion: false, watched_s: 1.0, request: None }
    }

    /// How many of these behaviours each of these exposures has: its time and request.
    fn counts<const N: usize>(shown: [(u64, u64); N], behaviors: &[Behavior<'_>]) -> [u32; N] {
        let exposures = shown.map(|(at, request)| Exposure::new("ann", "tea", at, request));
        let mut join = Join::new(exposures.to_vec(), WINDOW_MS);
        for behavior in behaviors {
            join.add(behavior);
        }
        let joined = join.finish();
        exposures.map(|exposure| joined.labels(&exposure, u64::MAX).watch_time as u32)
    }

    #[test]
    fn a_behaviour_belongs_to_the_latest_exposure_before_it() {
        let at = |at_ms| click("ann", "tea", at_ms);
        assert_eq!(counts([(1000, 1)], &[at(999), at(1000), at(1099), at(1100)]), [2]);
        assert_eq!(counts([(1050, 2), (1000, 1)], &[at(1049), at(1050), at(1120), at(1150)]), [2, 1]);
        // Of two at once, one has it.
        assert_eq!(counts([(1000, 1), (1000, 2)], &[at(1010)]), [0, 1]);
    }

    #[test]
    fn a_behaviour_that_names_its_request_belongs_to_no_other() {
        let at = |at_ms, request| Behavior { request: Some(request), ..click("ann", "tea", at_ms) };
        let shown = [(1000, 1), (1050, 2)];
        assert_eq!(counts(shown, &[at(1060, 1), at(1060, 2), at(1061, 2)]), [1, 2]);
        // Its slate is not logged, or its window has ended, or it was shown later.
        assert_eq!(counts(shown, &[at(1060, 3), at(1100, 1), at(1049, 2)]), [0, 0]);
        // Of two with one id it is the latest before it.
        assert_eq!(counts([(1000, 1), (1050, 1)], &[at(1049, 1), at(1050, 1), at(1099, 1), at(1150, 1)]), [1, 2]);
    }

    #[test]
    fn others_behaviours_are_not_it() {
        assert_eq!(counts([(1000, 1)], &[click("bob", "tea", 1010), click("ann", "cup", 1010)]), [0]);
    }

    #[test]
    fn labels_are_what_happened_in_time() {
        let exposure = Exposure::new("ann", "tea", 1000, 1);
        let mut join = Join::new(vec![exposure], WINDOW_MS);
        let impression = Behavior { click: false, watched_s: 0.0, ..click("ann", "tea", 1001) };
        assert!(join.add(&Behavior { conversion: true, watched_s: 30.0, ..click("ann", "tea", 1060) }));
        assert!(join.add(&click("ann", "tea", 1020)));
        assert!(join.add(&impression));
        assert!(!join.add(&click("ann", "tea", 1100)));
        let joined = join.finish();
        let seen = Labels { seen: true, cut: 2, ..Labels::default() };
        assert_eq!(joined.labels(&exposure, 1001), Labels { cut: 3, ..Labels::default() });
        assert_eq!(joined.labels(&exposure, 1020), seen);
        let clicked = Labels { click: true, watch_time: 1.0, cut: 1, ..seen };
        assert_eq!(joined.labels(&exposure, 1021), clicked);
        let bought = Labels { conversion: true, watch_time: 31.0, cut: 0, ..clicked };
        assert_eq!(joined.labels(&exposure, u64::MAX), bought);
        assert_eq!(joined.labels(&Exposure::new("ann", "cup", 1000, 1), u64::MAX), Labels::default());
    }

    proptest! {
        /// The join is what a loop over everything would find.
        #[test]
        fn each_behaviour_belongs_to_one_exposure(
            shown in proptest::collection::btree_set((0..3usize, 0..3usize, 0..500u64), 0..30),
            done in proptest::collection::vec((0..3usize, 0..3usize, 0..700u64), 0..60),
        ) {
            const USERS: [&str; 3] = ["ann", "bob", "eve"];
            const ITEMS: [&str; 3] = ["tea", "cup", "pot"];
            let exposures: Vec<Exposure> = shown
                .iter()
                .zip(0..)
                .map(|(&(user, item, at), request)| Exposure::new(USERS[user], ITEMS[item], at, request))
                .collect();
            let mut expected = vec![0; exposures.len()];
            let mut join = Join::new(exposures.clone(), WINDOW_MS);
            let mut attributed = 0;
            for &(user, item, at) in &done {
                let before = |of: &&(usize, usize, u64)| (of.0, of.1) == (user, item) && of.2 <= at;
                let latest = shown.iter().filter(before).max_by_key(|of| of.2).filter(|of| at < of.2 + WINDOW_MS);
                if let Some(latest) = latest {
                    expected[shown.iter().position(|of| of == latest).unwrap()] += 1;
                }
                attributed += u32::from(join.add(&click(USERS[user], ITEMS[item], at)));
            }
            let joined = join.finish();
            let found: Vec<u32> =
                exposures.iter().map(|exposure| joined.labels(exposure, u64::MAX).watch_time as u32).collect();
            prop_assert_eq!(attributed, found.iter().sum::<u32>());
            prop_assert_eq!(found, expected);
        }
    }
}

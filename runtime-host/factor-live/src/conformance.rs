//! The suite that every backend of [`Live`] must pass: each sentence of
//! `wit/capabilities/live.wit` has a check here.
//!
//! Hot lists and counters are changed by events only, so what fills them comes
//! with the backend: [`Suite::add_hot`], [`Suite::add_count`]. Every check works
//! in tenants of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

use std::{collections::HashSet, future::Future, pin::Pin};

use funnelweb_core::{counter::SERVED_PLACES, id::handle, limits};
use futures::TryStreamExt as _;

use crate::served::WRITE_AFTER;
use crate::store::{CountAdd, Counters, Error, Exposed, Hot, HotAdd, Live, LiveEffects, Scored, Tenant, Whole};

/// A change that is applied when it resolves.
pub type Change = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Adds a weight to an item in the scenario `feed`: item id, weight, time in
/// milliseconds; the half-life is an hour.
pub type AddHot<'a> = &'a (dyn Fn(&Tenant, &str, f64, u64) -> Change + Sync);
/// Adds to a counter: item id, field, amount.
pub type AddCount<'a> = &'a (dyn Fn(&Tenant, &str, &str, f64) -> Change + Sync);

/// A backend under test, its clock, and what fills it.
pub struct Suite<'a> {
    /// The backend.
    pub live: &'a dyn Live,
    /// Moves the backend's clock on by so many milliseconds.
    pub advance: &'a (dyn Fn(u64) + Sync),
    /// See [`AddHot`].
    pub add_hot: AddHot<'a>,
    /// See [`AddCount`].
    pub add_count: AddCount<'a>,
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

const HOUR_MS: u64 = 3_600_000;

fn is_invalid<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) {
    match result {
        Err(Error::Invalid(message)) => assert!(message.contains(name), "{message} does not name {name}"),
        other => panic!("expected invalid({name}), got {other:?}"),
    }
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.hot_lists_decay_and_order().await;
        self.exposures_are_seen_at_once_and_expire().await;
        self.the_oldest_exposures_go_first().await;
        self.counters_add_up().await;
        self.places_served_are_counted().await;
        self.tenants_are_apart().await;
        self.names_with_colons_are_apart().await;
        self.limits_are_errors_that_name_the_argument().await;
        self.concurrent_changes_lose_nothing().await;
        self.places_of_many_at_once_are_all_counted().await;
        self.what_was_walked_is_restored_as_it_was().await;
        self.a_walk_gives_everything_once().await;
        self.what_cannot_be_restored_is_refused().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    async fn top(&self, t: &Tenant, limit: u32, exclude: &[&str], now_ms: u64) -> Scored {
        let exclude = exclude.iter().map(|id| handle(id)).collect();
        self.live.hot_top(t, "feed".to_owned(), limit, exclude, now_ms).await.unwrap()
    }

    async fn shown(&self, t: &Tenant, user: &str) -> HashSet<u64> {
        let shown = self.live.exposed(t, "feed".to_owned(), user.to_owned()).await.unwrap();
        let set: HashSet<u64> = shown.iter().copied().collect();
        assert_eq!(set.len(), shown.len(), "a handle stands in the list once");
        set
    }

    async fn show(&self, t: &Tenant, user: &str, items: &[&str], ttl_s: u32) {
        let items = items.iter().map(|&item| item.to_owned()).collect();
        self.live.expose(t, "feed".to_owned(), Some(user.to_owned()), items, ttl_s).await.unwrap();
    }

    async fn hot_lists_decay_and_order(&self) {
        let t = &self.tenant("hot");
        assert_eq!(self.top(t, 10, &[], 0).await, Scored::default());
        let now_ms = 1_000 * HOUR_MS;
        // Before and after it was asked for the first time.
        (self.add_hot)(t, "a", 8.0, now_ms).await;
        (self.add_hot)(t, "b", 3.0, now_ms + 2 * HOUR_MS).await;
        let later_ms = now_ms + 2 * HOUR_MS;
        let top = self.top(t, 10, &[], later_ms).await;
        assert_eq!(top, Scored { handles: vec![handle("b"), handle("a")], scores: vec![3.0, 2.0] });
        // An event that comes late counts what it would have by now.
        (self.add_hot)(t, "a", 8.0, now_ms).await;
        (self.add_hot)(t, "c", -1.0, later_ms).await;
        let top = self.top(t, 2, &[], later_ms).await;
        assert_eq!(top, Scored { handles: vec![handle("a"), handle("b")], scores: vec![4.0, 3.0] });
        let top = self.top(t, 2, &["a"], later_ms + HOUR_MS).await;
        // `c` is worth less than nothing.
        assert_eq!(top, Scored { handles: vec![handle("b")], scores: vec![1.5] });
        let handles = vec![handle("c"), handle("nobody"), handle("a")];
        let scores = self.live.hot_scores(t, "feed".to_owned(), handles, later_ms).await.unwrap();
        assert_eq!(scores, [-1.0, 0.0, 4.0]);
        // Ages later: the new is alone worth anything, and all is finite.
        let ages_ms = later_ms + 5_000 * HOUR_MS;
        (self.add_hot)(t, "d", 1.0, ages_ms).await;
        let top = self.top(t, 10, &[], ages_ms).await;
        assert_eq!(top.handles.first(), Some(&handle("d")));
        assert_eq!(top.scores.first(), Some(&1.0));
        assert!(top.scores.iter().all(|score| score.is_finite()));
        assert_eq!(self.live.hot_top(t, "other".to_owned(), 5, vec![], 0).await.unwrap(), Scored::default());
    }

    async fn exposures_are_seen_at_once_and_expire(&self) {
        let t = &self.tenant("exposed");
        let set = |ids: &[&str]| ids.iter().map(|id| handle(id)).collect::<HashSet<_>>();
        // Written before the first reading, and after.
        self.show(t, "ann", &["a", "b"], 10).await;
        assert_eq!(self.shown(t, "ann").await, set(&["a", "b"]));
        (self.advance)(6_000);
        self.show(t, "ann", &["b", "c"], 10).await;
        assert_eq!(self.shown(t, "ann").await, set(&["a", "b", "c"]));
        assert!(self.shown(t, "bob").await.is_empty());
        (self.advance)(5_000);
        // From when it was last added: `a` is gone, `b` is not.
        assert_eq!(self.shown(t, "ann").await, set(&["b", "c"]));
        (self.advance)(5_000);
        assert!(self.shown(t, "ann").await.is_empty());
        self.show(t, "ann", &[], 10).await;
        assert!(self.shown(t, "ann").await.is_empty());
        self.show(t, "ann", &["a"], 100).await;
        self.live.expose(t, "other".to_owned(), Some("ann".to_owned()), vec!["z".to_owned()], 100).await.unwrap();
        assert_eq!(self.shown(t, "ann").await, set(&["a"]));
    }

    async fn the_oldest_exposures_go_first(&self) {
        let t = &self.tenant("oldest");
        let each = 1000;
        for call in 0..=(limits::EXPOSURES / each) {
            let items: Vec<String> = (0..each).map(|at| format!("i{}", call * each + at)).collect();
            self.live.expose(t, "feed".to_owned(), Some("ann".to_owned()), items, 3600).await.unwrap();
        }
        // What is not written yet may stand beside; what was shown last is there.
        let shown = self.shown(t, "ann").await;
        assert!(shown.contains(&handle("i10999")));
        self.show(t, "ann", &["last"], 3600).await;
        assert!(self.shown(t, "ann").await.contains(&handle("last")));
    }

    async fn counters_add_up(&self) {
        let t = &self.tenant("counters");
        let fields = || vec!["view_count".to_owned(), "like_count".to_owned()];
        let read = async || {
            let handles = ["a", "nobody", "b"].map(handle).to_vec();
            self.live.item_stats(t, "feed".to_owned(), handles, fields()).await.unwrap()
        };
        assert_eq!(read().await, [0.0; 6]);
        (self.add_count)(t, "a", "view_count", 1.0).await;
        (self.add_count)(t, "a", "view_count", 2.0).await;
        assert_eq!(read().await, [3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        (self.add_count)(t, "b", "like_count", -0.5).await;
        (self.add_count)(t, "a", "like_count", 1.0).await;
        assert_eq!(read().await, [3.0, 1.0, 0.0, 0.0, 0.0, -0.5]);
        assert_eq!(self.live.item_stats(t, "feed".to_owned(), vec![1], vec![]).await.unwrap(), [0.0; 0]);
    }

    /// How many places items were given. Of what is just being written more may be seen
    /// for a moment, never less.
    async fn served(&self, t: &Tenant, items: &[&str], expected: &[f64]) {
        let handles: Vec<u64> = items.iter().map(|item| handle(item)).collect();
        for _ in 0..100 {
            let fields = vec![SERVED_PLACES.to_owned()];
            let counts = self.live.item_stats(t, "feed".to_owned(), handles.clone(), fields).await.unwrap();
            if counts == expected {
                return;
            }
            assert!(counts.iter().zip(expected).all(|(count, expected)| count >= expected), "{counts:?}: {expected:?}");
            tokio::time::sleep(WRITE_AFTER / 20).await;
        }
        panic!("{items:?} never have {expected:?}");
    }

    async fn places_served_are_counted(&self) {
        let t = &self.tenant("served");
        let serve = async |user: Option<&str>, items: &[&str], ttl_s| {
            let items = items.iter().map(|&item| item.to_owned()).collect();
            self.live.expose(t, "feed".to_owned(), user.map(str::to_owned), items, ttl_s).await.unwrap();
        };
        let served = async |expected: &[f64]| self.served(t, &["a", "b", "c"], expected).await;
        served(&[0.0, 0.0, 0.0]).await;
        serve(Some("ann"), &["a", "b"], 100).await;
        served(&[1.0, 1.0, 0.0]).await;
        // Nobody is known, or nothing is to be remembered: it is counted all the same.
        serve(None, &["a", "c"], 100).await;
        serve(Some("bob"), &["a"], 0).await;
        serve(Some("bob"), &[], 100).await;
        served(&[3.0, 1.0, 1.0]).await;
        assert_eq!(self.shown(t, "ann").await, ["a", "b"].map(handle).into());
        assert!(self.shown(t, "bob").await.is_empty());
        // What behaviours count stands beside it.
        (self.add_count)(t, "a", "view_count", 5.0).await;
        // Written down meanwhile, and not counted again.
        tokio::time::sleep(2 * WRITE_AFTER).await;
        served(&[3.0, 1.0, 1.0]).await;
        serve(None, &["b", "b"], 100).await;
        served(&[3.0, 3.0, 1.0]).await;
        let all = vec!["view_count".to_owned(), SERVED_PLACES.to_owned(), "like_count".to_owned()];
        let row = self.live.item_stats(t, "feed".to_owned(), vec![handle("a")], all).await.unwrap();
        assert_eq!(row, [5.0, 3.0, 0.0]);
        self.served(&self.tenant("served-apart"), &["a"], &[0.0]).await;
    }

    /// Over several writings: none is lost, and none counts twice.
    async fn places_of_many_at_once_are_all_counted(&self) {
        let t = &self.tenant("served-race");
        let task = async |task: usize| {
            for round in 1..=25 {
                let items = vec!["x".to_owned(), format!("i{task}")];
                self.live.expose(t, "feed".to_owned(), None, items, 0).await.unwrap();
                let fields = vec![SERVED_PLACES.to_owned()];
                let own = vec![handle(&format!("i{task}"))];
                let own = self.live.item_stats(t, "feed".to_owned(), own, fields).await.unwrap();
                assert!(own[0] >= f64::from(round), "{own:?} after {round}");
                tokio::time::sleep(WRITE_AFTER / 8).await;
            }
        };
        eight_at_once(task).await;
        self.served(t, &["x", "i0", "i7"], &[200.0, 25.0, 25.0]).await;
        tokio::time::sleep(2 * WRITE_AFTER).await;
        self.served(t, &["x", "i0", "i7"], &[200.0, 25.0, 25.0]).await;
    }

    async fn tenants_are_apart(&self) {
        let (a, b) = (&self.tenant("apart-a"), &self.tenant("apart-b"));
        (self.add_hot)(a, "x", 1.0, HOUR_MS).await;
        (self.add_count)(a, "x", "n", 1.0).await;
        self.show(a, "ann", &["x"], 100).await;
        assert_eq!(self.top(b, 10, &[], HOUR_MS).await, Scored::default());
        assert!(self.shown(b, "ann").await.is_empty());
        let stats = async |t: &Tenant| {
            self.live.item_stats(t, "feed".to_owned(), vec![handle("x")], vec!["n".to_owned()]).await.unwrap()
        };
        assert_eq!(stats(b).await, [0.0]);
        assert_eq!(stats(a).await, [1.0]);
        assert_eq!(self.top(a, 10, &[], HOUR_MS).await.handles, [handle("x")]);
        assert_eq!(self.shown(a, "ann").await.len(), 1);
    }

    /// Ids may hold what a store separates them by.
    async fn names_with_colons_are_apart(&self) {
        let (a, ab) = (&self.tenant("colon"), &self.tenant("colon:b"));
        let names = [(a, "b", "c:feed"), (a, "b:c", "feed"), (ab, "c", "feed"), (ab, "c:feed", "c")];
        for (at, (t, user, scenario)) in names.iter().enumerate() {
            let shown = vec![format!("i{at}")];
            self.live.expose(t, (*scenario).to_owned(), Some((*user).to_owned()), shown, 100).await.unwrap();
        }
        for (at, (t, user, scenario)) in names.iter().enumerate() {
            let shown = self.live.exposed(t, (*scenario).to_owned(), (*user).to_owned()).await.unwrap();
            assert_eq!(shown, [handle(&format!("i{at}"))], "{t} {user} {scenario}");
        }
        (self.add_hot)(ab, "x", 1.0, HOUR_MS).await;
        (self.add_count)(ab, "x", "n", 1.0).await;
        (self.add_count)(a, "b:x", "m", 1.0).await;
        assert_eq!(self.live.hot_top(a, "b:feed".to_owned(), 5, vec![], HOUR_MS).await.unwrap(), Scored::default());
        assert_eq!(self.top(ab, 5, &[], HOUR_MS).await.handles, [handle("x")]);
        let stats = async |t: &Tenant, item: &str| {
            let fields = vec!["n".to_owned(), "m".to_owned()];
            self.live.item_stats(t, "feed".to_owned(), vec![handle(item)], fields).await.unwrap()
        };
        assert_eq!(stats(a, "b:x").await, [0.0, 1.0]);
        assert_eq!(stats(ab, "x").await, [1.0, 0.0]);
    }

    async fn limits_are_errors_that_name_the_argument(&self) {
        let t = &self.tenant("limits");
        let (feed, many) = (|| "feed".to_owned(), || vec![0; limits::CANDIDATES + 1]);
        let (most, fields) = (vec![0; limits::CANDIDATES], vec!["n".to_owned(); limits::FEATURES]);
        assert_eq!(self.live.hot_scores(t, feed(), most, 0).await.unwrap().len(), limits::CANDIDATES);
        assert_eq!(self.live.item_stats(t, feed(), vec![0], fields).await.unwrap().len(), limits::FEATURES);
        self.live.hot_top(t, feed(), 1, vec![0; limits::HOT_MEMBERS], 0).await.unwrap();
        let expose =
            async |item: &str| self.live.expose(t, feed(), Some("ann".to_owned()), vec![item.to_owned()], 1).await;
        is_invalid(expose("a\"b").await, "item-ids[0]");
        is_invalid(expose("").await, "item-ids[0]");
        is_invalid(self.live.expose(t, feed(), Some("a b".to_owned()), vec![], 1).await, "user-id");
        is_invalid(self.live.expose(t, "a b".to_owned(), None, vec![], 1).await, "scenario-id");
        let items = vec!["a".to_owned(); limits::CANDIDATES + 1];
        is_invalid(self.live.expose(t, feed(), Some("ann".to_owned()), items, 1).await, "item-ids");
        is_invalid(self.live.exposed(t, "a/b".to_owned(), "ann".to_owned()).await, "scenario-id");
        is_invalid(self.live.exposed(t, feed(), "a/b".to_owned()).await, "user-id");
        is_invalid(self.live.hot_scores(t, feed(), many(), 0).await, "handles");
        is_invalid(self.live.hot_top(t, feed(), u32::MAX, vec![], 0).await, "limit");
        is_invalid(self.live.hot_top(t, feed(), 1, vec![0; limits::HOT_MEMBERS + 1], 0).await, "exclude");
        is_invalid(self.live.item_stats(t, feed(), many(), vec![]).await, "handles");
        is_invalid(self.live.item_stats(t, feed(), vec![], vec![String::new(); limits::FEATURES + 1]).await, "fields");
    }

    async fn concurrent_changes_lose_nothing(&self) {
        let t = &self.tenant("race");
        let task = async |task: usize| {
            for round in 0..25 {
                let item = format!("i{task}-{round}");
                self.show(t, "ann", &[&item], 3600).await;
                assert!(self.shown(t, "ann").await.contains(&handle(&item)));
                (self.add_count)(t, "x", "n", 1.0).await;
                (self.add_hot)(t, "h", 1.0, HOUR_MS).await;
                // Read in between, while others change it.
                assert!(self.top(t, 1, &[], HOUR_MS).await.scores[0] >= (round + 1) as f32);
            }
        };
        eight_at_once(task).await;
        assert_eq!(self.shown(t, "ann").await.len(), 8 * 25);
        let stats = self.live.item_stats(t, "feed".to_owned(), vec![handle("x")], vec!["n".to_owned()]).await.unwrap();
        assert_eq!(stats, [8.0 * 25.0]);
        assert_eq!(self.top(t, 1, &[], HOUR_MS).await.scores, [8.0 * 25.0]);
    }
}

/// Restoring, as the backend knows items whose events it has not seen: every item
/// is one that it can name.
impl Suite<'_> {
    async fn walked(&self, t: &Tenant) -> Vec<Whole> {
        let pages: Vec<Vec<Whole>> = self.live.walk(t).try_collect().await.unwrap();
        assert!(pages.iter().all(|page| !page.is_empty()));
        let mut all = pages.concat();
        all.sort_by_key(|structure| match structure {
            Whole::Hot(hot) => (0, hot.scenario_id.clone(), String::new()),
            Whole::Exposed(exposed) => (1, exposed.scenario_id.clone(), exposed.user_id.clone()),
            Whole::Counters(counters) => (2, counters.item_id.clone(), String::new()),
        });
        all
    }

    async fn what_was_walked_is_restored_as_it_was(&self) {
        let (from, to) = (&self.tenant("restore-from"), &self.tenant("restore-to"));
        assert_eq!(self.walked(from).await, []);
        let now_ms = 1_000 * HOUR_MS;
        for (item, weight, at_ms) in [("a", 8.1, now_ms), ("b", 3.3, now_ms + HOUR_MS / 3), ("c", -1.7, now_ms - 7)] {
            (self.add_hot)(from, item, weight, at_ms).await;
        }
        for (item, field, amount) in [("a", "n", 0.1), ("a", "n", 0.2), ("b", "m", 1e20), ("a", "m", -3.0)] {
            (self.add_count)(from, item, field, amount).await;
        }
        self.show(from, "ann", &["a", "b"], 10).await;
        self.show(from, "ann", &["b", "c"], 1000).await;
        self.show(from, "bob:x", &["a"], 2000).await;
        // What is there goes.
        (self.add_hot)(to, "d", 100.0, now_ms).await;
        (self.add_count)(to, "a", "other", 1.0).await;
        self.show(to, "ann", &["a"], 1000).await;
        let all = self.walked(from).await;
        assert_eq!(all.len(), 6, "{all:?}");
        assert!(matches!(&all[5], Whole::Counters(c) if c.fields == [(SERVED_PLACES.to_owned(), 1.0)].into()));
        for _ in 0..2 {
            self.live.restore(to, all.clone()).await.unwrap();
            // To the bit, or the third store would have something else than the first.
            assert_eq!(self.walked(to).await, all);
        }
        let heat = async |t: &Tenant| {
            let handles = ["a", "b", "c", "d"].map(handle).to_vec();
            let later_ms = now_ms + 5 * HOUR_MS;
            let scores = self.live.hot_scores(t, "feed".to_owned(), handles, later_ms).await.unwrap();
            (self.top(t, 10, &[], later_ms).await, scores)
        };
        let counts = async |t: &Tenant| {
            let fields = ["n", "m", "other"].map(str::to_owned).to_vec();
            self.live.item_stats(t, "feed".to_owned(), ["a", "b"].map(handle).to_vec(), fields).await.unwrap()
        };
        assert_eq!((heat(to).await, counts(to).await), (heat(from).await, counts(from).await));
        for user in ["ann", "bob:x"] {
            assert_eq!(self.shown(to, user).await, self.shown(from, user).await);
        }
        // Life goes on: the old weights fade with the new ones, each item expires
        // when it would have.
        for t in [from, to] {
            (self.add_hot)(t, "b", 2.5, now_ms + 2 * HOUR_MS).await;
            (self.add_count)(t, "a", "n", 1.5).await;
        }
        assert_eq!((heat(to).await, counts(to).await), (heat(from).await, counts(from).await));
        (self.advance)(11_000);
        assert_eq!(self.shown(to, "ann").await, ["b", "c"].map(handle).into());
        (self.advance)(1_000_000);
        assert!(self.shown(to, "ann").await.is_empty());
        assert_eq!(self.shown(to, "bob:x").await, [handle("a")].into());
        // What has expired is not restored.
        self.live.restore(to, all).await.unwrap();
        assert!(self.shown(to, "ann").await.is_empty());
        assert_eq!(self.walked(to).await.len(), 5);
    }

    async fn a_walk_gives_everything_once(&self) {
        let t = &self.tenant("walk");
        let items: Vec<String> = (0..400).map(|at| format!("i{at}")).collect();
        for (at, item) in items.iter().enumerate() {
            self.show(t, &format!("there{at}"), &[item], 3600).await;
            (self.add_count)(t, item, "n", at as f64).await;
        }
        let writing = std::sync::atomic::AtomicBool::new(true);
        let write = async {
            let mut round = 0;
            while writing.load(std::sync::atomic::Ordering::Relaxed) {
                self.show(t, &format!("new{round}"), &["a"], 3600).await;
                self.show(t, &format!("there{}", (round * 7) % 400), &["a"], 3600).await;
                (self.add_count)(t, &format!("i{}", 400 + round % 400), "n", 1.0).await;
                (self.add_hot)(t, "a", 1.0, HOUR_MS).await;
                round += 1;
            }
        };
        let read = async {
            let found = self.walked(t).await;
            writing.store(false, std::sync::atomic::Ordering::Relaxed);
            found
        };
        let (found, ()) = tokio::join!(read, write);
        let mut names = Vec::new();
        for structure in &found {
            match structure {
                Whole::Hot(hot) => names.push(hot.scenario_id.clone()),
                Whole::Exposed(exposed) => names.push(exposed.user_id.clone()),
                Whole::Counters(counters) => names.push(counters.item_id.clone()),
            }
        }
        let once: HashSet<&String> = names.iter().collect();
        assert_eq!(once.len(), names.len(), "a structure came twice");
        assert!((0..400).all(|at| once.contains(&format!("there{at}")) && once.contains(&items[at])));
        assert_eq!(self.walked(&self.tenant("walk-other")).await, []);
    }

    async fn what_cannot_be_restored_is_refused(&self) {
        let t = &self.tenant("unrestored");
        let hot = Hot {
            scenario_id: "feed".to_owned(),
            half_life_s: 60,
            newest_ms: HOUR_MS,
            items: [("a".to_owned(), 1.0)].into(),
        };
        let exposed =
            Exposed { scenario_id: "feed".to_owned(), user_id: "ann".to_owned(), items: [("a".to_owned(), 1)].into() };
        let counters = Counters { item_id: "a".to_owned(), fields: [("n".to_owned(), 1.0)].into() };
        let restore = async |structure: Whole| self.live.restore(t, vec![structure]).await;
        is_invalid(restore(Whole::Hot(Hot { scenario_id: "a/b".to_owned(), ..hot.clone() })).await, "scenario-id");
        is_invalid(restore(Whole::Hot(Hot { half_life_s: 0, ..hot.clone() })).await, "half-life-s");
        is_invalid(
            restore(Whole::Hot(Hot { items: [("a".to_owned(), f64::NAN)].into(), ..hot.clone() })).await,
            "items",
        );
        is_invalid(restore(Whole::Hot(Hot { items: [].into(), ..hot })).await, "items");
        is_invalid(restore(Whole::Exposed(Exposed { user_id: String::new(), ..exposed.clone() })).await, "user-id");
        let many = (0..=limits::EXPOSURES).map(|at| (format!("i{at}"), u64::MAX)).collect();
        is_invalid(restore(Whole::Exposed(Exposed { items: many, ..exposed })).await, "items");
        is_invalid(restore(Whole::Counters(Counters { item_id: "*".to_owned(), ..counters.clone() })).await, "item-id");
        let infinite = [("n".to_owned(), f64::INFINITY)].into();
        is_invalid(restore(Whole::Counters(Counters { fields: infinite, ..counters })).await, "fields");
        assert_eq!(self.walked(t).await, []);
    }
}

/// A backend whose live structures change apart from the event log, and that of
/// it which changes them. The backend knows the items `a`, `b` and `c`.
pub struct EffectsSuite<'a> {
    /// The backend.
    pub live: &'a dyn Live,
    /// The same.
    pub effects: &'a dyn LiveEffects,
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

impl EffectsSuite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.a_batch_is_applied_once().await;
        self.a_new_half_life_keeps_what_scores_were_worth().await;
        self.what_is_forgotten_is_gone().await;
        self.limits_are_errors_that_name_the_argument().await;
        self.concurrent_batches_are_applied_once_each().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    fn hot(scenario: &str, item: &str, weight: f64) -> HotAdd {
        let (scenario_id, item_id) = (scenario.to_owned(), item.to_owned());
        HotAdd { scenario_id, item_id, weight, half_life_s: 3600, at_ms: HOUR_MS }
    }

    fn count(item: &str, field: &str, amount: f64) -> CountAdd {
        CountAdd { item_id: item.to_owned(), field: field.to_owned(), amount }
    }

    async fn heat(&self, t: &Tenant, scenario: &str, now_ms: u64) -> Vec<f32> {
        let handles = ["a", "b", "c"].map(handle).to_vec();
        self.live.hot_scores(t, scenario.to_owned(), handles, now_ms).await.unwrap()
    }

    async fn counts(&self, t: &Tenant) -> Vec<f64> {
        let (handles, fields) = (["a", "b", "c"].map(handle).to_vec(), vec!["n".to_owned(), "m".to_owned()]);
        self.live.item_stats(t, "feed".to_owned(), handles, fields).await.unwrap()
    }

    async fn a_batch_is_applied_once(&self) {
        let t = &self.tenant("once");
        let hot = || vec![Self::hot("feed", "a", 1.0), Self::hot("news", "b", 2.0), Self::hot("feed", "a", 0.5)];
        let counts = || vec![Self::count("a", "n", 1.0), Self::count("b", "m", 2.0), Self::count("a", "n", 1.0)];
        for batch in [1, 1, 2, 1, 2] {
            self.effects.apply(t, batch, hot(), counts()).await.unwrap();
        }
        assert_eq!(self.heat(t, "feed", HOUR_MS).await, [3.0, 0.0, 0.0]);
        assert_eq!(self.heat(t, "news", HOUR_MS).await, [0.0, 4.0, 0.0]);
        assert_eq!(self.counts(t).await, [4.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
        self.effects.apply(t, 3, vec![], vec![]).await.unwrap();
        // A batch's number is the tenant's own.
        let other = &self.tenant("once-other");
        self.effects.apply(other, 1, hot(), counts()).await.unwrap();
        assert_eq!(self.heat(other, "feed", HOUR_MS).await, [1.5, 0.0, 0.0]);
    }

    async fn a_new_half_life_keeps_what_scores_were_worth(&self) {
        let t = &self.tenant("half-life");
        self.effects.apply(t, 1, vec![Self::hot("feed", "a", 4.0)], vec![]).await.unwrap();
        assert_eq!(self.heat(t, "feed", HOUR_MS).await, [4.0, 0.0, 0.0]);
        let slower = HotAdd { half_life_s: 7200, at_ms: 2 * HOUR_MS, ..Self::hot("feed", "b", 1.0) };
        self.effects.apply(t, 2, vec![slower], vec![]).await.unwrap();
        assert_eq!(self.heat(t, "feed", 2 * HOUR_MS).await, [2.0, 1.0, 0.0]);
        assert_eq!(self.heat(t, "feed", 4 * HOUR_MS).await, [1.0, 0.5, 0.0]);
    }

    async fn what_is_forgotten_is_gone(&self) {
        let t = &self.tenant("forget");
        let show = async |scenario: &str, user: &str| {
            let (scenario, user, items) = (scenario.to_owned(), user.to_owned(), vec!["a".to_owned()]);
            self.live.expose(t, scenario, Some(user), items, 100).await.unwrap();
        };
        let shown = async |scenario: &str, user: &str| {
            self.live.exposed(t, scenario.to_owned(), user.to_owned()).await.unwrap().len()
        };
        let all = [("feed", "ann"), ("news", "ann"), ("feed", "bob"), ("feed", "ann:x"), ("x:feed", "ann")];
        for batch in 1..3 {
            for (scenario, user) in all {
                show(scenario, user).await;
                assert_eq!(shown(scenario, user).await, 1);
            }
            let hot = vec![Self::hot("feed", "a", 1.0), Self::hot("news", "a", 1.0)];
            let counts = vec![Self::count("a", "n", 1.0), Self::count("b", "n", 1.0)];
            self.effects.apply(t, batch, hot, counts).await.unwrap();
            assert_eq!(self.heat(t, "feed", HOUR_MS).await, [1.0, 0.0, 0.0]);
            self.effects.forget_user(t, "ann", vec!["feed".to_owned(), "x:feed".to_owned()]).await.unwrap();
            let left = async || {
                let mut left = Vec::new();
                for (scenario, user) in all {
                    left.push(shown(scenario, user).await);
                }
                left
            };
            assert_eq!(left().await, [0, 1, 1, 1, 0]);
            show("feed", "ann").await;
            self.effects.forget_scenario(t, "feed", vec!["a".to_owned()]).await.unwrap();
            assert_eq!(left().await, [0, 1, 0, 0, 0]);
            assert_eq!(self.heat(t, "feed", HOUR_MS).await, [0.0; 3]);
            assert_eq!(self.heat(t, "news", HOUR_MS).await, [batch as f32, 0.0, 0.0]);
            assert_eq!(self.counts(t).await, [0.0, 0.0, batch as f64, 0.0, 0.0, 0.0]);
        }
    }

    async fn limits_are_errors_that_name_the_argument(&self) {
        let t = &self.tenant("effect-limits");
        let apply = async |hot, counts| self.effects.apply(t, 1, hot, counts).await;
        is_invalid(apply(vec![Self::hot("a/b", "a", 1.0)], vec![]).await, "hot[0].scenario-id");
        is_invalid(apply(vec![Self::hot("feed", "", 1.0)], vec![]).await, "hot[0].item-id");
        is_invalid(apply(vec![Self::hot("feed", "a", f64::NAN)], vec![]).await, "hot[0].weight");
        is_invalid(apply(vec![], vec![Self::count("a b", "n", 1.0)]).await, "counts[0].item-id");
        is_invalid(apply(vec![], vec![Self::count("a", "n", f64::INFINITY)]).await, "counts[0].amount");
        is_invalid(self.effects.forget_user(t, "", vec![]).await, "user-id");
        is_invalid(self.effects.forget_user(t, "ann", vec!["*".to_owned()]).await, "scenario-ids[0]");
        is_invalid(self.effects.forget_scenario(t, "*", vec![]).await, "scenario-id");
        is_invalid(self.effects.forget_scenario(t, "feed", vec!["*".to_owned()]).await, "item-ids[0]");
    }

    async fn concurrent_batches_are_applied_once_each(&self) {
        let t = &self.tenant("batches");
        // Every batch is applied by four tasks at once.
        let task = async |task: usize| {
            for round in 0..25 {
                let batch = (task / 4 * 1000 + round) as u128;
                let hot = vec![Self::hot("feed", "a", 1.0), Self::hot("feed", "b", 2.0)];
                let counts = vec![Self::count("a", "n", 1.0), Self::count("c", "m", 0.5)];
                self.effects.apply(t, batch, hot, counts).await.unwrap();
                assert!(self.heat(t, "feed", HOUR_MS).await[0] >= (round + 1) as f32);
            }
        };
        eight_at_once(task).await;
        assert_eq!(self.heat(t, "feed", HOUR_MS).await, [50.0, 100.0, 0.0]);
        assert_eq!(self.counts(t).await, [50.0, 0.0, 0.0, 0.0, 0.0, 25.0]);
    }
}

/// Eight of them at once.
async fn eight_at_once(task: impl AsyncFn(usize)) {
    tokio::join!(task(0), task(1), task(2), task(3), task(4), task(5), task(6), task(7));
}

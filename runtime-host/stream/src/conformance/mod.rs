//! The suite that every [`StreamStore`] must pass: each sentence of the trait has a check
//! here. What steps change of hot lists, counters and profiles is seen through the
//! capabilities.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

mod counting;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use funnelweb_core::{id::handle, limits};
use funnelweb_factor_documents::store::{Collection::UserProfiles, Documents, Key};
use funnelweb_factor_events::store::{Change, Position, ProfileEffect};
use funnelweb_factor_live::store::Live;

pub use self::counting::Counting;
use crate::{
    operator::{Message, Topic},
    store::*,
};

const OPERATOR: &str = "stream-test";
/// Later than any window ends.
const EVER: u64 = u64::MAX;
const TOPIC: &str = "recommendation-metrics";
const SECOND: u64 = 1000;

/// A store under test, with the capabilities that steps change.
pub struct Suite<'a> {
    /// The store.
    pub store: &'a dyn StreamStore,
    /// Its documents.
    pub documents: &'a dyn Documents,
    /// Its live structures.
    pub live: &'a dyn Live,
    /// The time that the store's clock stands at.
    pub now_ms: u64,
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

/// A pane of a key.
#[must_use]
pub fn pane(key: &[&str], from_ms: u64) -> Pane {
    Pane { key: owned(key), from_ms }
}

fn place(t: &Tenant) -> Place {
    Place::main(t, OPERATOR)
}

fn owned(key: &[&str]) -> Vec<String> {
    key.iter().map(|value| (*value).to_owned()).collect()
}

fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Series { name: name.to_owned(), labels }
}

fn letter(offset: u64, scenario: &str, user: &str) -> DeadLetter {
    let (scenario_id, user_id) = (scenario.to_owned(), user.to_owned());
    DeadLetter { offset, scenario_id, user_id, reason: "poison".to_owned(), about: format!("e{offset}") }
}

fn message(topic: Topic, number: u64) -> Message {
    Message { topic, key: format!("k{number}"), body: format!(r#"{{"n":{number}}}"#) }
}

/// What a user is to an item: its heat, its count, its profile.
fn changes(at_ms: u64) -> Vec<Change> {
    let (scenario_id, item_id) = ("feed".to_owned(), "i".to_owned());
    let effect = ProfileEffect {
        preferences: vec![("category".to_owned(), "fun".to_owned(), 1.0)],
        half_life_s: u32::MAX,
        counters: vec![("total_watch_count".to_owned(), 1.0)],
        recent: false,
    };
    vec![
        Change::Heat {
            scenario_id: scenario_id.clone(),
            item_id: item_id.clone(),
            half_life_s: u32::MAX,
            weight: 2.0,
            at_ms,
        },
        Change::Count { item_id, field: "view_count".to_owned(), amount: 1.0 },
        Change::Profile { scenario_id, user_id: "ann".to_owned(), at_ms, effect },
    ]
}

/// A step that changes one of everything, the `number`-th of those that follow each
/// other.
#[must_use]
pub fn step(before: &Progress, number: u64, now_ms: u64) -> Step {
    Step {
        progress: Progress { next: number + 1, newest_ms: now_ms, ..before.clone() },
        put: vec![
            (pane(&["feed", "i"], SECOND), format!("sum {number}").into_bytes()),
            (pane(&["feed", "j"], number * SECOND), b"one".to_vec()),
        ],
        due: vec![(owned(&["feed", "i"]), 2 * SECOND)],
        counts: vec![(series("seen_total", &[("item", "i"), ("scenario", "feed")]), 1.0)],
        changes: changes(now_ms),
        messages: vec![message(Topic::RecommendationMetrics, number)],
        dead: vec![letter(number, "feed", "ann")],
        ..Step::default()
    }
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.run_alone().await;
        self.of_two_steps_one_is_made().await;
        self.operators_speak_at_once().await;
    }

    /// Runs every check in which nobody else works at the same time.
    pub async fn run_alone(&self) {
        self.nothing_is_there_at_first().await;
        self.a_step_changes_all_of_it().await;
        self.a_step_from_elsewhere_changes_nothing().await;
        self.windows_speak_again_once().await;
        self.panes_come_key_by_key().await;
        self.panes_are_dropped().await;
        self.a_step_may_be_large().await;
        self.topics_grow().await;
        self.dead_letters_are_newest_first().await;
        self.positions_are_kept_and_set().await;
        self.an_operator_may_end().await;
        self.what_is_deleted_stays_deleted().await;
        self.tenants_and_operators_are_apart().await;
    }

    /// A tenant of this suite.
    ///
    /// # Panics
    /// When the name cannot be one.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    async fn progress(&self, t: &Tenant) -> Progress {
        self.store.progress(&place(t)).await.unwrap()
    }

    /// Makes a step from where the operator is.
    async fn commit(&self, t: &Tenant, step: Step) {
        let before = self.progress(t).await;
        let progress = Progress { fence: before.fence, ..step.progress };
        assert!(self.store.commit(&place(t), before, Step { progress, ..step }).await.unwrap());
    }

    async fn accumulators(&self, t: &Tenant, panes: &[Pane]) -> Vec<Option<String>> {
        let found = self.store.accumulators(&place(t), panes.to_vec()).await.unwrap();
        found.into_iter().map(|found| found.map(|bytes| String::from_utf8(bytes).unwrap())).collect()
    }

    /// Windows that have to speak, with their panes.
    async fn due(&self, t: &Tenant, size_ms: u64) -> Vec<(Window, Panes)> {
        let due = self.store.due(&place(t), size_ms, EVER).await.unwrap();
        due.into_iter().map(|(due, panes)| (due.window, panes)).collect()
    }

    async fn counters(&self, t: &Tenant) -> Counters {
        let all = self.store.counters().await.unwrap();
        all.into_iter().find(|(tenant, _)| tenant == t).map(|(_, counters)| (*counters).clone()).unwrap_or_default()
    }

    async fn published(&self, t: &Tenant) -> Vec<Published> {
        self.store.published(t, TOPIC, 0, 1000).await.unwrap()
    }

    async fn dead(&self, t: &Tenant) -> Vec<u64> {
        let dead = self.store.dead_letters(t, 1000).await.unwrap();
        dead.into_iter().map(|(_, letter)| letter.offset).collect()
    }

    /// The heat and the count of the item, and the user's preference and counter.
    async fn changed(&self, t: &Tenant) -> (f32, f64, f64, u64) {
        let handles = vec![handle("i")];
        let heat = self.live.hot_scores(t, "feed".to_owned(), handles.clone(), self.now_ms).await.unwrap()[0];
        let fields = vec!["view_count".to_owned()];
        let count = self.live.item_stats(t, "feed".to_owned(), handles, fields).await.unwrap()[0];
        let profile = self.documents.get(t, UserProfiles, Key::new("feed", "ann")).await.unwrap();
        let profile: serde_json::Value =
            profile.map_or(serde_json::Value::Null, |profile| serde_json::from_str(&profile.body).unwrap());
        let liking = profile["preferences"]["category_scores"]["fun"].as_f64().unwrap_or(0.0);
        (heat.round(), count, liking, profile["features"]["total_watch_count"].as_u64().unwrap_or(0))
    }

    /// That so many steps of [`step`] have changed everything, each of them once.
    ///
    /// # Panics
    /// When not.
    pub async fn check_steps(&self, t: &Tenant, steps: u64) {
        let progress = self.progress(t).await;
        assert_eq!((progress.next, progress.newest_ms), (steps + 1, self.now_ms));
        let mut panes = vec![pane(&["feed", "i"], SECOND)];
        panes.extend((1..=steps).map(|number| pane(&["feed", "j"], number * SECOND)));
        let mut expected = vec![Some(format!("sum {steps}"))];
        expected.resize(panes.len(), Some("one".to_owned()));
        assert_eq!(self.accumulators(t, &panes).await, expected);
        let sum = format!("sum {steps}").into_bytes();
        let window = ((owned(&["feed", "i"]), 2 * SECOND), (owned(&["feed", "i"]), vec![(SECOND, sum)]));
        assert_eq!(self.due(t, SECOND).await, [window]);
        let seen = series("seen_total", &[("item", "i"), ("scenario", "feed")]);
        assert_eq!(self.counters(t).await, BTreeMap::from([(seen, steps as f64)]));
        let published = self.published(t).await;
        let told: Vec<(&str, &str)> = published.iter().map(|one| (one.key.as_str(), one.body.as_str())).collect();
        let expected: Vec<Message> = (1..=steps).map(|number| message(Topic::RecommendationMetrics, number)).collect();
        assert_eq!(told, expected.iter().map(|one| (one.key.as_str(), one.body.as_str())).collect::<Vec<_>>());
        assert!(published.is_sorted_by(|one, other| one.offset < other.offset));
        assert_eq!(self.dead(t).await, (1..=steps).rev().collect::<Vec<_>>());
        let expected = (2.0 * steps as f32, steps as f64, steps as f64, steps);
        let begun = Instant::now();
        // What another process has moved of a profile may show a second later.
        while self.changed(t).await != expected && begun.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.changed(t).await, expected);
    }

    async fn nothing_is_there_at_first(&self) {
        let t = &self.tenant("nothing");
        let progress = self.progress(t).await;
        assert_eq!(Progress { fence: 0, ..progress }, Progress::default());
        assert_eq!(self.accumulators(t, &[pane(&["a"], 0)]).await, [None]);
        assert_eq!(self.store.first_pane(&place(t), 0).await.unwrap(), None);
        assert_eq!(self.store.panes(&place(t), 0..u64::MAX, None).await.unwrap(), (vec![], false));
        assert_eq!(self.store.due(&place(t), SECOND, EVER).await.unwrap(), []);
        assert_eq!((self.published(t).await, self.dead(t).await), (vec![], vec![]));
        assert!(self.counters(t).await.is_empty());
    }

    async fn a_step_changes_all_of_it(&self) {
        let t = &self.tenant("all");
        for number in 1..=3 {
            let before = self.progress(t).await;
            let step = step(&before, number, self.now_ms);
            assert!(self.store.commit(&place(t), before, step).await.unwrap());
            self.check_steps(t, number).await;
        }
        let firing = Some((2 * SECOND, owned(&["feed", "", "i"])));
        let progress = Progress { next: 9, newest_ms: 8, fired_ms: 7, firing, fence: 0 };
        self.commit(t, Step { progress: progress.clone(), ..Step::default() }).await;
        assert_eq!(Progress { fence: 0, ..self.progress(t).await }, progress);
        let quiet = Progress { firing: None, ..progress };
        self.commit(t, Step { progress: quiet.clone(), ..Step::default() }).await;
        assert_eq!(Progress { fence: 0, ..self.progress(t).await }, quiet);
    }

    async fn a_step_from_elsewhere_changes_nothing(&self) {
        let t = &self.tenant("elsewhere");
        let first = self.progress(t).await;
        assert!(self.store.commit(&place(t), first.clone(), step(&first, 1, self.now_ms)).await.unwrap());
        assert!(!self.store.commit(&place(t), first.clone(), step(&first, 2, self.now_ms)).await.unwrap());
        let never = Progress { next: 77, ..first };
        assert!(!self.store.commit(&place(t), never.clone(), step(&never, 3, self.now_ms)).await.unwrap());
        self.check_steps(t, 1).await;
    }

    async fn windows_speak_again_once(&self) {
        let t = &self.tenant("again");
        let windows: Vec<Window> = (1..=3).map(|at| (owned(&["a"]), at * SECOND)).collect();
        let put = vec![(pane(&["a"], SECOND), b"x".to_vec()), (pane(&["a"], 2 * SECOND), b"y".to_vec())];
        self.commit(t, Step { put, due: windows.clone(), ..Step::default() }).await;
        // Again, they are due once.
        self.commit(t, Step { due: windows.clone(), ..Step::default() }).await;
        let mut due = self.due(t, 2 * SECOND).await;
        due.sort();
        let (x, y) = ((SECOND, b"x".to_vec()), (2 * SECOND, b"y".to_vec()));
        let panes = [vec![], vec![x.clone()], vec![x, y]];
        let expected = windows.iter().zip(panes).map(|(window, panes)| (window.clone(), (window.0.clone(), panes)));
        assert_eq!(due, expected.collect::<Vec<_>>());
        // Two engines find them: the progress that both begin with is the same.
        let before = self.progress(t).await;
        let mut spoke = self.store.due(&place(t), SECOND, 2 * SECOND).await.unwrap();
        spoke.sort_by(|(one, _), (other, _)| one.window.cmp(&other.window));
        let spoke: Vec<Due> = spoke.into_iter().map(|(due, _)| due).collect();
        // Those that have ended by then.
        assert_eq!(spoke.iter().map(|due| due.window.clone()).collect::<Vec<_>>(), windows[..2]);
        let messages = vec![message(Topic::RecommendationMetrics, 1)];
        let step = Step { progress: before.clone(), spoke, messages, ..Step::default() };
        assert!(self.store.commit(&place(t), before.clone(), step.clone()).await.unwrap());
        assert!(!self.store.commit(&place(t), before, step).await.unwrap());
        assert_eq!(self.published(t).await.len(), 1);
        let due = self.due(t, SECOND).await;
        assert_eq!(due.into_iter().map(|(window, _)| window).collect::<Vec<_>>(), windows[2..]);
        // What spoke may have to do so again.
        self.commit(t, Step { due: windows[..1].to_vec(), ..Step::default() }).await;
        assert_eq!(self.store.due(&place(t), SECOND, EVER).await.unwrap().len(), 2);
    }

    async fn panes_come_key_by_key(&self) {
        let t = &self.tenant("keys");
        let keys: Vec<String> = (0..limits::STREAM_KEYS + 2).map(|at| format!("k{at:04}")).collect();
        let mut put: Vec<(Pane, Vec<u8>)> = keys.iter().map(|key| (pane(&[key], SECOND), vec![1])).collect();
        put.push((pane(&["k0000"], 3 * SECOND), vec![3]));
        put.push((pane(&["k0000"], 2 * SECOND), vec![2]));
        put.push((pane(&["k0001"], 9 * SECOND), vec![9]));
        self.commit(t, Step { put, ..Step::default() }).await;
        assert_eq!(self.store.first_pane(&place(t), SECOND).await.unwrap(), Some(SECOND));
        assert_eq!(self.store.first_pane(&place(t), SECOND + 1).await.unwrap(), Some(2 * SECOND));
        assert_eq!(self.store.first_pane(&place(t), 9 * SECOND + 1).await.unwrap(), None);
        let range = SECOND..3 * SECOND;
        let (first, more) = self.store.panes(&place(t), range.clone(), None).await.unwrap();
        assert_eq!((first.len(), more), (limits::STREAM_KEYS, true));
        assert_eq!(first[0], (owned(&["k0000"]), vec![(SECOND, vec![1]), (2 * SECOND, vec![2])]));
        assert_eq!(first[1], (owned(&["k0001"]), vec![(SECOND, vec![1])]));
        let last = first.last().unwrap().0.clone();
        let (rest, more) = self.store.panes(&place(t), range.clone(), Some(last)).await.unwrap();
        assert!(!more);
        let found: Vec<String> = first.into_iter().chain(rest).map(|(key, _)| key[0].clone()).collect();
        assert_eq!(found, keys);
        let asked = [pane(&["k0001"], 9 * SECOND), pane(&["none"], SECOND), pane(&["k0000"], 2 * SECOND)];
        let found = self.store.accumulators(&place(t), asked.to_vec()).await.unwrap();
        assert_eq!(found, [Some(vec![9]), None, Some(vec![2])]);
    }

    async fn panes_are_dropped(&self) {
        let t = &self.tenant("dropped");
        let put = (1..=3).map(|at| (pane(&["a"], at * SECOND), b"x".to_vec())).collect();
        self.commit(t, Step { put, due: vec![(owned(&["a"]), 2 * SECOND)], ..Step::default() }).await;
        self.commit(t, Step { drop_before_ms: 3 * SECOND, ..Step::default() }).await;
        assert_eq!(self.store.first_pane(&place(t), 0).await.unwrap(), Some(3 * SECOND));
        // What has yet to speak does so, without them.
        assert_eq!(self.store.due(&place(t), SECOND, EVER).await.unwrap().len(), 1);
        let again = (pane(&["a"], SECOND), b"y".to_vec());
        self.commit(t, Step { put: vec![again], ..Step::default() }).await;
        assert_eq!(self.accumulators(t, &[pane(&["a"], SECOND)]).await, [Some("y".to_owned())]);
    }

    async fn a_step_may_be_large(&self) {
        let t = &self.tenant("large");
        // Larger than an operator's may be, so that there are fewer.
        let bytes = limits::STREAM_WINDOWS_BYTES / 16;
        let accumulator = |at: u64| vec![u8::try_from(at).unwrap(); bytes];
        let count = 9;
        let put = |key: &str| (1..=count).map(|at| (pane(&[key], at * SECOND), accumulator(at))).collect::<Vec<_>>();
        let put = ["a", "b", "c"].into_iter().flat_map(put).collect();
        self.commit(t, Step { put, ..Step::default() }).await;
        // More than may be read at once, and at least one key.
        let (found, more) = self.store.panes(&place(t), 0..u64::MAX, None).await.unwrap();
        assert_eq!((found.len(), more), (2, true));
        assert!(found.iter().all(|(_, panes)| panes.len() as u64 == count));
        assert!(
            found[1]
                .1
                .iter()
                .zip(1..)
                .all(|((from_ms, bytes), at)| *from_ms == at * SECOND && *bytes == accumulator(at))
        );
    }

    async fn topics_grow(&self) {
        let t = &self.tenant("topics");
        for number in 1..=3 {
            let messages = vec![
                message(Topic::RecommendationMetrics, 2 * number),
                message(Topic::UserProfileUpdates, number),
                message(Topic::RecommendationMetrics, 2 * number + 1),
            ];
            self.commit(t, Step { messages, ..Step::default() }).await;
        }
        let all = self.published(t).await;
        assert_eq!(all.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["k2", "k3", "k4", "k5", "k6", "k7"]);
        assert!(all.is_sorted_by(|one, other| one.offset < other.offset));
        let some = self.store.published(t, TOPIC, all[1].offset, 3).await.unwrap();
        assert_eq!(some, all[1..4]);
        assert_eq!(self.store.published(t, TOPIC, all[5].offset + 1, 3).await.unwrap(), []);
        assert_eq!(self.store.published(t, "user-profile-updates", 0, 9).await.unwrap().len(), 3);
        assert_eq!(self.store.published(t, "item-stats-updates", 0, 9).await.unwrap(), []);
    }

    async fn dead_letters_are_newest_first(&self) {
        let t = &self.tenant("dead");
        for at in [1, 3] {
            let dead = vec![letter(at, "feed", "ann"), letter(at + 1, "feed", "bob")];
            self.commit(t, Step { dead, ..Step::default() }).await;
        }
        assert_eq!(self.dead(t).await, [4, 3, 2, 1]);
        let last = self.store.dead_letters(t, 1).await.unwrap();
        assert_eq!(last, [(OPERATOR.to_owned(), letter(4, "feed", "bob"))]);
    }

    async fn positions_are_kept_and_set(&self) {
        let t = &self.tenant("positions");
        for operator in ["one", "other"] {
            let before = self.store.progress(&Place::main(t, operator)).await.unwrap();
            let progress =
                Progress { next: 5, newest_ms: 6, fired_ms: 7, firing: Some((8, owned(&["a"]))), ..before.clone() };
            let put = vec![(pane(&["a"], SECOND), b"x".to_vec())];
            assert!(
                self.store
                    .commit(&Place::main(t, operator), before, Step { progress, put, ..Step::default() })
                    .await
                    .unwrap()
            );
        }
        let at = |operator: &str, next| Position { operator: operator.to_owned(), next, newest_ms: 6 };
        assert_eq!(self.store.positions(t).await.unwrap(), [at("one", 5), at("other", 5)]);
        let next = async |operator: &str| self.store.progress(&Place::main(t, operator)).await.unwrap().next;
        self.store.set_positions(t, Ok(vec![at("one", 3), at("new", 4)])).await.unwrap();
        assert_eq!((next("one").await, next("new").await, next("other").await), (3, 4, 0));
        let one = self.store.progress(&Place::main(t, "one")).await.unwrap();
        assert_eq!((one.newest_ms, one.fired_ms, one.firing), (6, 0, None));
        self.store.set_positions(t, Err(9)).await.unwrap();
        assert_eq!((next("one").await, next("other").await, next("unheard").await), (9, 9, 9));
        self.store.set_positions(t, Ok(vec![at("", 11), at("one", 12)])).await.unwrap();
        assert_eq!((next("one").await, next("other").await, next("unheard").await), (12, 11, 11));
        // What was there before is no newer than what comes.
        let before = self.store.progress(&Place::main(t, "one")).await.unwrap();
        let put = vec![(pane(&["a"], SECOND), b"y".to_vec())];
        let step = Step { progress: before.clone(), put, ..Step::default() };
        assert!(self.store.commit(&Place::main(t, "one"), before, step).await.unwrap());
        let found = self.store.accumulators(&Place::main(t, "one"), vec![pane(&["a"], SECOND)]).await.unwrap();
        assert_eq!(found, [Some(b"y".to_vec())]);
    }

    async fn an_operator_may_end(&self) {
        let t = &self.tenant("ended");
        for operator in ["one", "other"] {
            let main = Place::main(t, operator);
            let before = self.store.progress(&main).await.unwrap();
            let progress = Progress { next: 5, ..before.clone() };
            let put = vec![(pane(&["a"], SECOND), b"x".to_vec())];
            let due = vec![(owned(&["a"]), 2 * SECOND)];
            assert!(self.store.commit(&main, before, Step { progress, put, due, ..Step::default() }).await.unwrap());
        }
        let (one, other) = (Place::main(t, "one"), Place::main(t, "other"));
        let before = self.store.progress(&one).await.unwrap();
        for _ in 0..2 {
            // Where it was, however often it is ended.
            assert_eq!(self.store.end_operator(t, "one").await.unwrap(), 5);
            assert_eq!(self.store.end_operator(t, "unheard").await.unwrap(), 0);
        }
        // A step that was being made comes to nothing, and no other one begins at the start.
        let late = Step { progress: Progress { next: 6, ..before.clone() }, ..Step::default() };
        assert!(!self.store.commit(&one, before, late).await.unwrap());
        for operator in ["one", "unheard"] {
            assert_eq!(self.store.progress(&Place::main(t, operator)).await.unwrap().next, ENDED);
        }
        assert_eq!(self.store.progress(&one).await.unwrap().newest_ms, 5);
        assert_eq!(self.store.first_pane(&one, 0).await.unwrap(), None);
        assert!(self.store.due(&one, SECOND, EVER).await.unwrap().is_empty());
        assert_eq!(self.store.first_pane(&other, 0).await.unwrap(), Some(SECOND));
        let positions = self.store.positions(t).await.unwrap();
        assert_eq!(positions.iter().map(|position| position.operator.as_str()).collect::<Vec<_>>(), ["other"]);
    }

    async fn what_is_deleted_stays_deleted(&self) {
        let t = &self.tenant("deleted");
        let key = |user: &str, scenario: &str| owned(&[scenario, user]);
        let of = |user: &str, scenario: &str| {
            let pane = Pane { key: key(user, scenario), from_ms: SECOND };
            Step {
                put: vec![(pane, b"x".to_vec())],
                due: vec![(key(user, scenario), 2 * SECOND)],
                counts: vec![(series("seen_total", &[("scenario", scenario)]), 1.0)],
                dead: vec![letter(1, scenario, user)],
                changes: changes(self.now_ms),
                ..Step::default()
            }
        };
        let left = async || {
            let (panes, _) = self.store.panes(&place(t), 0..u64::MAX, None).await.unwrap();
            let due = self.due(t, SECOND).await;
            let (counters, dead) = (self.counters(t).await, self.store.dead_letters(t, 10).await.unwrap());
            let mut all: Vec<String> = panes.into_iter().map(|(key, _)| format!("pane {}", key.join(" "))).collect();
            all.extend(due.into_iter().map(|((key, _), _)| format!("due {}", key.join(" "))));
            all.extend(counters.into_iter().map(|(series, value)| format!("count {} {value}", series.labels[0].1)));
            all.extend(dead.into_iter().map(|(_, dead)| format!("dead {} {}", dead.scenario_id, dead.user_id)));
            all.sort();
            all
        };
        let all = |user: &str, scenario: &str, count: u64| {
            [
                format!("count {scenario} {count}"),
                format!("dead {scenario} {user}"),
                format!("due {scenario} {user}"),
                format!("pane {scenario} {user}"),
            ]
        };
        self.commit(t, of("ann", "feed")).await;
        self.commit(t, of("a.n", "other")).await;
        self.commit(t, of("a-n", "other")).await;
        assert_eq!(left().await.len(), 11);

        let before = self.progress(t).await;
        self.documents.delete_user(t, "ann".to_owned()).await.unwrap();
        assert_ne!(self.progress(t).await.fence, before.fence);
        // What was read before is not written after.
        assert!(!self.store.commit(&place(t), before.clone(), of("ann", "feed")).await.unwrap());
        assert!(self.documents.get(t, UserProfiles, Key::new("feed", "ann")).await.unwrap().is_none());
        // It knows nobody but by the values of keys, and no value in part.
        self.documents.delete_user(t, "a.n".to_owned()).await.unwrap();
        let mut expected = vec!["count feed 1".to_owned()];
        expected.extend(all("a-n", "other", 2));
        expected.sort();
        assert_eq!(left().await, expected);

        self.documents.delete_scenario(t, "other".to_owned()).await.unwrap();
        assert_eq!(left().await, ["count feed 1"]);
        // Who comes back begins anew.
        self.commit(t, of("ann", "feed")).await;
        self.commit(t, of("a-n", "other")).await;
        let mut expected = [all("ann", "feed", 2), all("a-n", "other", 1)].concat();
        expected.sort();
        assert_eq!(left().await, expected);
    }

    async fn of_two_steps_one_is_made(&self) {
        const STEPS: u64 = 8;
        let t = &self.tenant("race");
        let run = async || {
            let mut made = 0;
            loop {
                let before = self.progress(t).await;
                let number = before.next.max(1);
                if number > STEPS {
                    return made;
                }
                let step = step(&before, number, self.now_ms);
                made += u64::from(self.store.commit(&place(t), before, step).await.unwrap());
            }
        };
        let (one, other, third) = tokio::join!(run(), run(), run());
        assert_eq!(one + other + third, STEPS);
        self.check_steps(t, STEPS).await;
    }

    async fn operators_speak_at_once(&self) {
        const STEPS: u64 = 8;
        let t = &self.tenant("at-once");
        let speak = async |at: u64| {
            let place = Place::main(t, &format!("{OPERATOR}-{at}"));
            for number in 1..=STEPS {
                let before = self.store.progress(&place).await.unwrap();
                let messages = vec![message(Topic::RecommendationMetrics, at * 100 + number)];
                let step = Step { progress: before.clone(), messages, ..Step::default() };
                assert!(self.store.commit(&place, before, step).await.unwrap());
            }
        };
        tokio::join!(speak(1), speak(2), speak(3), speak(4));
        let published = self.published(t).await;
        assert!(published.is_sorted_by(|one, other| one.offset < other.offset));
        let all: BTreeSet<&str> = published.iter().map(|one| one.key.as_str()).collect();
        assert_eq!((all.len(), published.len()), (4 * STEPS as usize, 4 * STEPS as usize));
    }

    async fn tenants_and_operators_are_apart(&self) {
        let (a, b) = (&self.tenant("apart-a"), &self.tenant("apart-b"));
        let before = self.progress(a).await;
        assert!(self.store.commit(&place(a), before.clone(), step(&before, 1, self.now_ms)).await.unwrap());
        assert_eq!(Progress { fence: 0, ..self.progress(b).await }, Progress::default());
        assert_eq!((self.published(b).await, self.dead(b).await), (vec![], vec![]));
        assert_eq!(self.accumulators(b, &[pane(&["feed", "i"], SECOND)]).await, [None]);
        assert_eq!(self.store.progress(&Place::main(a, "other")).await.unwrap().next, 0);
        let found =
            self.store.accumulators(&Place::main(a, "other"), vec![pane(&["feed", "i"], SECOND)]).await.unwrap();
        assert_eq!(found, [None]);
        assert_eq!(self.store.first_pane(&Place::main(a, "other"), 0).await.unwrap(), None);
        // What they count is the tenant's.
        let counts = vec![(series("seen_total", &[("item", "i"), ("scenario", "feed")]), 1.0)];
        let before = self.store.progress(&Place::main(a, "other")).await.unwrap();
        let step = Step { progress: before.clone(), counts, ..Step::default() };
        assert!(self.store.commit(&Place::main(a, "other"), before, step).await.unwrap());
        assert_eq!(self.counters(a).await.values().sum::<f64>(), 2.0);
    }
}

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use funnelweb_core::{
    experiment::INTERLEAVED,
    job::{Kind, State as RunState},
};
use funnelweb_exposure_log::{
    Draft, Shown, Slate,
    store::{Error, Page},
};
use funnelweb_factor_events::store::Event;
use funnelweb_jobs::{Jobs, Options, store::Run, work::Works};
use tempfile::TempDir;

use super::*;

/// A scenario with an experiment that runs for an hour.
struct World {
    _folder: TempDir,
    tenant: Tenant,
    stores: Stores,
    jobs: Jobs,
    /// Slates up to here are kept no more.
    cut: Arc<AtomicU64>,
    now_ms: u64,
}

/// A log that has let its oldest slates go.
struct Cut(Arc<dyn ExposureLog>, Arc<AtomicU64>);

#[async_trait]
impl ExposureLog for Cut {
    async fn append(&self, tenant: &Tenant, slate: Slate) -> Result<(), Error> {
        self.0.append(tenant, slate).await
    }

    async fn read(&self, tenant: &Tenant, scenario_id: &str, after: Option<u64>, limit: u32) -> Result<Page, Error> {
        let cut = self.1.load(Ordering::SeqCst);
        self.0.read(tenant, scenario_id, Some(after.unwrap_or_default().max(cut)), limit).await
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        self.0.settle(tenant).await
    }

    async fn end(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.0.end(tenant).await
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.0.forget_user(tenant, user_id).await
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.forget_scenario(tenant, scenario_id).await
    }

    async fn sweep(&self) -> Result<(), Error> {
        self.0.sweep().await
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::embedded(folder.path()).unwrap();
        let cut = Arc::new(AtomicU64::new(0));
        let mut reports = Reports::new(&stores, Arc::new(Endpoints::default()));
        reports.exposures = Arc::new(Cut(Arc::clone(&stores.exposures), Arc::clone(&cut)));
        let works = Works::from([(Kind::Experiments, Arc::new(reports) as Arc<dyn Work>)]);
        let options = Options { poll: Duration::from_millis(10), ..Options::default() };
        let jobs = Jobs::new(Arc::clone(&stores.jobs), Arc::clone(&stores.documents), works, options);
        jobs.spawn();
        let world = Self { _folder: folder, tenant: Tenant::new("t").unwrap(), stores, jobs, cut, now_ms: now_ms() };
        let scenario = json!({"scenario_id": "feed", "scenario_type": "news",
                              "config": {"recall": {"strategies": [{"name": "latest"}]}}});
        world.write(Collection::Scenarios, "feed", scenario).await;
        world.start(world.now_ms - 3_600_000).await;
        world
    }

    async fn write(&self, collection: Collection, id: &str, body: Value) {
        let key = Key::new("feed", id);
        let written =
            self.stores.documents.replace(&self.tenant, collection, key, body.to_string(), Precondition::None);
        written.await.unwrap();
    }

    async fn start(&self, at_ms: u64) {
        let body = json!({
            "experiment_id": "exp", "scenario_id": "feed", "status": "running", "started_at": time::format_ms(at_ms),
            "groups": [{"group_id": "control", "traffic_ratio": 0.5}, {"group_id": "other", "traffic_ratio": 0.5}],
        });
        self.write(Collection::Experiments, "exp", body).await;
    }

    /// The same, with two rankings.
    async fn interleave(&self) {
        let started = time::format_ms(self.now_ms - 3_600_000);
        let body = json!({
            "experiment_id": "exp", "scenario_id": "feed", "type": "interleaving", "status": "running",
            "started_at": started, "groups": [{"group_id": "control"}, {"group_id": "other"}],
        });
        self.write(Collection::Experiments, "exp", body).await;
    }

    async fn experiment(&self) -> Value {
        let key = Key::new("feed", "exp");
        let found = self.stores.documents.get(&self.tenant, Collection::Experiments, key).await.unwrap();
        serde_json::from_str(&found.unwrap().body).unwrap()
    }

    async fn shown(&self, user: &str, group: &str, elapsed_us: u32) {
        let slate = Slate { elapsed_us, cost_us: elapsed_us / 2, ..self.slate(user, group) };
        self.stores.exposures.append(&self.tenant, slate).await.unwrap();
    }

    /// A slate of which a ranking drafted every place.
    async fn drafted(&self, user: &str, team: u8) {
        let drafted = vec![Draft { experiment: "exp".to_owned(), teams: vec![team; 10] }];
        let slate = Slate { drafted, ..self.slate(user, INTERLEAVED) };
        self.stores.exposures.append(&self.tenant, slate).await.unwrap();
    }

    fn slate(&self, user: &str, group: &str) -> Slate {
        Slate {
            request_id: "r".to_owned(),
            user_id: user.to_owned(),
            scenario_id: "feed".to_owned(),
            shown_at_ms: self.now_ms,
            user_features: Vec::new(),
            user: Vec::new(),
            item_features: Vec::new(),
            items: vec![Shown { item_id: "i".to_owned(), cells: Vec::new() }; 10],
            groups: vec![format!("exp:{group}")],
            elapsed_us: 0,
            cost_us: 0,
            drafted: Vec::new(),
        }
    }

    async fn clicks(&self, user: &str, count: usize) {
        let event = |at| Event {
            event_id: format!("{user}-{at}"),
            scenario_id: "feed".to_owned(),
            user_id: user.to_owned(),
            item_id: "i".to_owned(),
            action_type: "click".to_owned(),
            timestamp_ms: self.now_ms + at as u64,
            body: r#"{"context":{},"extra":{}}"#.to_owned(),
            signal: None,
        };
        let events: Vec<Event> = (0..count).map(event).collect();
        let effects = vec![Vec::new(); count];
        self.stores.events.append(&self.tenant, events, effects).await.unwrap();
    }

    async fn run(&self) -> Run {
        let run = self.jobs.start(&self.tenant, "feed", Kind::Experiments, "{}").await.unwrap();
        loop {
            let now = self.jobs.get(&self.tenant, &run.id).await.unwrap().unwrap();
            if now.state.is_over() {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The report of a run, and users and clicks of both groups in it.
    async fn report(&self) -> (Value, Vec<(u64, u64)>) {
        let run = self.run().await;
        assert_eq!(run.state, RunState::Succeeded, "{}", run.error);
        let report = self.experiment().await["report"]["report"].clone();
        let groups = report["groups"].as_array().unwrap();
        let of = |group: &Value| (group["users"].as_u64().unwrap(), group["counts"]["clicks"].as_u64().unwrap());
        let groups = groups.iter().map(of).collect();
        (report, groups)
    }

    /// Users of an interleaving's report, and those who gave more clicks to either ranking.
    async fn votes(&self) -> (Value, [u64; 3]) {
        let run = self.run().await;
        assert_eq!(run.state, RunState::Succeeded, "{}", run.error);
        let report = self.experiment().await["report"]["report"].clone();
        let clicks = report["preferences"].as_array().unwrap().iter().find(|of| of["metric"] == "clicks");
        let of = |name: &str| clicks.map_or(0, |clicks| clicks[name].as_u64().unwrap());
        let votes = [report["users"].as_u64().unwrap(), of("control_users"), of("treatment_users")];
        (report, votes)
    }

    async fn states(&self) -> Vec<String> {
        let listed = self.stores.blobs.list(&self.tenant, "").await.unwrap();
        listed.into_iter().map(|blob| blob.name).filter(|name| name.starts_with("reports")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_run_reads_what_is_new_and_all_of_it_counts_once() {
    let world = World::new().await;
    world.shown("ann", "control", 4000).await;
    world.shown("bob", "other", 8000).await;
    world.clicks("ann", 2).await;
    let (report, groups) = world.report().await;
    assert_eq!(groups, [(1, 2), (1, 0)]);
    let times = &report["groups"][1]["times"];
    assert_eq!((&times["slates"], &times["latency_ms"]["mean"]), (&json!(1), &json!(8.0)), "{times}");
    assert_eq!(times["cost_ms"]["mean"], 4.0);
    assert_eq!(world.report().await.1, [(1, 2), (1, 0)], "nothing is new");
    // Somebody new, and what comes late of somebody who was there.
    world.shown("eve", "other", 8000).await;
    world.clicks("bob", 3).await;
    world.clicks("eve", 1).await;
    assert_eq!(world.report().await.1, [(1, 2), (2, 4)]);
    // The process died before the report was written: its document is as it was before.
    let mut document = world.experiment().await;
    document.as_object_mut().unwrap().remove("report");
    world.write(Collection::Experiments, "exp", document).await;
    world.clicks("ann", 3).await;
    let (report, groups) = world.report().await;
    assert_eq!((groups, &report["incomplete"]), (vec![(1, 3), (2, 4)], &json!(false)));
    assert_eq!(world.states().await, ["reports/feed/exp"], "and one version of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_outlives_the_log_of_slates() {
    let world = World::new().await;
    for user in 0..100 {
        world.shown(&format!("u{user}"), if user % 2 == 0 { "control" } else { "other" }, 1000).await;
    }
    assert_eq!(world.report().await.1, [(50, 0), (50, 0)]);
    // Of the log, most is let go of, and the last slates are there still.
    world.cut.store(60, Ordering::SeqCst);
    world.shown("new", "other", 1000).await;
    let (report, groups) = world.report().await;
    assert_eq!((groups, &report["incomplete"]), (vec![(50, 0), (51, 0)], &json!(false)));
    // All that was read is, and what came meanwhile may have been, too.
    world.cut.store(101, Ordering::SeqCst);
    world.shown("newer", "other", 1000).await;
    let (report, groups) = world.report().await;
    assert_eq!((groups, &report["incomplete"]), (vec![(50, 0), (52, 0)], &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_deleted_is_in_no_report_any_more() {
    let world = World::new().await;
    world.shown("ann", "control", 1000).await;
    world.shown("bob", "other", 1000).await;
    assert_eq!(world.report().await.1, [(1, 0), (1, 0)]);
    world.stores.documents.delete_user(&world.tenant, "ann".to_owned()).await.unwrap();
    assert_eq!(world.states().await.len(), 2, "a mark stands beside it");
    assert_eq!(world.report().await.1, [(0, 0), (1, 0)]);
    assert_eq!(world.states().await, ["reports/feed/exp"]);
    // Who comes again is somebody new.
    world.shown("ann", "control", 1000).await;
    assert_eq!(world.report().await.1, [(1, 0), (1, 0)]);
    // What was shown to them has gone, all that is marked of the log, and none was lost by that.
    for user in ["ann", "bob"] {
        world.stores.documents.delete_user(&world.tenant, user.to_owned()).await.unwrap();
    }
    world.shown("eve", "control", 1000).await;
    let (report, groups) = world.report().await;
    assert_eq!((groups, &report["incomplete"]), (vec![(1, 0), (0, 0)], &json!(false)));
    world.stores.documents.delete_scenario(&world.tenant, "feed".to_owned()).await.unwrap();
    assert_eq!(world.states().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_of_an_interleaving_are_kept_as_users_of_groups_are() {
    let world = World::new().await;
    world.interleave().await;
    world.drafted("ann", 1).await;
    world.drafted("bob", 2).await;
    // A slate that nobody drafted, and one of another experiment.
    world.shown("zoe", INTERLEAVED, 1000).await;
    world.shown("zoe", "other", 1000).await;
    world.clicks("ann", 2).await;
    assert_eq!(world.votes().await.1, [2, 1, 0]);
    // The log of slates has let all of it go but the last, and a click of one of them comes late.
    world.cut.store(2, Ordering::SeqCst);
    world.clicks("bob", 1).await;
    world.drafted("eve", 2).await;
    world.clicks("eve", 1).await;
    let (report, votes) = world.votes().await;
    assert_eq!((votes, &report["incomplete"]), ([3, 1, 2], &json!(false)));
    let clicks = &report["preferences"][0];
    assert_eq!((&clicks["control_credit"], &clicks["treatment_credit"]), (&json!(1.0), &json!(2.0)), "{clicks}");
    let kept = world.experiment().await["report"]["history"].clone();
    let history: Value = serde_json::from_str(kept.as_str().unwrap()).unwrap();
    let shares: Vec<&Value> = [0, 1].map(|at| &history["series"][0]["points"][at]["share"]).to_vec();
    assert_eq!(shares, [&json!(0.0), &json!(0.666667)], "{history}");
    assert_eq!(world.votes().await.1, [3, 1, 2], "nothing is new");
    world.stores.documents.delete_user(&world.tenant, "ann".to_owned()).await.unwrap();
    assert_eq!(world.votes().await.1, [2, 0, 2]);
    world.cut.store(5, Ordering::SeqCst);
    world.drafted("new", 1).await;
    let (report, votes) = world.votes().await;
    assert_eq!((votes, &report["incomplete"]), ([3, 0, 2], &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_made_anew_is_another_and_one_that_is_over_keeps_nothing() {
    let world = World::new().await;
    world.shown("ann", "control", 1000).await;
    assert_eq!(world.report().await.1, [(1, 0), (0, 0)]);
    world.start(world.now_ms + 1).await;
    assert_eq!(world.report().await.1, [(0, 0), (0, 0)]);
    let mut document = world.experiment().await;
    document["stopped_at"] = json!(time::format_ms(world.now_ms + 2));
    document["status"] = json!("stopped");
    world.write(Collection::Experiments, "exp", document).await;
    world.report().await;
    assert_eq!(world.states().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_of_one_stops_no_other_and_loses_nothing() {
    let world = World::new().await;
    let second = async |body: Value| world.write(Collection::Experiments, "second", body).await;
    let mut body = world.experiment().await;
    body["experiment_id"] = json!("second");
    second(body.clone()).await;
    for user in ["ann", "bob"] {
        world.shown(user, "control", 1000).await;
        let slate = Slate { groups: vec!["second:control".to_owned()], ..world.slate(user, "control") };
        world.stores.exposures.append(&world.tenant, slate).await.unwrap();
    }
    assert_eq!(world.report().await.1, [(2, 0), (0, 0)]);
    second(json!({"status": "running", "groups": 3})).await;
    world.stores.documents.delete_user(&world.tenant, "ann".to_owned()).await.unwrap();
    assert_eq!(world.report().await.1, [(1, 0), (0, 0)]);
    let states = world.states().await;
    assert!(states.contains(&"reports/feed/second".to_owned()), "somebody may mend it: {states:?}");
    second(body).await;
    world.shown("eve", "other", 1000).await;
    assert_eq!(world.report().await.1, [(1, 0), (1, 0)], "of what was known, and of what is new");
    let key = Key::new("feed", "second");
    let mended = world.stores.documents.get(&world.tenant, Collection::Experiments, key).await.unwrap().unwrap();
    let mended: Value = serde_json::from_str(&mended.body).unwrap();
    assert_eq!(mended["report"]["report"]["groups"][0]["users"], 1, "who was deleted meanwhile is gone");
    assert_eq!(world.states().await, ["reports/feed/exp", "reports/feed/second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_stopped_fails_the_run_and_not_the_reports() {
    let world = World::new().await;
    world.shown("ann", "control", 1000).await;
    // No endpoint stops experiments in this world: so of what is running here nothing is stopped.
    let stopped = json!({"experiment_id": "over", "scenario_id": "feed", "status": "stopped", "groups": []});
    world.write(Collection::Experiments, "over", stopped).await;
    let running = json!({"experiment_id": "over", "layer": "default", "buckets": [[0, 1]], "start_ms": 0,
                         "groups": [{"group_id": "control", "traffic_ratio": 1.0}]});
    let scenario = json!({"scenario_id": "feed", "scenario_type": "news", "experiments": [running],
                          "config": {"recall": {"strategies": [{"name": "latest"}]}}});
    world.write(Collection::Scenarios, "feed", scenario).await;
    let run = world.run().await;
    assert!(
        run.state == RunState::Failed && run.error.contains("not stopped") && run.error.contains("over"),
        "{run:?}"
    );
    assert_eq!(world.experiment().await["report"]["report"]["groups"][0]["users"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_that_was_not_reported_on_for_too_long_the_begin_is_lost() {
    let world = World::new().await;
    world.start(world.now_ms - limits::EXPOSURE_LOG_MS - 60_000).await;
    world.shown("ann", "control", 1000).await;
    let (report, groups) = world.report().await;
    assert_eq!((groups, &report["incomplete"]), (vec![(1, 0), (0, 0)], &json!(true)));
    // A later run has written what it knows: this one has nothing to say.
    let world = World::new().await;
    world.shown("ann", "control", 1000).await;
    let later = i64::MAX.cast_unsigned();
    world.stores.blobs.put(&world.tenant, "reports/feed/exp", later, vec![9, 9].into()).await.unwrap();
    let run = world.run().await;
    assert!(run.outcome.contains("not above"), "{run:?}");
}

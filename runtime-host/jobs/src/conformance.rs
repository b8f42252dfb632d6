//! The suite that every backend of [`JobStore`] must pass. Every check works in tenants
//! of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

use funnelweb_core::{
    job::{Kind, State},
    limits,
};
use futures::future::join_all;

use crate::{
    new_id,
    store::{
        Change, End, Error, Job, JobStore, Open, Record, Refused, Report, Run, RunsQuery, Tenant, Trigger, backoff_ms,
    },
};

/// A backend under test, and its clock.
pub struct Suite<'a> {
    /// The backend.
    pub jobs: &'a dyn JobStore,
    /// The backend's clock, in milliseconds since 1970.
    pub now_ms: &'a (dyn Fn() -> u64 + Sync),
    /// Moves it on by so many milliseconds.
    pub advance: &'a (dyn Fn(u64) + Sync),
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

fn is_invalid<T: std::fmt::Debug>(result: Result<T, impl Into<Refused>>, name: &str) {
    match result.map_err(Into::into) {
        Err(Refused::Store(Error::Invalid(message))) => {
            assert!(message.contains(name), "{message} does not name {name}");
        }
        other => panic!("expected invalid({name}), got {other:?}"),
    }
}

fn lease_ms() -> u64 {
    u64::try_from(limits::JOB_LEASE.as_millis()).unwrap()
}

fn similarity() -> Job {
    Job::new("feed", Kind::Similarity)
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.a_run_from_begin_to_end().await;
        self.one_run_of_a_job_is_open().await;
        self.of_many_that_begin_or_take_one_wins().await;
        self.a_lease_runs_out_and_tokens_grow().await;
        self.a_call_that_is_made_twice_finds_itself().await;
        self.what_was_left_too_often_has_failed().await;
        self.what_may_pass_is_tried_again_later().await;
        self.what_is_released_is_taken_up().await;
        self.runs_are_cancelled_in_every_state().await;
        self.checkpoints_are_the_holder_s().await;
        self.schedules_are_acted_upon_once().await;
        self.history_is_bounded_and_listed().await;
        self.texts_come_back_as_they_were().await;
        self.tenants_are_apart().await;
        self.scenarios_go_whole().await;
        self.limits_are_errors_that_name_the_argument().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    async fn create(&self, t: &Tenant, job: &Job) -> Result<Record, Refused> {
        self.create_with(t, job, r#"{"a":1}"#).await
    }

    async fn create_with(&self, t: &Tenant, job: &Job, params: &str) -> Result<Record, Refused> {
        let change = Change::Create { id: new_id((self.now_ms)()), params: params.to_owned(), scheduled_ms: None };
        self.jobs.change(t, job, change).await
    }

    async fn claim(&self, t: &Tenant, job: &Job) -> Result<Record, Refused> {
        self.jobs.change(t, job, Change::Claim { claim: new_id((self.now_ms)()) }).await
    }

    async fn finish(&self, t: &Tenant, job: &Job, token: u64, end: End) -> Result<Record, Refused> {
        self.jobs.change(t, job, Change::Finish { token, end }).await
    }

    async fn renew(&self, t: &Tenant, job: &Job, token: u64) -> Result<Record, Refused> {
        self.jobs.change(t, job, Change::Renew { token, report: Report::default() }).await
    }

    async fn cancel(&self, t: &Tenant, job: &Job, id: &str) -> Result<Record, Refused> {
        self.jobs.change(t, job, Change::Cancel { id: id.to_owned() }).await
    }

    async fn stored(&self, t: &Tenant, id: &str) -> Run {
        self.jobs.get(t, id).await.unwrap().unwrap()
    }

    async fn open(&self, t: &Tenant) -> Vec<Open> {
        self.jobs.open().await.unwrap().into_iter().filter(|open| open.tenant == *t).collect()
    }

    async fn a_run_from_begin_to_end(&self) {
        let (t, job) = (&self.tenant("whole"), &similarity());
        assert_eq!(self.jobs.get(t, "nobody").await.unwrap(), None);
        assert!(self.open(t).await.is_empty());
        assert_eq!(self.claim(t, job).await, Err(Refused::Nothing));
        let created_ms = (self.now_ms)();
        let created = self.create(t, job).await.unwrap();
        let expected = Run {
            id: created.run.id.clone(),
            scenario_id: "feed".to_owned(),
            kind: Kind::Similarity,
            state: State::Queued,
            trigger: Trigger::Api,
            phase: String::new(),
            percent: 0.0,
            eta_s: None,
            attempts: 0,
            created_ms,
            started_ms: None,
            finished_ms: None,
            outcome: String::new(),
            error: String::new(),
        };
        assert_eq!(created.run, expected);
        assert_eq!(self.stored(t, &expected.id).await, expected);
        assert_eq!(self.open(t).await, [Open { tenant: t.clone(), job: job.clone(), record: created.clone() }]);
        (self.advance)(1000);
        let claimed = self.claim(t, job).await.unwrap();
        let expected = Run { state: State::Running, attempts: 1, started_ms: Some(created_ms + 1000), ..expected };
        assert_eq!((&claimed.run, claimed.params.as_str()), (&expected, r#"{"a":1}"#));
        let report = Report { phase: "counting".to_owned(), percent: 250.0, eta_s: Some(7) };
        let renewed = self.jobs.change(t, job, Change::Renew { token: claimed.token, report }).await.unwrap();
        let expected = Run { phase: "counting".to_owned(), percent: 100.0, eta_s: Some(7), ..expected };
        assert_eq!(renewed.run, expected);
        assert_eq!(self.stored(t, &expected.id).await, expected);
        (self.advance)(1000);
        let end = End::Succeeded(r#"{"items":3}"#.to_owned());
        let over = self.finish(t, job, claimed.token, end).await.unwrap();
        let expected = Run {
            state: State::Succeeded,
            phase: String::new(),
            eta_s: None,
            finished_ms: Some(created_ms + 2000),
            outcome: r#"{"items":3}"#.to_owned(),
            ..expected
        };
        assert_eq!(over.run, expected);
        assert_eq!(self.stored(t, &expected.id).await, expected);
        assert!(self.open(t).await.is_empty());
        assert_eq!(self.finish(t, job, claimed.token, End::Cancelled).await, Err(Refused::Stale));
        assert_eq!(self.stored(t, &expected.id).await, expected);
    }

    async fn one_run_of_a_job_is_open(&self) {
        let t = &self.tenant("one");
        let first = self.create(t, &similarity()).await.unwrap();
        assert_eq!(self.create(t, &similarity()).await, Err(Refused::Active(first.run.id.clone())));
        // Other kinds and scenarios are other jobs.
        self.create(t, &Job::new("feed", Kind::Embeddings)).await.unwrap();
        self.create(t, &Job::new("news", Kind::Similarity)).await.unwrap();
        assert_eq!(self.open(t).await.len(), 3);
        let claimed = self.claim(t, &similarity()).await.unwrap();
        assert_eq!(self.create(t, &similarity()).await, Err(Refused::Active(first.run.id.clone())));
        self.finish(t, &similarity(), claimed.token, End::Failed("no".to_owned())).await.unwrap();
        let second = self.create(t, &similarity()).await.unwrap();
        assert!(second.run.id > first.run.id);
        assert_eq!(self.stored(t, &first.run.id).await.error, "no");
    }

    async fn of_many_that_begin_or_take_one_wins(&self) {
        let (t, job) = (&self.tenant("race"), &similarity());
        for _ in 0..5 {
            let created = join_all((0..8).map(|_| self.create(t, job))).await;
            let won: Vec<_> = created.iter().filter_map(|created| created.as_ref().ok()).collect();
            assert_eq!(won.len(), 1, "{created:?}");
            let others = created.iter().filter(|other| **other == Err(Refused::Active(won[0].run.id.clone())));
            assert_eq!(others.count(), 7, "{created:?}");
            let claimed = join_all((0..8).map(|_| self.claim(t, job))).await;
            let won: Vec<_> = claimed.iter().filter_map(|claimed| claimed.as_ref().ok()).collect();
            assert_eq!(won.len(), 1, "{claimed:?}");
            assert_eq!(claimed.iter().filter(|other| **other == Err(Refused::Nothing)).count(), 7, "{claimed:?}");
            self.finish(t, job, won[0].token, End::Cancelled).await.unwrap();
        }
    }

    async fn a_lease_runs_out_and_tokens_grow(&self) {
        let (t, job) = (&self.tenant("lease"), &similarity());
        let id = self.create(t, job).await.unwrap().run.id;
        let first = self.claim(t, job).await.unwrap();
        (self.advance)(lease_ms() - 1);
        assert_eq!(self.claim(t, job).await, Err(Refused::Nothing));
        self.renew(t, job, first.token).await.unwrap();
        (self.advance)(lease_ms() - 1);
        assert_eq!(self.claim(t, job).await, Err(Refused::Nothing));
        (self.advance)(1);
        assert!(self.open(t).await[0].record.is_free((self.now_ms)()));
        let second = self.claim(t, job).await.unwrap();
        assert!(second.token > first.token);
        assert_eq!((second.run.id.as_str(), second.run.attempts), (id.as_str(), 2));
        assert_eq!(second.run.started_ms, first.run.started_ms);
        assert_eq!(self.renew(t, job, first.token).await, Err(Refused::Stale));
        let end = End::Succeeded("{}".to_owned());
        assert_eq!(self.finish(t, job, first.token, end.clone()).await, Err(Refused::Stale));
        assert_eq!(self.stored(t, &id).await.state, State::Running);
        // Whoever was late and finds nobody before it keeps what it has.
        (self.advance)(lease_ms() + 1);
        self.renew(t, job, second.token).await.unwrap();
        assert_eq!(self.claim(t, job).await, Err(Refused::Nothing));
        self.finish(t, job, second.token, end).await.unwrap();
        self.create(t, job).await.unwrap();
        let third = self.claim(t, job).await.unwrap();
        assert!(third.token > second.token, "not used again after the run was over");
        assert_eq!(self.renew(t, job, second.token).await, Err(Refused::Stale));
        // Nor when the process is known to have ended.
        self.jobs.change(t, job, Change::Abandon).await.unwrap();
        assert!(self.claim(t, job).await.unwrap().token > third.token);
    }

    async fn a_call_that_is_made_twice_finds_itself(&self) {
        let (t, job) = (&self.tenant("twice"), &similarity());
        let change = Change::Create { id: "run-1".to_owned(), params: "{}".to_owned(), scheduled_ms: None };
        let created = self.jobs.change(t, job, change.clone()).await.unwrap();
        assert_eq!(self.jobs.change(t, job, change).await, Ok(created));
        let change = Change::Claim { claim: "mine".to_owned() };
        let claimed = self.jobs.change(t, job, change.clone()).await.unwrap();
        assert_eq!(self.jobs.change(t, job, change).await, Ok(claimed));
    }

    async fn what_was_left_too_often_has_failed(&self) {
        let (t, job) = (&self.tenant("left"), &similarity());
        let id = self.create(t, job).await.unwrap().run.id;
        for attempt in 1..=limits::JOB_FAILURES {
            let claimed = self.claim(t, job).await.unwrap();
            assert_eq!((claimed.run.state, claimed.run.attempts), (State::Running, attempt));
            (self.advance)(lease_ms());
        }
        assert_eq!(self.claim(t, job).await.unwrap().run.state, State::Failed);
        let run = self.stored(t, &id).await;
        assert_eq!((run.state, run.attempts), (State::Failed, limits::JOB_FAILURES));
        assert!(run.error.contains(&format!("{} times", limits::JOB_FAILURES)), "{}", run.error);
        assert!(self.open(t).await.is_empty());
    }

    async fn what_may_pass_is_tried_again_later(&self) {
        let (t, job) = (&self.tenant("retry"), &similarity());
        let id = self.create(t, job).await.unwrap().run.id;
        for failures in 1..limits::JOB_FAILURES {
            let claimed = self.claim(t, job).await.unwrap();
            let waits = self.finish(t, job, claimed.token, End::Retry("busy".to_owned())).await.unwrap();
            assert_eq!((waits.run.state, waits.run.error.as_str()), (State::Queued, ""));
            assert!(waits.run.phase.contains("busy"), "{}", waits.run.phase);
            assert_eq!(self.renew(t, job, claimed.token).await, Err(Refused::Stale));
            (self.advance)(backoff_ms(failures) - 1);
            assert_eq!(self.claim(t, job).await, Err(Refused::Nothing));
            (self.advance)(1);
        }
        let claimed = self.claim(t, job).await.unwrap();
        self.finish(t, job, claimed.token, End::Retry("busy".to_owned())).await.unwrap();
        let run = self.stored(t, &id).await;
        assert_eq!((run.state, run.attempts), (State::Failed, limits::JOB_FAILURES));
        assert!(run.error.starts_with("busy"), "{}", run.error);
    }

    async fn what_is_released_is_taken_up(&self) {
        let (t, job) = (&self.tenant("released"), &similarity());
        self.create(t, job).await.unwrap();
        // Any number of times: that is no failure.
        for attempt in 1..=limits::JOB_FAILURES + 1 {
            let claimed = self.claim(t, job).await.unwrap();
            assert_eq!(claimed.run.attempts, attempt);
            self.jobs.keep(t, job, claimed.token, vec![7]).await.unwrap();
            let waits = self.finish(t, job, claimed.token, End::Released).await.unwrap();
            assert_eq!(waits.run.state, State::Queued);
            assert_eq!(self.jobs.kept(t, job).await.unwrap(), Some(vec![7]));
        }
    }

    async fn runs_are_cancelled_in_every_state(&self) {
        let (t, job) = (&self.tenant("cancel"), &similarity());
        assert_eq!(self.cancel(t, job, "nobody").await, Err(Refused::Nothing));
        // One that waits.
        let id = self.create(t, job).await.unwrap().run.id;
        assert_eq!(self.cancel(t, job, &id).await.unwrap().run.state, State::Cancelled);
        assert_eq!(self.stored(t, &id).await.state, State::Cancelled);
        assert_eq!(self.cancel(t, job, &id).await, Err(Refused::Nothing));
        // One at work: its runner learns of it.
        let next = self.create(t, job).await.unwrap().run.id;
        assert_eq!(self.cancel(t, job, &id).await, Err(Refused::Nothing), "it is another's turn");
        let claimed = self.claim(t, job).await.unwrap();
        assert!(!self.renew(t, job, claimed.token).await.unwrap().cancel);
        assert_eq!(self.cancel(t, job, &next).await.unwrap().run.state, State::Running);
        assert!(self.renew(t, job, claimed.token).await.unwrap().cancel);
        // Whatever its runner makes of it then.
        self.finish(t, job, claimed.token, End::Retry("busy".to_owned())).await.unwrap();
        assert_eq!(self.stored(t, &next).await.state, State::Cancelled);
        // One whose runner is gone.
        let id = self.create(t, job).await.unwrap().run.id;
        self.claim(t, job).await.unwrap();
        (self.advance)(lease_ms());
        assert_eq!(self.cancel(t, job, &id).await.unwrap().run.state, State::Cancelled);
        // And one whose runner goes afterwards.
        let id = self.create(t, job).await.unwrap().run.id;
        self.claim(t, job).await.unwrap();
        self.cancel(t, job, &id).await.unwrap();
        (self.advance)(lease_ms());
        assert_eq!(self.claim(t, job).await.unwrap().run.state, State::Cancelled);
        assert!(self.open(t).await.is_empty());
    }

    async fn checkpoints_are_the_holder_s(&self) {
        let (t, job) = (&self.tenant("kept"), &similarity());
        assert_eq!(self.jobs.kept(t, job).await.unwrap(), None);
        assert_eq!(self.jobs.keep(t, job, 0, vec![1]).await, Err(Refused::Stale));
        self.create(t, job).await.unwrap();
        assert_eq!(self.jobs.keep(t, job, 0, vec![1]).await, Err(Refused::Stale));
        let first = self.claim(t, job).await.unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        self.jobs.keep(t, job, first.token, vec![1]).await.unwrap();
        self.jobs.keep(t, job, first.token, bytes.clone()).await.unwrap();
        assert_eq!(self.jobs.kept(t, &Job::new("feed", Kind::Profiles)).await.unwrap(), None);
        (self.advance)(lease_ms());
        let second = self.claim(t, job).await.unwrap();
        assert_eq!(self.jobs.kept(t, job).await.unwrap(), Some(bytes.clone()));
        assert_eq!(self.jobs.keep(t, job, first.token, vec![2]).await, Err(Refused::Stale));
        assert_eq!(self.jobs.kept(t, job).await.unwrap(), Some(bytes));
        self.finish(t, job, second.token, End::Failed("no".to_owned())).await.unwrap();
        assert_eq!(self.jobs.kept(t, job).await.unwrap(), None, "it goes with the run");
        assert_eq!(self.jobs.keep(t, job, second.token, vec![2]).await, Err(Refused::Stale));
    }

    async fn schedules_are_acted_upon_once(&self) {
        let (t, job) = (&self.tenant("due"), &similarity());
        assert_eq!(self.jobs.scheduled_ms(t, job).await.unwrap(), 0);
        let due = |at_ms| {
            let id = new_id((self.now_ms)());
            self.jobs.change(t, job, Change::Create { id, params: "{}".to_owned(), scheduled_ms: Some(at_ms) })
        };
        let at_ms = (self.now_ms)() - 5000;
        let begun = join_all((0..6).map(|_| due(at_ms))).await;
        let won: Vec<_> = begun.iter().filter_map(|begun| begun.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{begun:?}");
        assert_eq!(won[0].run.trigger, Trigger::Schedule);
        // Times between that one and now were missed, and are made up for.
        assert_eq!(self.jobs.scheduled_ms(t, job).await.unwrap(), (self.now_ms)());
        assert_eq!(due(at_ms + 1000).await, Err(Refused::Nothing));
        (self.advance)(1000);
        // One that is open at that time is enough.
        let again = due((self.now_ms)()).await.unwrap();
        assert_eq!(again.run.id, won[0].run.id);
        assert_eq!(due((self.now_ms)()).await, Err(Refused::Nothing));
        let claimed = self.claim(t, job).await.unwrap();
        self.finish(t, job, claimed.token, End::Succeeded("{}".to_owned())).await.unwrap();
        assert_eq!(self.jobs.scheduled_ms(t, job).await.unwrap(), (self.now_ms)());
        self.create(t, job).await.unwrap();
        assert_eq!(self.jobs.scheduled_ms(t, job).await.unwrap(), (self.now_ms)());
    }

    async fn history_is_bounded_and_listed(&self) {
        let t = &self.tenant("history");
        let list = async |query: RunsQuery| self.jobs.list(t, query).await.unwrap();
        let all = || RunsQuery { limit: 1000, ..RunsQuery::default() };
        assert_eq!(list(all()).await, []);
        let (one, two) = (&similarity(), &Job::new("news", Kind::Profiles));
        let mut ids = Vec::new();
        for at in 0..limits::JOB_RUNS + 3 {
            (self.advance)(1);
            ids.push(self.create(t, one).await.unwrap().run.id);
            let claimed = self.claim(t, one).await.unwrap();
            let end = if at % 2 == 0 { End::Cancelled } else { End::Succeeded("{}".to_owned()) };
            self.finish(t, one, claimed.token, end).await.unwrap();
        }
        (self.advance)(1);
        let other = self.create(t, two).await.unwrap().run.id;
        (self.advance)(1);
        let open = self.create(t, one).await.unwrap().run.id;
        // The newest first, of those that are over so many of each job.
        let mut expected: Vec<String> = ids.iter().skip(3).cloned().chain([other.clone(), open.clone()]).collect();
        expected.reverse();
        let found = |runs: Vec<Run>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(found(list(all()).await), expected);
        assert_eq!(self.jobs.get(t, &ids[2]).await.unwrap(), None);
        // Page by page.
        let mut paged: Vec<String> = Vec::new();
        loop {
            let before = paged.last().cloned();
            let page = found(list(RunsQuery { before, limit: 7, ..RunsQuery::default() }).await);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, expected);
        // By scenario, kind, state.
        let of = |scenario: &str| RunsQuery { scenario_id: Some(scenario.to_owned()), ..all() };
        assert_eq!(found(list(of("news")).await), [other.as_str()]);
        assert_eq!(found(list(RunsQuery { kind: Some(Kind::Profiles), ..all() }).await), [other.as_str()]);
        assert_eq!(found(list(RunsQuery { kind: Some(Kind::Profiles), ..of("feed") }).await), [""; 0]);
        assert_eq!(found(list(RunsQuery { limit: 1, ..of("feed") }).await), [open.as_str()]);
        assert_eq!(
            found(list(RunsQuery { before: Some(open.clone()), limit: 1, ..of("feed") }).await),
            ids[ids.len() - 1..]
        );
        let queued = RunsQuery { state: Some(State::Queued), ..all() };
        assert_eq!(found(list(queued.clone()).await), [open.clone(), other]);
        assert_eq!(found(list(RunsQuery { kind: Some(Kind::Similarity), ..queued }).await), [open]);
        let cancelled = list(RunsQuery { state: Some(State::Cancelled), limit: 3, ..all() }).await;
        assert!(cancelled.len() == 3 && cancelled.iter().all(|run| run.state == State::Cancelled));
    }

    async fn texts_come_back_as_they_were(&self) {
        let (t, job) = (&self.tenant("texts"), &Job::new("a.b:c_d-e", Kind::Sync));
        let params = "{\"ключ\":\"значение \u{1f980} \\u0000 \\\\ / \\\"\",\"n\":[1e-7,12345678901234567,{}]}";
        let created = self.create_with(t, job, params).await.unwrap();
        let claimed = self.claim(t, job).await.unwrap();
        assert_eq!(claimed.params, params);
        let phase = "à moitié \u{0}\n'\"";
        let report = Report { phase: phase.to_owned(), percent: 33.25, eta_s: Some(u32::MAX) };
        self.jobs.change(t, job, Change::Renew { token: claimed.token, report }).await.unwrap();
        let run = self.stored(t, &created.run.id).await;
        assert_eq!((run.phase.as_str(), run.percent, run.eta_s), (phase, 33.25, Some(u32::MAX)));
        // An error is cut at a character.
        let error = "\u{1f980}".repeat(limits::JOB_OUTCOME_BYTES / 4 + 1);
        self.finish(t, job, claimed.token, End::Failed(format!("x{error}"))).await.unwrap();
        let run = self.stored(t, &created.run.id).await;
        assert_eq!(run.error.len(), 1 + (limits::JOB_OUTCOME_BYTES - 1) / 4 * 4);
    }

    async fn tenants_are_apart(&self) {
        // Names that would be one key if they were joined carelessly.
        let (one, other) = (&self.tenant("apart"), &self.tenant("apart:feed"));
        let (job, namesake) = (&Job::new("feed:feed", Kind::Similarity), &Job::new("feed", Kind::Similarity));
        let mine = self.create(one, job).await.unwrap();
        let claimed = self.claim(one, job).await.unwrap();
        self.jobs.keep(one, job, claimed.token, vec![1]).await.unwrap();
        assert_eq!(self.jobs.get(other, &mine.run.id).await.unwrap(), None);
        assert_eq!(self.claim(other, job).await, Err(Refused::Nothing));
        assert_eq!(self.claim(other, namesake).await, Err(Refused::Nothing));
        assert_eq!(self.cancel(other, job, &mine.run.id).await, Err(Refused::Nothing));
        assert_eq!(self.renew(other, job, claimed.token).await, Err(Refused::Stale));
        let all = RunsQuery { limit: 10, ..RunsQuery::default() };
        assert_eq!(self.jobs.list(other, all).await.unwrap(), []);
        for theirs in [job, namesake] {
            assert_eq!(self.jobs.kept(other, theirs).await.unwrap(), None);
            let created = self.create(other, theirs).await.unwrap();
            self.claim(other, theirs).await.unwrap();
            self.cancel(other, theirs, &created.run.id).await.unwrap();
            self.jobs.forget_scenario(other, &theirs.scenario_id).await.unwrap();
        }
        assert!(!self.renew(one, job, claimed.token).await.unwrap().cancel);
        assert_eq!(self.jobs.kept(one, job).await.unwrap(), Some(vec![1]));
        assert_eq!(self.open(one).await.len(), 1);
    }

    async fn scenarios_go_whole(&self) {
        let (t, job, stays) = (&self.tenant("gone"), &similarity(), &Job::new("news", Kind::Similarity));
        let mut last = 0;
        for round in 0..2 {
            let over = self.create(t, job).await.unwrap();
            let claimed = self.claim(t, job).await.unwrap();
            assert!(claimed.token > last, "one that was deleted had {last}, not less than {}", claimed.token);
            self.finish(t, job, claimed.token, End::Cancelled).await.unwrap();
            let open = self.create(t, job).await.unwrap();
            let claimed = self.claim(t, job).await.unwrap();
            self.jobs.keep(t, job, claimed.token, vec![1]).await.unwrap();
            if round == 0 {
                self.create(t, stays).await.unwrap();
            }
            (self.advance)(10);
            self.jobs.forget_scenario(t, "feed").await.unwrap();
            for id in [&over.run.id, &open.run.id] {
                assert_eq!(self.jobs.get(t, id).await.unwrap(), None);
            }
            assert_eq!(self.jobs.kept(t, job).await.unwrap(), None);
            // Whoever is at it learns so.
            assert_eq!(self.renew(t, job, claimed.token).await, Err(Refused::Stale));
            assert_eq!(self.jobs.keep(t, job, claimed.token, vec![2]).await, Err(Refused::Stale));
            let left = self.jobs.list(t, RunsQuery { limit: 10, ..RunsQuery::default() }).await.unwrap();
            assert_eq!(left.iter().map(|run| run.scenario_id.as_str()).collect::<Vec<_>>(), ["news"]);
            assert_eq!(self.open(t).await.len(), 1);
            last = claimed.token;
        }
        self.jobs.forget_scenario(t, "nobody").await.unwrap();
    }

    async fn limits_are_errors_that_name_the_argument(&self) {
        let (t, job) = (&self.tenant("limits"), &similarity());
        let long = "x".repeat(limits::ID_BYTES + 1);
        is_invalid(self.create(t, &Job::new("a/b", Kind::Sync)).await, "scenario-id");
        is_invalid(self.create(t, &Job::new(&long, Kind::Sync)).await, "scenario-id");
        let params = |bytes: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(bytes - r#"{"x":""}"#.len()));
        is_invalid(self.create_with(t, job, &params(limits::PARAMS_BYTES + 1)).await, "params");
        self.create_with(t, job, &params(limits::PARAMS_BYTES)).await.unwrap();
        let token = self.claim(t, job).await.unwrap().token;
        let checkpoint = vec![7; limits::JOB_CHECKPOINT_BYTES + 1];
        is_invalid(self.jobs.keep(t, job, token, checkpoint).await, "checkpoint");
        let end = |bytes: usize| End::Succeeded(params(bytes));
        is_invalid(self.finish(t, job, token, end(limits::JOB_OUTCOME_BYTES + 1)).await, "outcome");
        self.finish(t, job, token, end(limits::JOB_OUTCOME_BYTES)).await.unwrap();
        let list = async |limit: u32| self.jobs.list(t, RunsQuery { limit, ..RunsQuery::default() }).await;
        is_invalid(list(0).await, "limit");
        is_invalid(list(limits::PAGE_DOCUMENTS + 1).await, "limit");
        assert_eq!(list(limits::PAGE_DOCUMENTS).await.unwrap().len(), 1);
        let wrong = RunsQuery { scenario_id: Some("a/b".to_owned()), limit: 1, ..RunsQuery::default() };
        is_invalid(self.jobs.list(t, wrong).await, "scenario-id");
        let wrong = RunsQuery { before: Some("a/b".to_owned()), limit: 1, ..RunsQuery::default() };
        is_invalid(self.jobs.list(t, wrong).await, "before");
    }
}

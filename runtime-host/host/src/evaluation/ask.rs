//! Many questions, several at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use funnelweb_evaluation::report::{Latency, Trouble};
use http::Method;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Trial;
use crate::inside::{Call, JSON};

/// Requests at once, by core: while one waits for a store, another computes.
const PER_CORE: usize = 2;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// Who is asked for, and how.
#[derive(Debug, Clone)]
pub struct Question {
    /// The user.
    pub user_id: String,
    /// The body of the request.
    body: Vec<u8>,
}

impl Question {
    /// A question for `count` items, none of `exclude`.
    ///
    /// # Errors
    /// Never, in fact: what it is made of always is JSON.
    pub fn new(scenario_id: &str, user_id: &str, count: u32, exclude: &[&str]) -> anyhow::Result<Self> {
        #[derive(Serialize)]
        struct Body<'a> {
            scenario_id: &'a str,
            count: u32,
            exclude_items: &'a [&'a str],
        }
        let body = serde_json::to_vec(&Body { scenario_id, count, exclude_items: exclude })?;
        Ok(Self { user_id: user_id.to_owned(), body })
    }
}

/// What came back.
#[derive(Debug, Default)]
pub struct Answers {
    /// By question, the items' ids, best first.
    pub slates: Vec<Vec<String>>,
    /// How long they took.
    pub latency: Option<Latency>,
    /// What did not work.
    pub trouble: Vec<Trouble>,
}

/// One answer.
struct Slate {
    at: usize,
    items: Vec<String>,
    degraded: Vec<Degraded>,
    elapsed: Duration,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Degraded {
    stage: String,
    reason: String,
}

/// Asks all questions, some at once; `progress` is told how many are answered.
///
/// # Errors
/// The first that is refused, or finds no endpoint. A stage that fails is none: it is
/// in the answers' trouble.
pub async fn ask(
    trial: &Arc<Trial>,
    questions: &Arc<Vec<Question>>,
    progress: &mut dyn FnMut(usize),
) -> anyhow::Result<Answers> {
    let next = Arc::new(AtomicUsize::new(0));
    let slates: Arc<Mutex<Vec<Slate>>> = Arc::default();
    let mut workers = JoinSet::new();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..cores * PER_CORE {
        let (trial, questions) = (Arc::clone(trial), Arc::clone(questions));
        let (next, slates) = (Arc::clone(&next), Arc::clone(&slates));
        workers.spawn(async move {
            while let at = next.fetch_add(1, Ordering::Relaxed)
                && let Some(question) = questions.get(at)
            {
                let slate = answer(&trial, at, question).await?;
                slates.lock().unwrap_or_else(PoisonError::into_inner).push(slate);
            }
            anyhow::Ok(())
        });
    }
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            done = workers.join_next() => match done {
                None => break,
                Some(done) => if let Err(error) = done.context("a request broke off").flatten() {
                    workers.shutdown().await;
                    return Err(error);
                },
            },
            _ = tick.tick() => progress(next.load(Ordering::Relaxed).min(questions.len())),
        }
    }
    progress(questions.len());
    let mut slates = std::mem::take(&mut *slates.lock().unwrap_or_else(PoisonError::into_inner));
    slates.sort_unstable_by_key(|slate| slate.at);
    Ok(collect(slates))
}

async fn answer(trial: &Trial, at: usize, question: &Question) -> anyhow::Result<Slate> {
    #[derive(Deserialize)]
    struct Answer {
        items: Vec<Item>,
        #[serde(default)]
        degraded: Vec<Degraded>,
    }
    #[derive(Deserialize)]
    struct Item {
        item_id: String,
    }
    let start = Instant::now();
    let Question { user_id, body } = question;
    let call = Call {
        method: Method::POST,
        path: "/api/v1/recommend",
        user_id: Some(user_id),
        media: JSON,
        body: body.clone(),
    };
    let answer = trial.call("recommend", call).await.with_context(|| format!("user `{user_id}`"))?;
    let elapsed = start.elapsed();
    let Answer { items, degraded } = serde_json::from_slice(&answer)?;
    Ok(Slate { at, items: items.into_iter().map(|item| item.item_id).collect(), degraded, elapsed })
}

fn collect(slates: Vec<Slate>) -> Answers {
    let mut times: Vec<Duration> = slates.iter().map(|slate| slate.elapsed).collect();
    times.sort_unstable();
    let quantile = |share: f64| {
        let at = (share * times.len() as f64) as usize;
        times.get(at.min(times.len().saturating_sub(1))).map(|time| time.as_secs_f64() * 1000.0)
    };
    let latency = quantile(0.5).zip(quantile(0.99)).map(|(p50_ms, p99_ms)| Latency { p50_ms, p99_ms });
    let mut trouble: BTreeMap<Degraded, u64> = BTreeMap::new();
    let mut answers = Answers { latency, ..Answers::default() };
    for slate in slates {
        slate.degraded.into_iter().for_each(|degraded| *trouble.entry(degraded).or_default() += 1);
        answers.slates.push(slate.items);
    }
    let of = |(Degraded { stage, reason }, answers)| Trouble { stage, reason, answers };
    answers.trouble = trouble.into_iter().map(of).collect();
    answers
}

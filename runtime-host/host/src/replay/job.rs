//! The job `replay`: the last requests of a scenario that were recorded, run again; as they
//! were, to see that they come to the same, or with a change, to see how it differs before a
//! user sees it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_jobs::work::{Failure, ParamError, Task, Work};
use funnelweb_recording::{Recording, host::Refusal, store::Recordings as _};
use funnelweb_replay::Comparison;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Both, Replayer, changes::Changed, clicks::clicked};

/// Requests that an outcome lists.
const LISTED: usize = 20;
/// Differences that it lists of each.
const LISTED_OF_EACH: usize = 5;
/// Recordings unless said otherwise.
const LAST: usize = 1000;

/// The work.
pub(crate) struct Replays(pub(crate) Arc<Replayer>);

/// What is run again.
#[derive(Debug, PartialEq)]
struct Params {
    last: usize,
    changed: Changed,
}

impl Params {
    fn read(params: &Value) -> Result<Self, ParamError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Text {
            #[serde(default)]
            last: Option<usize>,
            #[serde(default)]
            config: Map<String, Value>,
            #[serde(default)]
            with: Vec<String>,
        }
        let refuse = |error: serde_path_to_error::Error<serde_json::Error>| {
            let path = error.path().to_string().replace('.', "/");
            let pointer = if path == "/" { String::new() } else { format!("/{path}") };
            (pointer, error.into_inner().to_string())
        };
        let Text { last, config, with } = serde_path_to_error::deserialize(params.clone()).map_err(refuse)?;
        let last = last.unwrap_or(LAST);
        if !(1..=limits::REPLAYED).contains(&last) {
            return Err(("/last".to_owned(), format!("must be 1 to {}, got {last}", limits::REPLAYED)));
        }
        let text = json!({ "config": config, "with": with }).to_string();
        let changed = Changed::read(&text).map_err(|refusal| match refusal {
            Refusal::Invalid((path, message)) => {
                (format!("/{}", path.replace(['.', '['], "/").replace(']', "")), message)
            }
            _ => (String::new(), "the changes cannot be read".to_owned()),
        })?;
        Ok(Self { last, changed })
    }
}

/// What has come of it so far.
#[derive(Default)]
struct Tally {
    requests: u64,
    identical: u64,
    differing: Vec<Value>,
    /// How many could not be run, and some of them.
    failures: u64,
    failed: Vec<Value>,
    /// Requests with a stage that did not do its part, as they were and with the change.
    degraded: (u64, u64),
    /// Those that are not as they were without the change.
    drifted: u64,
    /// Versions of which nothing ran in any request.
    unused: Option<BTreeSet<String>>,
    comparison: Comparison,
}

#[async_trait]
impl Work for Replays {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        Params::read(params).map(drop)
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let Params { last, changed } =
            Params::read(&task.params).map_err(|(path, message)| Failure::Permanent(format!("{path}: {message}")))?;
        let request_ids = self.last(&task, last).await?;
        let mut tally = Tally::default();
        for (at, request_id) in request_ids.iter().enumerate() {
            task.progress.report("requests", 100.0 * at as f32 / request_ids.len() as f32);
            task.go_on()?;
            // It may have expired meanwhile.
            let Some(recording) = self.0.recordings.get(&task.tenant, request_id).await? else { continue };
            let recording = Arc::new(recording);
            let one = match changed.is_nothing() {
                true => self.same(&task, &recording, &mut tally).await,
                false => self.compared(&task, &recording, &changed, &mut tally).await,
            };
            match one {
                Ok(()) => {}
                Err(Refusal::Store(error)) => return Err(Failure::Transient(format!("{error:?}"))),
                // Its scenario was another then, which does not take the change.
                Err(Refusal::Invalid((path, message))) => tally.failed(request_id, &format!("{path}: {message}")),
                Err(Refusal::Failed(reason)) => tally.failed(request_id, &reason),
                Err(Refusal::NoRecording) => {}
            }
        }
        tally.outcome(&changed)
    }
}

impl Replays {
    /// The ids of the last recordings of the scenario, the newest first, each once.
    async fn last(&self, task: &Task, last: usize) -> Result<Vec<String>, Failure> {
        self.0.recordings.drain().await;
        let (mut ids, mut before) = (Vec::new(), None);
        let mut known = HashSet::new();
        while ids.len() < last {
            let page = self.0.recordings.list(&task.tenant, Some(&task.scenario_id), before, limits::PAGE_DOCUMENTS);
            let page = page.await?;
            let fresh = page.heads.into_iter().map(|head| head.request_id).filter(|id| known.insert(id.clone()));
            ids.extend(fresh.collect::<Vec<_>>());
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        ids.truncate(last);
        Ok(ids)
    }

    async fn same(&self, task: &Task, recording: &Arc<Recording>, tally: &mut Tally) -> Result<(), Refusal> {
        let again = self.0.same(&task.tenant, recording, false).await?;
        tally.requests += 1;
        if again.is_same(recording) {
            tally.identical += 1;
        } else {
            let mut differences = again.differences;
            differences.truncate(LISTED_OF_EACH);
            list(&mut tally.differing, json!({"request_id": recording.asked.request_id, "differences": differences}));
        }
        Ok(())
    }

    async fn compared(
        &self,
        task: &Task,
        recording: &Arc<Recording>,
        changed: &Changed,
        tally: &mut Tally,
    ) -> Result<(), Refusal> {
        let Both { mut compared, then, now } = self.0.compared(&task.tenant, recording, changed).await?;
        let items = &compared.then.items;
        let clicked = clicked(&self.0.events, &task.tenant, recording, items).await;
        compared.clicked = clicked.map_err(|error| Refusal::Store(error.into()))?;
        tally.requests += 1;
        tally.drifted += u64::from(!then.is_same(recording));
        tally.degraded.0 += u64::from(then.degraded() > 0);
        tally.degraded.1 += u64::from(now.degraded() > 0);
        let unused: BTreeSet<String> = now.unused.into_iter().collect();
        tally.unused = Some(match tally.unused.take() {
            Some(before) => before.intersection(&unused).cloned().collect(),
            None => unused,
        });
        tally.comparison.add(&compared).map_err(|error| Refusal::Failed(error.to_string()))
    }
}

impl Tally {
    fn failed(&mut self, request_id: &str, reason: &str) {
        self.failures += 1;
        list(&mut self.failed, json!({"request_id": request_id, "reason": reason}));
    }

    fn outcome(self, changed: &Changed) -> Result<Value, Failure> {
        let Self { requests, identical, differing, failures, failed, degraded, drifted, unused, comparison } = self;
        if changed.is_nothing() {
            return Ok(json!({
                "requests": requests, "identical": identical, "differing": differing,
                "failures": failures, "failed": failed,
            }));
        }
        if let Some(Refusal::Invalid((path, message))) =
            unused.and_then(|unused| unused.first().map(|name| changed.unused(name)))
        {
            return Err(Failure::Permanent(format!("{path}: {message}")));
        }
        let report = comparison.report().map_err(|error| Failure::Permanent(error.to_string()))?;
        Ok(json!({
            "requests": requests, "comparison": report,
            // Of the requests as they were, those that are not the same any more.
            "drifted": drifted,
            "degraded": {"then": degraded.0, "now": degraded.1},
            "failures": failures, "failed": failed,
        }))
    }
}

fn list(among: &mut Vec<Value>, one: Value) {
    if among.len() < LISTED {
        among.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_read_strictly() {
        let read = |params: Value| Params::read(&params);
        assert_eq!(read(json!({})).unwrap(), Params { last: LAST, changed: Changed::default() });
        assert_eq!(read(json!({"last": limits::REPLAYED})).unwrap().last, limits::REPLAYED);
        let at = |params: Value| read(params).unwrap_err().0;
        assert_eq!(at(json!({"last": 0})), "/last");
        assert_eq!(at(json!({"last": limits::REPLAYED + 1})), "/last");
        assert_eq!(at(json!({"with": ["boost"]})), "/with/0");
        assert_eq!(at(json!({"config": 1})), "/config");
        assert_eq!(at(json!({"first": 1})), "/first");
    }
}

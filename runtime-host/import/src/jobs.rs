//! Jobs of a running server: to begin, to wait for, to stop.

use std::{thread::sleep, time::Duration};

use funnelweb_core::job::{Kind, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Client, Error, Result, client::check};

const PATH: &str = "/api/v1/jobs";
/// Before a run is looked at the first time; each further pause is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One run of a job, as the API tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique within the tenant.
    pub run_id: String,
    /// The scenario.
    pub scenario_id: String,
    /// What is done.
    pub kind: Kind,
    /// What has become of it.
    pub state: State,
    /// What it is at, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// 0 to 100.
    pub percent: f32,
    /// Seconds left, when that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u32>,
    /// How often it was begun.
    pub attempts: u32,
    /// RFC 3339.
    pub created_at: String,
    /// What came of it, once it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Value>,
    /// Why it failed; empty unless it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Run>,
}

impl Client {
    /// Begins a job; where a run of it is open already, that one. `params` overlays
    /// those of the scenario's config.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn start_job(&self, scenario_id: &str, kind: Kind, params: &Map<String, Value>) -> Result<Run> {
        check("scenario id", scenario_id)?;
        let body = json!({"scenario_id": scenario_id, "kind": kind, "params": params}).to_string();
        match self.call("POST", PATH, "application/json", body.as_bytes(), None) {
            Ok(answer) => self.read(PATH, &answer),
            Err(Error::Refused { url, status: 409, message }) if message.starts_with("job_active") => {
                // The newest is the one that is open, or was just now.
                let newest = self.jobs(Some(scenario_id), Some(kind), 1)?.into_iter().next();
                newest.ok_or(Error::Refused { url, status: 409, message })
            }
            Err(error) => Err(error),
        }
    }

    /// A run.
    ///
    /// # Errors
    /// When the server cannot be reached or there is no such run.
    pub fn job(&self, run_id: &str) -> Result<Run> {
        check("run", run_id)?;
        self.ask("GET", &format!("{PATH}/{run_id}"))
    }

    /// Runs, newest first, 1 to 1000 at most.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn jobs(&self, scenario_id: Option<&str>, kind: Option<Kind>, limit: u32) -> Result<Vec<Run>> {
        let mut path = format!("{PATH}?limit={limit}");
        if let Some(scenario_id) = scenario_id {
            check("scenario id", scenario_id)?;
            path.push_str(&format!("&scenario_id={scenario_id}"));
        }
        if let Some(kind) = kind {
            path.push_str(&format!("&kind={}", kind.as_str()));
        }
        Ok(self.ask::<Page>("GET", &path)?.jobs)
    }

    /// Has a run stop; as it is then.
    ///
    /// # Errors
    /// When the server cannot be reached or there is no such run.
    pub fn cancel_job(&self, run_id: &str) -> Result<Run> {
        check("run", run_id)?;
        self.ask("DELETE", &format!("{PATH}/{run_id}"))
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, method: &str, path: &str) -> Result<T> {
        self.read(path, &self.call(method, path, "application/json", b"", None)?)
    }
}

/// Waits until a run is over, telling each time how far it is; as it is then.
///
/// # Errors
/// When the server cannot be reached, or has forgotten the run.
pub fn follow(client: &Client, run: Run, progress: &mut dyn FnMut(&Run)) -> Result<Run> {
    let (mut run, mut pause) = (run, FIRST_PAUSE);
    loop {
        progress(&run);
        if run.state.is_over() {
            return Ok(run);
        }
        sleep(pause);
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        run = client.job(&run.run_id)?;
    }
}

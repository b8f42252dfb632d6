//! What is known of the users of experiments, from one report to the next: a blob for each
//! experiment that is not over, of which a run writes the next version, with how far in the logs
//! it goes. Both are one: whatever becomes of a run, what was read counts once.
//!
//! A user who is deleted is in none of them after the next run: until then a mark stands beside
//! them, an empty blob that is named by the user's handle.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bincode::{Decode, Encode};
use funnelweb_blob_store::store::{Blob, Blobs, Error as BlobError};
use funnelweb_core::{handles::HandleSet, id, limits};
use funnelweb_exposure_log::Slate;
use funnelweb_factor_documents::store::Dependent;
use funnelweb_jobs::work::Failure;
use funnelweb_tenant_store::{Error, Tenant};

use super::{case::Case, counted::Counted};

/// Of the encoding of [`State`]; another one is not read, and the logs are read again.
const VERSION: u8 = 2;
/// Slates whose places are remembered.
const MARKS: usize = 64;
/// Bytes of what is read, at most; of what a file says it holds, no more is believed.
const STATE_BYTES: usize =
    USER_BYTES * (limits::EXPERIMENT_USERS + 1000) + PLACE_BYTES * (2 * limits::INTERLEAVED_PLACES);
const USER_BYTES: usize = 128;
const PLACE_BYTES: usize = 32;

/// What is known of an experiment's users.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct State {
    /// When the experiment was started: one that was made anew under its id is another.
    started_ms: u64,
    /// When the logs were read last; before that, when it began to split.
    read_ms: u64,
    /// So far the log of slates was read.
    pub(super) slates: u64,
    /// The first behaviour that was not read.
    pub(super) behaviors: u64,
    /// When the first slate of it was shown.
    pub(super) first_ms: Option<u64>,
    /// The last slates that were read, of the experiment or not: while one of them is there,
    /// none was lost that came later.
    marks: Vec<Mark>,
    /// When the last of them was shown.
    marked_ms: u64,
    /// Who was shown and did what.
    pub(super) counted: Counted,
}

/// A slate that was read: its place in the log, and whose it is, by the user's handle.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
struct Mark {
    position: u64,
    user: u64,
}

impl State {
    /// Of nobody yet.
    pub(super) fn new(case: &Case) -> Result<Self, Failure> {
        Ok(Self {
            started_ms: case.started_ms,
            read_ms: case.from_ms,
            slates: 0,
            behaviors: 0,
            first_ms: None,
            marks: Vec::new(),
            marked_ms: 0,
            counted: case.reading.begin().map_err(Failure::Permanent)?,
        })
    }

    /// Notes that a slate was read.
    pub(super) fn mark(&mut self, position: u64, slate: &Slate) {
        if self.marks.len() >= MARKS {
            self.marks.remove(0);
        }
        self.marks.push(Mark { position, user: id::handle(&slate.user_id) });
        self.marked_ms = slate.shown_at_ms;
    }

    /// Forgets users, whose slates are deleted: that they have gone says nothing of the others.
    pub(super) fn forget(&mut self, deleted: &HandleSet) {
        self.counted.forget(deleted);
        self.marks.retain(|mark| !deleted.contains(&mark.user));
    }

    /// The first slate that should be there still, and the last one that would show that none was
    /// lost since; none when that is not known.
    pub(super) fn marked(&self) -> Option<(u64, u64)> {
        Some((self.marks.first()?.position, self.marks.last()?.position))
    }

    /// Whether all of the marks may have gone by age, and whether the log has gone on for longer
    /// than it keeps slates.
    pub(super) fn ages(&self, now_ms: u64) -> (bool, bool) {
        let is_old = |ms: u64| ms + limits::EXPOSURE_LOG_MS < now_ms;
        (is_old(self.marked_ms), is_old(self.read_ms))
    }

    /// Notes how far the log of slates was read now.
    pub(super) fn read_to(&mut self, slates: u64, now_ms: u64) {
        (self.slates, self.read_ms) = (slates, now_ms);
    }
}

/// The states of one deployment.
#[derive(Clone)]
pub(crate) struct States(Arc<dyn Blobs>);

/// Below it lie the states of all scenarios.
const REPORTS: &str = "reports";
/// Below it lie the marks of deleted users, by scenario.
const DELETED: &str = "reports-deleted-users";

impl States {
    pub(crate) fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self(blobs)
    }

    /// What is known of an experiment; nothing yet, of one that was started after that was written,
    /// and where it cannot be read.
    pub(super) async fn load(&self, tenant: &Tenant, case: &Case) -> Result<Option<State>, Failure> {
        let name = name(case);
        let Some(version) = self.0.latest(tenant, &name).await.map_err(failed)? else { return Ok(None) };
        let bytes = match self.0.get(tenant, &name, version).await {
            Err(BlobError::Damaged { .. }) => None,
            other => other.map_err(failed)?,
        };
        let state = bytes.as_deref().and_then(decode);
        if state.is_none() {
            tracing::warn!(%tenant, name, version, "what is known of an experiment cannot be read, and is counted anew");
        }
        Ok(state.filter(|state| state.started_ms == case.started_ms))
    }

    /// Writes the next version of it, which takes the place of all before.
    pub(super) async fn save(&self, tenant: &Tenant, case: &Case, token: u64, state: &State) -> Result<(), Failure> {
        let name = name(case);
        let bytes = encode(state).map_err(Failure::Permanent)?;
        self.0.put(tenant, &name, token, bytes.into()).await.map_err(failed)?;
        for before in self.0.list(tenant, &name).await.map_err(failed)? {
            if before.version < token {
                self.0.delete(tenant, &name, before.version).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Deletes those of experiments that there are not any more, or that are over.
    pub(super) async fn keep_only(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        experiments: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        for Blob { name, version, .. } in self.0.list(tenant, &folder(scenario_id)).await.map_err(failed)? {
            if name.rsplit_once('/').is_none_or(|(_, experiment)| !experiments.contains(experiment)) {
                self.0.delete(tenant, &name, version).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The marks of users who were deleted.
    pub(super) async fn deleted(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<Blob>, Failure> {
        self.0.list(tenant, &format!("{DELETED}/{scenario_id}")).await.map_err(failed)
    }

    /// They are in no state any more.
    pub(super) async fn are_forgotten(&self, tenant: &Tenant, deleted: Vec<Blob>) -> Result<(), Failure> {
        for Blob { name, version, .. } in deleted {
            self.0.delete(tenant, &name, version).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// The user of a mark.
pub(super) fn deleted_user(mark: &Blob) -> Option<u64> {
    u64::from_str_radix(mark.name.rsplit_once('/')?.1, 16).ok()
}

#[async_trait]
impl Dependent for States {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.delete_prefix(tenant, &folder(scenario_id)).await?;
        Ok(self.0.delete_prefix(tenant, &format!("{DELETED}/{scenario_id}")).await?)
    }

    /// Marks the user in every scenario of which something is known.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        let states = self.0.list(tenant, REPORTS).await?;
        let scenarios: BTreeSet<&str> = states.iter().filter_map(|state| state.name.split('/').nth(1)).collect();
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let version = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        for scenario_id in scenarios {
            let mark = format!("{DELETED}/{scenario_id}/{:016x}", id::handle(user_id));
            match self.0.put(tenant, &mark, version, Vec::new().into()).await {
                // Marked just now.
                Ok(()) | Err(BlobError::Stale { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn folder(scenario_id: &str) -> String {
    format!("{REPORTS}/{scenario_id}")
}

fn name(case: &Case) -> String {
    format!("{}/{}", folder(&case.experiment.scenario_id), case.id())
}

fn encode(state: &State) -> Result<Vec<u8>, String> {
    let mut bytes = vec![VERSION];
    bincode::encode_into_std_write(state, &mut bytes, bincode::config::standard())
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<State> {
    let (&VERSION, rest) = bytes.split_first()? else { return None };
    let config = bincode::config::standard().with_limit::<STATE_BYTES>();
    bincode::decode_from_slice(rest, config).ok().map(|(state, _)| state)
}

/// One that a later run has written over is not to be tried again.
fn failed(error: BlobError) -> Failure {
    match error {
        BlobError::Stale { .. } => Failure::Permanent(error.to_string()),
        error => Error::from(error).into(),
    }
}

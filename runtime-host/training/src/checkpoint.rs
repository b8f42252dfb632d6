//! Where a long training stands, so that one that was interrupted is taken up again.
//!
//! The file: epoch, dimension, users, items (u32 each); end of the log that was read,
//! and what it was learned from (u64 each); vectors of users and of items.

use funnelweb_algorithms::als::{Checkpoint, Factors};
use funnelweb_core::limits::BLOB_BYTES;
use funnelweb_factor_learned::{
    format::{Reader, Writer},
    names,
};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    context::{Context, Error, Target},
    log::Behaved,
    params::EmbeddingsParams,
};

const KIND: [u8; 4] = *b"FWck";
const VERSION: u32 = 1;

/// A training that was interrupted.
pub(crate) struct Kept {
    /// It read the log up to here.
    pub(crate) end: u64,
    /// Of what it learned from, and how.
    pub(crate) fingerprint: u64,
    pub(crate) at: Checkpoint,
}

/// Of everything that a training's result depends on.
pub(crate) fn fingerprint(behaved: &Behaved, params: &EmbeddingsParams) -> u64 {
    let mut hash = Xxh3::new();
    let EmbeddingsParams { dimensions, seed, half_life_days, threads: _, epochs: _, .. } = params;
    let loss = [params.unobserved_weight, params.regularisation, params.regularisation_exponent];
    hash.update(&(*dimensions as u64).to_le_bytes());
    hash.update(&seed.to_le_bytes());
    hash.update(&half_life_days.unwrap_or_default().to_le_bytes());
    loss.iter().for_each(|number| hash.update(&number.to_le_bytes()));
    for handles in [&behaved.users, &behaved.items] {
        hash.update(&(handles.len() as u64).to_le_bytes());
        handles.iter().for_each(|handle| hash.update(&handle.to_le_bytes()));
    }
    for entry in &behaved.entries {
        hash.update(&entry.user.to_le_bytes());
        hash.update(&entry.item.to_le_bytes());
        hash.update(&entry.weight.to_le_bytes());
    }
    hash.digest()
}

impl Kept {
    fn encode(&self) -> Vec<u8> {
        let Checkpoint { epoch, users, items } = &self.at;
        let mut to = Writer::new(KIND, VERSION, 4 * (users.values().len() + items.values().len()));
        to.u32s(&[*epoch, users.dimensions() as u32, users.rows(), items.rows()]);
        to.u64s(&[self.end, self.fingerprint]);
        to.f32s(users.values());
        to.f32s(items.values());
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, KIND, VERSION).ok()?;
        let (epoch, dimensions) = (from.u32().ok()?, from.count().ok()?);
        let (users, items) = (from.count().ok()?, from.count().ok()?);
        let &[end, fingerprint] = from.u64s(2).ok()?.as_slice() else { return None };
        let users = Factors::new(dimensions, from.f32s(users.checked_mul(dimensions)?).ok()?).ok()?;
        let items = Factors::new(dimensions, from.f32s(items.checked_mul(dimensions)?).ok()?).ok()?;
        from.end().ok()?;
        Some(Self { end, fingerprint, at: Checkpoint { epoch, users, items } })
    }
}

impl Context {
    /// What an earlier run kept; none when it is damaged.
    pub(crate) async fn kept(&self, target: &Target) -> Result<Option<Kept>, Error> {
        let name = names::checkpoint(&target.scenario_id);
        let Some(latest) = self.blobs.latest(&target.tenant, &name).await? else { return Ok(None) };
        let bytes = self.blobs.get(&target.tenant, &name, latest).await.ok().flatten();
        Ok(bytes.and_then(|bytes| Kept::decode(&bytes)))
    }

    /// Keeps where a run stands, in place of what was kept before. Without it a run
    /// that is interrupted begins anew, and nothing worse: a failure is logged.
    pub(crate) async fn keep(&self, target: &Target, kept: &Kept) {
        let bytes = kept.encode();
        if bytes.len() > BLOB_BYTES {
            return;
        }
        if let Err(error) = self.put_checkpoint(target, bytes).await {
            let Target { tenant, scenario_id, .. } = target;
            tracing::warn!(%tenant, scenario_id, %error, "a training cannot be kept as it stands");
        }
    }

    async fn put_checkpoint(&self, target: &Target, bytes: Vec<u8>) -> Result<(), Error> {
        let name = names::checkpoint(&target.scenario_id);
        let before = self.blobs.latest(&target.tenant, &name).await?.unwrap_or_default();
        self.blobs.put(&target.tenant, &name, before + 1, bytes.into()).await?;
        self.blobs.delete(&target.tenant, &name, before).await?;
        Ok(())
    }

    /// Removes what was kept.
    pub(crate) async fn drop_kept(&self, target: &Target) -> Result<(), Error> {
        Ok(self.blobs.delete_prefix(&target.tenant, &names::checkpoint(&target.scenario_id)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_or_not_at_all() {
        let factors = |rows: usize| Factors::new(3, (0..rows * 3).map(|at| at as f32).collect()).unwrap();
        let at = Checkpoint { epoch: 5, users: factors(4), items: factors(2) };
        let bytes = Kept { end: 9, fingerprint: 7, at: at.clone() }.encode();
        let read = Kept::decode(&bytes).unwrap();
        assert_eq!((read.end, read.fingerprint, read.at), (9, 7, at));
        assert!((0..bytes.len()).all(|length| Kept::decode(&bytes[..length]).is_none()));
    }
}

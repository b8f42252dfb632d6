//! Places served, from memory to the table of counters.

use std::sync::Arc;

use funnelweb_core::counter::SERVED_PLACES;
use funnelweb_tenant_store::{Durability, Error, TenantFile, Write, lock};
use rusqlite::{Connection, params};

use super::{
    cache::{LiveKey, Structure},
    tables::Tables,
};
use crate::served::Batch;

impl Tables {
    /// Counts a place for each of these items. It is seen from here on; the disk
    /// follows, and nobody waits for it.
    pub(super) fn serve(&self, file: &Arc<TenantFile>, handles: impl IntoIterator<Item = u64>) {
        let Some(turn) = self.memory.served.add(&file.number(), handles) else { return };
        let (tables, file) = (self.clone(), Arc::clone(file));
        tokio::spawn(async move {
            let write = |batches: Vec<Arc<Batch<u64>>>| {
                let (tables, file) = (tables.clone(), Arc::clone(&file));
                let bytes = batches.iter().map(|batch| 16 * batch.counts.len()).sum();
                async move {
                    let store = move |write: &mut Write<'_>| tables.store_served(write, batches);
                    file.submit(Durability::Deferred, bytes, store)?.done().await
                }
            };
            tables.memory.served.write_behind(turn, file.number(), write).await;
        });
    }

    /// Writes everything that was counted.
    pub(super) fn settle_served(&self, write: &mut Write<'_>) -> Result<(), Error> {
        self.memory.served.number_above(newest_batch(write)?);
        self.store_served(write, self.memory.served.take(&write.number()))
    }

    /// Writes those batches that the table does not have.
    fn store_served(&self, write: &mut Write<'_>, mut batches: Vec<Arc<Batch<u64>>>) -> Result<(), Error> {
        let newest = newest_batch(write)?;
        batches.retain(|batch| batch.number > newest);
        let Some(last) = batches.last().map(|batch| batch.number) else { return Ok(()) };
        for batch in &batches {
            let mut counts: Vec<(u64, f64)> = batch.counts.iter().map(|(handle, count)| (*handle, *count)).collect();
            counts.sort_unstable_by_key(|(handle, _)| handle.cast_signed());
            self.store_counts(write, counts.into_iter().map(|(handle, count)| (handle, SERVED_PLACES, count)))?;
        }
        write.prepare_cached("UPDATE served SET batch = ?")?.execute(params![last.cast_signed()])?;
        let (memory, file) = (self.memory.clone(), write.number());
        write.after_commit(move || {
            for batch in &batches {
                for (&handle, &count) in &batch.counts {
                    memory.change(&LiveKey::Stats { file, handle }, |cached| {
                        let Structure::Stats(counters) = cached else { return };
                        lock(counters).add_served(batch.number, count);
                    });
                }
            }
            // Then only: who found it here must not find it neither here nor there.
            memory.served.written(&file, last);
        });
        Ok(())
    }
}

/// The newest batch that the table has.
pub(super) fn newest_batch(connection: &Connection) -> Result<u64, Error> {
    let mut select = connection.prepare_cached("SELECT batch FROM served")?;
    Ok(select.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

//! What users were shown: the collection `exposures`, written in batches behind the
//! requests.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bson::{Binary, DateTime, Document, doc, spec::BinarySubtype};
use funnelweb_core::limits;
use funnelweb_exposure_log::{
    Place, Slate, decode, encode,
    store::{Error, ExposureLog, Page, Tenant},
};
use tokio::sync::{mpsc, oneshot};

use crate::{call::Find, server::MongoStore, state::integer};

/// Slates.
pub(crate) const EXPOSURES: &str = "exposures";
/// Slates that wait to be written; some kilobytes each.
const WAITING: usize = 4096;
/// Slates that are written together.
const BATCH: usize = 256;
/// Slates that a process writes of a tenant before it cuts the log.
const UNCUT: u64 = limits::EXPOSURE_LOG_SLATES / 200;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_millis(200);
/// Time in which what another process has noted is written down, whose clock may be somewhat
/// behind: they wait for others, and for the server.
const ELSEWHERE: Duration = Duration::from_secs(3);

/// Slates in a MongoDB.
#[derive(Clone)]
pub struct MongoExposureLog {
    store: Arc<MongoStore>,
    queue: mpsc::Sender<Work>,
}

enum Work {
    Slate(Tenant, Box<Slate>),
    /// Says when all before it is written.
    Settle(oneshot::Sender<()>),
}

impl MongoExposureLog {
    /// Slates in `store`, written by a task that ends with the last of these. Must be
    /// called within a runtime.
    #[must_use]
    pub fn new(store: Arc<MongoStore>) -> Self {
        let (queue, work) = mpsc::channel(WAITING);
        tokio::spawn(write(Arc::clone(&store), work));
        Self { store, queue }
    }
}

#[async_trait]
impl ExposureLog for MongoExposureLog {
    async fn append(&self, tenant: &Tenant, slate: Slate) -> Result<(), Error> {
        let full = |_| Error::Unavailable(format!("mongodb: {WAITING} slates wait to be written"));
        self.queue.try_send(Work::Slate(tenant.clone(), Box::new(slate))).map_err(full)
    }

    async fn read(&self, tenant: &Tenant, scenario_id: &str, after: Option<u64>, limit: u32) -> Result<Page, Error> {
        Error::check_count("limit", limit as usize, 1, limits::LOGGED_SLATES as usize)?;
        // There may be older ones, until they are swept.
        let young = doc! { "$gte": oldest(&self.store) };
        let mut filter = doc! { "tenant_id": tenant.as_str(), "scenario_id": scenario_id, "shown_at": young };
        if let Some(after) = after {
            filter.insert("_fw.offset", doc! { "$gt": after.cast_signed() });
        }
        let sort = Some(doc! { "_fw.offset": 1 });
        let find = Find { filter, sort, limit: Some(limit.into()), ..Find::default() };
        let found = self.store.find(EXPOSURES, &find).await?;
        let next = found.last().and_then(offset).filter(|_| found.len() == limit as usize);
        let slates = found.iter().filter_map(|document| {
            let slate = read(document).zip(offset(document));
            if slate.is_none() {
                tracing::warn!(%tenant, scenario_id, "a logged slate is damaged and passed over");
            }
            slate
        });
        let (slates, positions) = slates.unzip();
        Ok(Page { slates, positions, next })
    }

    async fn settle(&self, _: &Tenant) -> Result<(), Error> {
        let (done, is_done) = oneshot::channel();
        let ended = || Error::Unavailable("mongodb: the writer of slates has ended".to_owned());
        self.queue.send(Work::Settle(done)).await.map_err(|_| ended())?;
        is_done.await.map_err(|_| ended())
    }

    /// Offsets are times: what is written later has a later one.
    async fn end(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.settle(tenant).await?;
        // Of this process's own, the last may be somewhat ahead of the clock.
        let now_ms = self.store.now_ms() + 1;
        tokio::time::sleep(ELSEWHERE).await;
        Ok(now_ms << TIME_BITS)
    }

    /// What waited is written down, and deleted.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.settle(tenant).await?;
        self.store.delete_log(EXPOSURES, &doc! { "tenant_id": tenant.as_str(), "user_id": user_id }).await?;
        Ok(())
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.settle(tenant).await?;
        self.store.delete_log(EXPOSURES, &doc! { "tenant_id": tenant.as_str(), "scenario_id": scenario_id }).await?;
        Ok(())
    }

    /// Of servers that have no TTL indexes, and of those beyond what a log keeps.
    async fn sweep(&self) -> Result<(), Error> {
        for tenant in self.store.tenants_of(EXPOSURES).await? {
            if !self.store.abilities.ttl_indexes {
                let old = doc! { "$lt": oldest(&self.store) };
                let filter = doc! { "tenant_id": tenant.as_str(), "shown_at": old };
                self.store.delete_log(EXPOSURES, &filter).await?;
            }
            self.keep(&tenant, limits::EXPOSURE_LOG_SLATES).await?;
        }
        Ok(())
    }
}

impl MongoExposureLog {
    /// Deletes a tenant's oldest slates until there are so many.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn keep(&self, tenant: &Tenant, most: u64) -> Result<(), Error> {
        keep(&self.store, EXPOSURES, tenant, most).await
    }
}

/// Deletes the oldest of a tenant's in a log until there are so many.
pub(crate) async fn keep(store: &MongoStore, log: &'static str, tenant: &Tenant, most: u64) -> Result<(), Error> {
    let filter = doc! { "tenant_id": tenant.as_str() };
    let of = store.collection(log);
    let count = store.again("count", || async { of.count_documents(filter.clone()).await }).await?;
    let Some(too_many) = count.checked_sub(most).filter(|too_many| *too_many > 0) else { return Ok(()) };
    // The first that stays.
    let find = Find {
        filter: filter.clone(),
        fields: Some(doc! { "_id": 0, "_fw.offset": 1 }),
        sort: Some(doc! { "_fw.offset": 1 }),
        skip: Some(too_many),
        limit: Some(1),
    };
    let first = store.find(log, &find).await?;
    let mut these = filter;
    if let Some(first) = first.first().and_then(offset) {
        these.insert("_fw.offset", doc! { "$lt": first.cast_signed() });
    }
    store.delete_log(log, &these).await?;
    Ok(())
}

/// What was shown before is kept no more.
fn oldest(store: &MongoStore) -> DateTime {
    DateTime::from_millis(store.now_ms().saturating_sub(limits::EXPOSURE_LOG_MS).cast_signed())
}

/// What was written of tenants since their log was cut last.
pub(crate) struct Written {
    of: HashMap<Tenant, u64>,
    uncut: u64,
}

impl Written {
    /// So much is written before a log is cut.
    pub(crate) fn new(uncut: u64) -> Self {
        Self { of: HashMap::new(), uncut }
    }

    /// Counts them; whose log may be too long now.
    pub(crate) fn add(&mut self, tenants: Vec<Tenant>) -> Vec<Tenant> {
        for tenant in tenants {
            *self.of.entry(tenant).or_default() += 1;
        }
        self.of.extract_if(|_, count| *count >= self.uncut).map(|(tenant, _)| tenant).collect()
    }
}

/// Writes what comes until nobody is left who could send anything.
async fn write(store: Arc<MongoStore>, mut work: mpsc::Receiver<Work>) {
    let (mut offsets, mut written) = (Offsets::new(), Written::new(UNCUT));
    while let Some(first) = work.recv().await {
        let (mut documents, mut tenants, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        let gathered = tokio::time::sleep(GATHER);
        tokio::pin!(gathered);
        let mut next = Some(first);
        while let Some(work_item) = next {
            match work_item {
                Work::Slate(tenant, slate) => match document(&tenant, *slate, offsets.next(store.now_ms())) {
                    Ok(document) => {
                        documents.push(document);
                        tenants.push(tenant);
                    }
                    Err(error) => tracing::warn!(%tenant, %error, "a slate is not logged"),
                },
                Work::Settle(done) => {
                    settled.push(done);
                    break;
                }
            }
            if documents.len() >= BATCH {
                break;
            }
            next = tokio::select! {
                next = work.recv() => next,
                () = &mut gathered => None,
            };
        }
        if !documents.is_empty() {
            let (count, collection) = (documents.len(), store.collection(EXPOSURES));
            let insert = store.once("insert", || async { collection.insert_many(documents).ordered(false).await });
            if let Err(failure) = insert.await {
                tracing::warn!(count, error = %Error::from(failure), "slates are not logged");
            }
        }
        for done in settled {
            // Whoever waits may have gone.
            let _ = done.send(());
        }
        for tenant in written.add(tenants) {
            if let Err(error) = keep(&store, EXPOSURES, &tenant, limits::EXPOSURE_LOG_SLATES).await {
                tracing::warn!(%tenant, %error, "the log of slates is longer than it should be");
            }
        }
    }
}

/// Bits of an offset behind its time in milliseconds.
const TIME_BITS: u32 = 20;

/// Numbers that grow, in this process without a gap for others to fall into: the time
/// in milliseconds, ten bits of this process, ten that count.
pub(crate) struct Offsets {
    process: u64,
    last: u64,
}

impl Offsets {
    pub(crate) fn new() -> Self {
        // The last bytes of an id count, those before are drawn once a process.
        let drawn = bson::oid::ObjectId::new().bytes();
        let process = u64::from(drawn[7]) | u64::from(drawn[8] & 3) << 8;
        Self { process, last: 0 }
    }

    pub(crate) fn next(&mut self, now_ms: u64) -> u64 {
        let beginning = |ms: u64| (ms << TIME_BITS) | (self.process << 10);
        // With all of a millisecond's given, on into the next one's.
        let counted = self.last + 1;
        let next = if counted & 1023 == 0 { beginning((self.last >> TIME_BITS) + 1) } else { counted };
        self.last = beginning(now_ms).max(next);
        self.last
    }
}

fn document(tenant: &Tenant, slate: Slate, offset: u64) -> Result<Document, Error> {
    let (Place { scenario_id, user_id, shown_at_ms }, bytes) = encode(slate)?;
    Ok(doc! {
        "tenant_id": tenant.as_str(),
        "scenario_id": scenario_id,
        "user_id": user_id,
        "shown_at": DateTime::from_millis(shown_at_ms.cast_signed()),
        "slate": Binary { subtype: BinarySubtype::Generic, bytes },
        "_fw": { "offset": offset.cast_signed() },
    })
}

pub(crate) fn offset(document: &Document) -> Option<u64> {
    integer(document.get_document("_fw").ok()?, "offset").map(i64::cast_unsigned)
}

fn read(document: &Document) -> Option<Slate> {
    let text = |name: &str| Some(document.get_str(name).ok()?.to_owned());
    let place = Place {
        scenario_id: text("scenario_id")?,
        user_id: text("user_id")?,
        shown_at_ms: document.get_datetime("shown_at").ok()?.timestamp_millis().cast_unsigned(),
    };
    decode(place, document.get_binary_generic("slate").ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_now_and_then() {
        let mut written = Written::new(UNCUT);
        let [one, other] = ["one", "other"].map(|name| Tenant::new(name).unwrap());
        let mut cut = 0;
        for _ in 0..2 * UNCUT {
            cut += written.add(vec![one.clone()]).len();
        }
        assert_eq!(cut, 2);
        assert!(written.add(vec![other]).is_empty());
        // Beyond the limit by little.
        const { assert!(100 * UNCUT < limits::EXPOSURE_LOG_SLATES) };
    }

    #[test]
    fn offsets_grow_whatever_the_clock_does() {
        let mut offsets = Offsets { process: 5, last: 0 };
        let mut last = 0;
        for now_ms in [1_000, 1_000, 999, 1_001, 1_001, 5, 2_000] {
            for _ in 0..700 {
                let next = offsets.next(now_ms);
                assert!(next > last && next >> 10 & 1023 == 5, "{next}");
                last = next;
            }
        }
        assert_eq!(last >> 20, 2_000);
    }
}

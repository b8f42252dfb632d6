//! Requests with all that they were given: the collection `recordings`.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bson::{Binary, DateTime, Document, doc, spec::BinarySubtype};
use funnelweb_core::limits;
use funnelweb_recording::{
    Head, Reason, Recording, decode,
    store::{Error, Packed, Page, Recordings, Tenant},
};
use funnelweb_tenant_store::lock;

use crate::{
    call::Find,
    exposures::{Offsets, Written, keep, offset},
    server::MongoStore,
    state::integer,
};

/// Recordings.
pub(crate) const RECORDINGS: &str = "recordings";
/// Recordings that a process writes of a tenant before it cuts them.
const UNCUT: u64 = limits::RECORDINGS / 50;

/// Recordings in a MongoDB. Whoever keeps one waits until it is written.
#[derive(Clone)]
pub struct MongoRecordings {
    store: Arc<MongoStore>,
    state: Arc<Mutex<(Offsets, Written)>>,
}

impl MongoRecordings {
    /// Recordings in `store`.
    #[must_use]
    pub fn new(store: Arc<MongoStore>) -> Self {
        Self { store, state: Arc::new(Mutex::new((Offsets::new(), Written::new(UNCUT)))) }
    }

    /// What has not expired; there may be older ones, until they are swept.
    fn young(&self, tenant: &Tenant) -> Document {
        let now = DateTime::from_millis(self.store.now_ms().cast_signed());
        doc! { "tenant_id": tenant.as_str(), "expires_at": { "$gt": now } }
    }

    /// Deletes a tenant's oldest recordings until there are so many.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn keep(&self, tenant: &Tenant, most: u64) -> Result<(), Error> {
        keep(&self.store, RECORDINGS, tenant, most).await
    }
}

#[async_trait]
impl Recordings for MongoRecordings {
    async fn append(&self, tenant: &Tenant, recordings: Vec<Packed>) -> Result<(), Error> {
        if recordings.is_empty() {
            return Ok(());
        }
        let count = recordings.len();
        let documents: Vec<Document> = {
            let (offsets, now_ms) = (&mut lock(&self.state).0, self.store.now_ms());
            recordings.into_iter().map(|recording| document(tenant, recording, offsets.next(now_ms))).collect()
        };
        let all = self.store.collection(RECORDINGS);
        self.store.once("insert", || async { all.insert_many(documents).ordered(false).await }).await?;
        let too_many = lock(&self.state).1.add(vec![tenant.clone(); count]);
        for tenant in too_many {
            if let Err(error) = self.keep(&tenant, limits::RECORDINGS).await {
                tracing::warn!(%tenant, %error, "there are more recordings than there should be");
            }
        }
        Ok(())
    }

    async fn get(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Recording>, Error> {
        let mut filter = self.young(tenant);
        filter.insert("request_id", request_id);
        let find = Find { filter, sort: Some(doc! { "_fw.offset": -1 }), limit: Some(1), ..Find::default() };
        let found = self.store.find(RECORDINGS, &find).await?;
        let Some(document) = found.first() else { return Ok(None) };
        decode(request_id, document.get_binary_generic("recording").map(Vec::as_slice).unwrap_or_default())
    }

    async fn list(
        &self,
        tenant: &Tenant,
        scenario_id: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page, Error> {
        Error::check_count("limit", limit as usize, 1, limits::PAGE_DOCUMENTS as usize)?;
        let mut filter = self.young(tenant);
        if let Some(scenario_id) = scenario_id {
            filter.insert("scenario_id", scenario_id);
        }
        if let Some(before) = before {
            filter.insert("_fw.offset", doc! { "$lt": before.cast_signed() });
        }
        let find = Find {
            filter,
            fields: Some(doc! { "recording": 0 }),
            sort: Some(doc! { "_fw.offset": -1 }),
            limit: Some(limit.into()),
            ..Find::default()
        };
        let found = self.store.find(RECORDINGS, &find).await?;
        let next = found.last().and_then(offset).filter(|_| found.len() == limit as usize);
        Ok(Page { heads: found.iter().filter_map(head).collect(), next })
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.store.delete_log(RECORDINGS, &doc! { "tenant_id": tenant.as_str(), "user_id": user_id }).await?;
        Ok(())
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.store.delete_log(RECORDINGS, &doc! { "tenant_id": tenant.as_str(), "scenario_id": scenario_id }).await?;
        Ok(())
    }

    /// Of servers that have no TTL indexes, and of those beyond what is kept.
    async fn sweep(&self) -> Result<(), Error> {
        for tenant in self.store.tenants_of(RECORDINGS).await? {
            if !self.store.abilities.ttl_indexes {
                let now = DateTime::from_millis(self.store.now_ms().cast_signed());
                let filter = doc! { "tenant_id": tenant.as_str(), "expires_at": { "$lte": now } };
                self.store.delete_log(RECORDINGS, &filter).await?;
            }
            self.keep(&tenant, limits::RECORDINGS).await?;
        }
        Ok(())
    }
}

fn document(tenant: &Tenant, Packed { head, bytes }: Packed, offset: u64) -> Document {
    doc! {
        "tenant_id": tenant.as_str(),
        "request_id": &head.request_id,
        "scenario_id": &head.scenario_id,
        "user_id": &head.user_id,
        "at": DateTime::from_millis(head.at_ms.cast_signed()),
        "expires_at": DateTime::from_millis(head.expires_ms.cast_signed()),
        "reason": head.reason.as_str(),
        "status": i32::from(head.status),
        "elapsed_us": i64::from(head.elapsed_us),
        "recording": Binary { subtype: BinarySubtype::Generic, bytes },
        "_fw": { "offset": offset.cast_signed() },
    }
}

/// None of a document that is none of ours.
fn head(document: &Document) -> Option<Head> {
    let text = |name: &str| Some(document.get_str(name).ok()?.to_owned());
    let time = |name: &str| Some(document.get_datetime(name).ok()?.timestamp_millis().cast_unsigned());
    Some(Head {
        request_id: text("request_id")?,
        scenario_id: text("scenario_id")?,
        user_id: text("user_id")?,
        at_ms: time("at")?,
        expires_ms: time("expires_at")?,
        reason: Reason::of(document.get_str("reason").ok()?)?,
        status: u16::try_from(integer(document, "status")?).ok()?,
        elapsed_us: u32::try_from(integer(document, "elapsed_us")?).ok()?,
    })
}

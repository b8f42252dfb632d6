//! Who follows a tenant's log: one process at a time, for some seconds, unless it goes
//! on. A step is made by one in any case; this keeps others from work that is lost.

use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use funnelweb_factor_events::store::{Error, Tenant};
use funnelweb_tenant_store::lock;
use mongodb::options::ReturnDocument;

use super::{LEASES, MongoStreams, before};
use crate::{call::Find, codec::date};

/// How long who has a lease is the only one.
const LEASE: Duration = Duration::from_secs(10);
/// Age at which a lease that is used is taken anew.
const RENEW: Duration = Duration::from_secs(3);
/// Time for which it is not asked again for a lease that another one has.
const AGAIN: Duration = Duration::from_secs(2);
/// How late somebody must be before others do what there is to do.
const OVERDUE: Duration = Duration::from_secs(5);
/// Tenants that are looked after at once.
const OVERDUE_TENANTS: i64 = 1000;

/// What is known of a lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    is_ours: bool,
    until: Instant,
}

impl MongoStreams {
    pub(super) async fn take_lease(&self, tenant: &Tenant) -> Result<bool, Error> {
        let known = lock(&self.leases).get(tenant).copied();
        if let Some(known) = known.filter(|known| known.until > Instant::now()) {
            return Ok(known.is_ours);
        }
        let store = self.store();
        let begun = Instant::now();
        let now_ms = store.now_ms();
        let until = date(now_ms + u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        let leases = store.collection(LEASES);
        let _held = store.locks.state.hold((LEASES, tenant)).await;
        // When another one has it the filter fits nothing, and what would be inserted is
        // there already.
        let filter = doc! {
            "_id": tenant.as_str(), "$or": [{ "holder": self.holder }, { "until": { "$lt": date(now_ms) } }],
        };
        // Whoever dies with it leaves something to do.
        let change = doc! { "$set": { "holder": self.holder, "until": until.clone(), "due": until } };
        let work = || async {
            leases.find_one_and_update(filter, change).upsert(true).return_document(ReturnDocument::After).await
        };
        let is_ours = match store.once("take the lease", work).await {
            Ok(_) => true,
            Err(failure) if failure.is_duplicate() => false,
            Err(failure) => return Err(failure.into()),
        };
        let until = begun + if is_ours { RENEW } else { AGAIN };
        lock(&self.leases).insert(tenant.clone(), Known { is_ours, until });
        Ok(is_ours)
    }

    pub(super) async fn end_lease(&self, tenant: &Tenant, wake_ms: Option<u64>) -> Result<(), Error> {
        lock(&self.leases).remove(tenant);
        let store = self.store();
        let _held = store.locks.state.hold((LEASES, tenant)).await;
        let due = wake_ms.map_or(Bson::Null, date);
        let filter = doc! { "_id": tenant.as_str(), "holder": self.holder };
        let change = doc! { "$set": { "until": date(0), "due": due } };
        let leases = store.collection(LEASES);
        store.again("leave the lease", || async { leases.update_one(filter.clone(), change.clone()).await }).await?;
        Ok(())
    }

    pub(super) async fn overdue_leases(&self) -> Result<Vec<Tenant>, Error> {
        let find = Find {
            filter: doc! { "due": { "$lt": date(before(self.store().now_ms(), OVERDUE)) } },
            fields: Some(doc! { "_id": 1 }),
            sort: Some(doc! { "due": 1 }),
            limit: Some(OVERDUE_TENANTS),
            ..Find::default()
        };
        let found = self.store().find(LEASES, &find).await?;
        let tenant = |found: &Document| Tenant::new(found.get_str("_id").ok()?).ok();
        Ok(found.iter().filter_map(tenant).collect())
    }
}

//! Documents in this process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use funnelweb_factor_documents::store::{Collection, Document, Key, Tenant};
use funnelweb_tenant_store::{FreshCache, Stamp};
use quick_cache::Weighter;

/// How old a document may be that answers without a look at Redis.
pub(super) const AGE: Duration = Duration::from_secs(1);
/// How old one is that is read again when it costs no round trip of its own.
const AGING: Duration = Duration::from_millis(500);

type Name = (Tenant, Collection, Key);

/// A document, or that there is none, and since when that is known.
#[derive(Clone)]
struct Known {
    at: Instant,
    document: Option<Arc<Document>>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Name, Known> for Bytes {
    fn weight(&self, (tenant, _, key): &Name, known: &Known) -> u64 {
        let body = known.document.as_ref().map_or(0, |document| document.body.len() + 128);
        (160 + tenant.as_str().len() + 2 * (key.scenario_id.len() + key.id.len()) + body) as u64
    }
}

/// What is known here of one key.
pub(super) struct Looked {
    pub(super) key: Key,
    /// The last that was known, however old: a document, or that there is none.
    pub(super) last: Option<Option<Document>>,
    /// Whether it is young enough to answer.
    pub(super) fresh: bool,
    stamp: Stamp,
}

/// Documents read lately. Those that are too old stay, for when nothing else
/// answers.
pub(super) struct Local {
    known: FreshCache<Name, Known, Bytes>,
}

impl Local {
    pub(super) fn new() -> Self {
        Self { known: FreshCache::new(limits::DOCUMENT_CACHE_BYTES, Bytes) }
    }

    pub(super) fn look(&self, tenant: &Tenant, collection: Collection, key: &Key) -> Looked {
        let name = (tenant.clone(), collection, key.clone());
        let known = self.known.get(&name);
        let fresh = known.as_ref().is_some_and(|known| known.at.elapsed() < AGE);
        let last = known.map(|known| known.document.as_deref().cloned());
        Looked { key: key.clone(), last, fresh, stamp: self.known.stamp(&name) }
    }

    /// The scenario's config, when it is here and soon too old.
    pub(super) fn aging_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Option<Looked> {
        let key = Key::new(scenario_id, scenario_id);
        let name = (tenant.clone(), Collection::Scenarios, key.clone());
        let stamp = self.known.stamp(&name);
        let known = self.known.get(&name)?;
        (known.at.elapsed() > AGING).then_some(Looked { key, last: None, fresh: false, stamp })
    }

    /// Keeps what was read after it was looked for, unless it changed since.
    pub(super) fn keep(&self, tenant: &Tenant, collection: Collection, looked: Looked, document: Option<Document>) {
        let name = (tenant.clone(), collection, looked.key);
        self.known.offer(name, Known { at: Instant::now(), document: document.map(Arc::new) }, looked.stamp);
    }

    pub(super) fn forget(&self, tenant: &Tenant, collection: Collection, keys: &[Key]) {
        for key in keys {
            self.known.forget(&(tenant.clone(), collection, key.clone()));
        }
    }

    pub(super) fn forget_user(&self, tenant: &Tenant, user_id: &str) {
        self.known.forget_where(|(of, collection, key)| {
            of == tenant && *collection == Collection::UserProfiles && key.id == user_id
        });
    }

    pub(super) fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) {
        self.known.forget_where(|(of, _, key)| of == tenant && key.scenario_id == scenario_id);
    }
}

//! Reading again, beside the requests, what has become old although nothing is known
//! to have changed (rows and lists of items, for the sake of programs that change items
//! and know no stamps), and lists that are about to be too short.
//!
//! One task does it, one question at a time, so that a server for which lists are
//! dear is not asked for all of them when they come of age together.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use funnelweb_factor_documents::store::Tenant;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::{
    cache::{ListKey, RowRef},
    server::MongoStore,
};

/// What waits for its turn; more is asked for again by the next request.
const WAITING: usize = 256;

/// Something that is older than it should be.
pub(crate) enum Old {
    /// A list of the newest items, of which so many are to be kept.
    List(ListKey, u32),
    /// Rows of items.
    Rows { tenant: Tenant, scenario: Arc<str>, handles: Vec<u64> },
}

/// Takes what is to be read again.
pub(crate) struct Refresher(Sender<Old>);

impl Refresher {
    pub(crate) fn new() -> (Self, Receiver<Old>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Has it read again soon.
    pub(crate) fn ask(&self, old: Old) {
        // Full: the answer is as it was, and the next who is given it asks again.
        let _ = self.0.try_send(old);
    }
}

/// Until the store is gone.
pub(crate) async fn run(store: Weak<MongoStore>, mut old: Receiver<Old>) {
    while let Some(old) = old.recv().await {
        let Some(store) = store.upgrade() else { return };
        // A server that does not answer is noticed by whoever needs it.
        match old {
            Old::List(key, limit) => store.refresh_list(key, limit).await,
            Old::Rows { tenant, scenario, handles } => store.refresh_rows(&tenant, &scenario, handles).await,
        }
    }
}

impl MongoStore {
    async fn refresh_list(&self, key: ListKey, limit: u32) {
        let Ok(generation) = self.items_generation(&key.tenant, &key.scenario).await else { return };
        let kept = self.caches.lists.get(&key);
        // Asked for by several, it was read for the first of them.
        if kept.is_some_and(|kept| kept.is_old(generation.lists) || kept.value.first(limit).is_none()) {
            let _ = self.read_list(key, limit, generation.lists).await;
        }
    }

    async fn refresh_rows(&self, tenant: &Tenant, scenario: &Arc<str>, handles: Vec<u64>) {
        let Ok(generation) = self.items_generation(tenant, scenario).await else { return };
        let old = |handle| {
            let key = RowRef { tenant, scenario, handle };
            let kept = self.caches.rows.get(&key).filter(|kept| kept.is_old(generation.items))?;
            Some((handle, (kept.value.map(|(version, _)| version), self.caches.rows.stamp(&key))))
        };
        let old: HashMap<u64, _> = handles.into_iter().filter_map(old).collect();
        let _ = self.read_rows(tenant, scenario, generation.items, old).await;
    }
}

//! Writes of one item are one after another, so that the vector which stays is that of
//! the document which stays.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, Mutex},
};

use funnelweb_tenant_store::lock;
use tokio::sync::Notify;

use crate::store::Tenant;

/// An item: whose, of which scenario, its handle.
pub(super) type ItemKey = (Tenant, Arc<str>, u64);

/// The items that are being written.
#[derive(Debug, Default)]
pub(super) struct Busy {
    items: Mutex<HashSet<ItemKey>>,
    freed: Notify,
}

/// The right to write some items, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    busy: Arc<Busy>,
    items: Vec<ItemKey>,
}

impl Busy {
    /// Waits until nobody else writes any of these items.
    pub async fn hold(self: &Arc<Self>, items: Vec<ItemKey>) -> Held {
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on it hears of what becomes free.
            freed.as_mut().enable();
            {
                let mut busy = lock(&self.items);
                if items.iter().all(|item| !busy.contains(item)) {
                    busy.extend(items.iter().cloned());
                    return Held { busy: Arc::clone(self), items };
                }
            }
            freed.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut busy = lock(&self.busy.items);
        for item in &self.items {
            busy.remove(item);
        }
        drop(busy);
        self.busy.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::SeqCst},
        time::Duration,
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_holds_an_item_holds_it_alone() {
        let busy = Arc::new(Busy::default());
        let holders: Arc<[AtomicU64; 3]> = Arc::default();
        let tenant = Tenant::new("acme").unwrap();
        let tasks = (0..40_usize).map(|at| {
            let (busy, holders, tenant) = (busy.clone(), holders.clone(), tenant.clone());
            tokio::spawn(async move {
                // In either order, and one of them twice.
                let items = [at % 3, (at + 1 + at % 2) % 3, at % 3];
                let key = |item: &usize| (tenant.clone(), Arc::from("feed"), *item as u64);
                let held = busy.hold(items.iter().map(key).collect()).await;
                for item in &items[..2] {
                    assert_eq!(holders[*item].fetch_add(1, SeqCst), 0);
                }
                tokio::time::sleep(Duration::from_micros(200)).await;
                for item in &items[..2] {
                    holders[*item].fetch_sub(1, SeqCst);
                }
                drop(held);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(lock(&busy.items).is_empty());
    }
}

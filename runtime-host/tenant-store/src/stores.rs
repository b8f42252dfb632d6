//! The files that are open.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use funnelweb_core::limits;
use tokio::{sync::OnceCell, task::spawn_blocking};

use crate::{
    Durability, Error, Part, Purge, Tenant, TenantFile,
    data_dir::{tenants_folder, tenants_of},
    lock,
};

/// Tells the time in milliseconds since 1970; another one is injected in tests.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Opens tenants' files when they are first asked for and keeps the
/// [`limits::OPEN_TENANTS`] last used of them open.
pub struct TenantStores {
    folder: PathBuf,
    clock: Clock,
    capacity: usize,
    parts: Mutex<Vec<Arc<dyn Part>>>,
    open: Mutex<HashMap<Tenant, Slot>>,
    uses: AtomicU64,
}

struct Slot {
    file: Arc<OnceCell<Arc<TenantFile>>>,
    used: u64,
}

impl Slot {
    /// References are given out under the lock of the map only, so a file that
    /// nobody else holds now can be closed.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.file) == 1 && self.file.get().is_none_or(|file| Arc::strong_count(file) == 1)
    }
}

impl TenantStores {
    /// Stores in `<data_dir>/tenants`, which is created.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn new(data_dir: &Path) -> Result<Self, Error> {
        let system = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self::with(data_dir, Arc::new(system), limits::OPEN_TENANTS)
    }

    /// [`TenantStores::new`] with another clock, and keeping `capacity` files
    /// open.
    ///
    /// # Errors
    /// As there.
    pub fn with(data_dir: &Path, clock: Clock, capacity: usize) -> Result<Self, Error> {
        let folder = tenants_folder(data_dir);
        let created = std::fs::create_dir_all(&folder)
            // The entry of the folder itself has to be on the disk as well.
            .and_then(|()| std::fs::File::open(data_dir)?.sync_all());
        created.map_err(|error| Error::Unavailable(format!("cannot create {}: {error}", folder.display())))?;
        Ok(Self { folder, clock, capacity, parts: Mutex::default(), open: Mutex::default(), uses: AtomicU64::new(0) })
    }

    /// Adds the tables of `part` to every file. Backends call it when they are
    /// made, before any file is opened.
    ///
    /// # Errors
    /// `invalid` when a file is open already or the part is there already.
    pub fn register(&self, part: Arc<dyn Part>) -> Result<(), Error> {
        let mut parts = lock(&self.parts);
        if !lock(&self.open).is_empty() {
            return Err(Error::invalid(part.name(), "must be registered before a tenant is opened"));
        }
        if parts.iter().any(|other| other.name() == part.name()) {
            return Err(Error::invalid(part.name(), "is registered already"));
        }
        parts.push(part);
        Ok(())
    }

    /// The time now, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// The tenant's file; created when it is not there.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be opened or migrated.
    pub async fn open(&self, tenant: &Tenant) -> Result<Arc<TenantFile>, Error> {
        let cell = {
            let mut open = lock(&self.open);
            let used = self.uses.fetch_add(1, Ordering::Relaxed);
            if !open.contains_key(tenant) && open.len() >= self.capacity {
                close_oldest(&mut open);
            }
            let slot = open.entry(tenant.clone()).or_insert_with(|| Slot { file: Arc::default(), used });
            slot.used = used;
            if let Some(file) = slot.file.get() {
                return Ok(file.clone());
            }
            slot.file.clone()
        };
        let opened = cell
            .get_or_try_init(|| async {
                let path = self.folder.join(format!("{tenant}.db"));
                let parts = lock(&self.parts).clone();
                spawn_blocking(move || TenantFile::open(path, parts))
                    .await
                    .map_err(|error| Error::Unavailable(format!("opening was abandoned: {error}")))?
            })
            .await?;
        Ok(opened.clone())
    }

    /// The tenants that have a file, by name.
    ///
    /// # Errors
    /// `unavailable` when the folder cannot be read.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        let folder = self.folder.clone();
        spawn_blocking(move || tenants_of(&folder))
            .await
            .map_err(|error| Error::Unavailable(format!("reading was abandoned: {error}")))?
    }

    /// Deletes a user or scenario from the tables of every part, in one durable
    /// transaction; those that were registered last, which may build on others,
    /// come first. Returns how many documents and events went.
    ///
    /// # Errors
    /// Those of the parts; nothing is deleted then.
    pub async fn purge(&self, tenant: &Tenant, what: Purge) -> Result<u64, Error> {
        let file = self.open(tenant).await?;
        let parts = lock(&self.parts).clone();
        file.write(Durability::Durable, move |write| {
            write.settle()?;
            parts.iter().rev().map(|part| part.purge(write, &what)).sum()
        })
        .await
    }
}

/// Makes room: closes the file that was used longest ago among those that
/// nobody works with. There may be none; the number of requests at once bounds
/// by how many the limit is passed then.
fn close_oldest(open: &mut HashMap<Tenant, Slot>) {
    let oldest = open.iter().filter(|(_, slot)| slot.is_idle()).min_by_key(|(_, slot)| slot.used);
    if let Some(tenant) = oldest.map(|(tenant, _)| tenant.clone())
        && let Some(slot) = open.remove(&tenant)
    {
        // Closing the last connection checkpoints the file.
        spawn_blocking(move || drop(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_files_stay_open() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = |at: usize| Tenant::new(&format!("t{at}")).unwrap();
        let stores = TenantStores::new(folder.path()).unwrap();
        assert_eq!(stores.capacity, limits::OPEN_TENANTS);
        let stores = TenantStores { capacity: 3, ..stores };
        for at in 0..10 {
            stores.open(&tenant(at)).await.unwrap();
            assert_eq!(lock(&stores.open).len(), stores.capacity.min(at + 1));
        }
        assert!(lock(&stores.open).contains_key(&tenant(9)) && !lock(&stores.open).contains_key(&tenant(0)));
    }
}

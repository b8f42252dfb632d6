//! The embedded backend: an index in a folder for each space.
//!
//! Spaces are opened when they are first asked for. The least recently used are closed
//! when all or those of a tenant take too much memory, and idle ones after a while. An
//! index that is damaged is removed, and then there is no such space.
//!
//! What waits for the disk, or is long at work, does so on threads for that.

mod folders;
mod open;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use funnelweb_vector_index::{self as index, Change, Plan, Store};
use tokio::{sync::Semaphore, task::spawn_blocking};

use self::{
    folders::Folders,
    open::Open,
    table::{Budget, Table},
};
use crate::{
    check,
    store::{Error, Filter, Hits, Metric, Rows, Space, Tenant, Vectors},
};

/// Spaces that are rebuilt at once: each takes as much memory again.
const BUILDS: usize = 2;

/// Vectors in folders below the data directory.
#[derive(Clone)]
pub struct EmbeddedVectors {
    shared: Arc<Shared>,
}

struct Shared {
    folders: Folders,
    table: Table,
    plan: Plan,
    /// The next space that is made gets this number at least.
    number: AtomicU64,
    builds: Arc<Semaphore>,
    kept: AtomicBool,
}

/// Whose space it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    tenant: Tenant,
    scenario_id: Box<str>,
    space: Box<str>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.scenario_id, self.space)
    }
}

impl Name {
    fn new(tenant: &Tenant, scenario_id: &str, space: &str) -> Self {
        Self { tenant: tenant.clone(), scenario_id: scenario_id.into(), space: space.into() }
    }
}

impl EmbeddedVectors {
    /// Vectors in `<data_dir>/vectors`, which no other process may use.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        // Half of the processors build, the others serve.
        let plan = Plan { threads: Plan::default().threads.div_ceil(2), ..Plan::default() };
        Self::with(data_dir, Budget::default(), plan)
    }

    fn with(data_dir: &Path, budget: Budget, plan: Plan) -> Self {
        // So a number is not used twice, by whichever process.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let shared = Shared {
            folders: Folders::new(data_dir),
            table: Table::new(budget),
            plan,
            number: AtomicU64::new(u64::try_from(started).unwrap_or_default()),
            builds: Arc::new(Semaphore::new(BUILDS)),
            kept: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The space, if there is one.
    async fn open(&self, name: &Name) -> Result<Option<Arc<Open>>, Error> {
        if let Some(open) = self.shared.table.ready(name) {
            return Ok(Some(open));
        }
        if !self.shared.folders.has(name) {
            return Ok(None);
        }
        self.gated(name, Shared::open).await
    }

    /// The space, which must be there.
    async fn existing(&self, name: &Name) -> Result<Arc<Open>, Error> {
        let open = self.open(name).await?;
        open.ok_or_else(|| Error::invalid("space", format_args!("there is no {}", name.space)))
    }

    /// Does what only one may do with a space at a time, on a thread that may wait for
    /// the disk, to the end even if the caller is gone.
    async fn gated<T: Send + 'static>(
        &self,
        name: &Name,
        work: impl FnOnce(&Arc<Shared>, &Name) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if !self.shared.kept.swap(true, Relaxed) {
            tokio::spawn(upkeep::keep(Arc::downgrade(&self.shared)));
        }
        let gate = self.shared.table.gate(name).lock_owned().await;
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        let work = move || {
            let answer = work(&shared, &name);
            drop(gate);
            shared.table.tidy();
            answer
        };
        spawn_blocking(work).await.map_err(abandoned)?
    }

    /// Makes changes to a space, on a thread that may wait for the disk.
    async fn apply(&self, name: Name, open: Arc<Open>, changes: Vec<Change>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            open.apply(&changes)?;
            upkeep::look_after(&shared, &name, &open);
            drop(open);
            shared.table.trim();
            Ok(())
        };
        spawn_blocking(work).await.map_err(abandoned)?
    }
}

impl Shared {
    /// Opens a space; its gate is held.
    fn open(self: &Arc<Self>, name: &Name) -> Result<Option<Arc<Open>>, Error> {
        if let Some(open) = self.table.ready(name) {
            return Ok(Some(open));
        }
        let Some(folder) = self.folders.current(name)? else { return Ok(None) };
        let opened = match Store::space(&folder) {
            Ok(Some(space)) => Store::open(&folder, space, self.plan).map(|(store, _)| Open::new(store, space)),
            Ok(None) => return Ok(None),
            Err(error) => Err(error),
        };
        match opened {
            Ok(open) => Ok(Some(self.keep_open(name, open))),
            Err(error @ (index::Error::Damaged { .. } | index::Error::Mismatch { .. })) => {
                tracing::warn!(%name, %error, "vectors are removed, to be made again");
                self.folders.remove(name)?;
                Ok(None)
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn keep_open(self: &Arc<Self>, name: &Name, open: Open) -> Arc<Open> {
        let open = Arc::new(open);
        self.table.put(name, &open);
        upkeep::look_after(self, name, &open);
        self.table.trim();
        open
    }

    /// Makes a space if there is none; its gate is held.
    fn create(self: &Arc<Self>, name: &Name, space: index::Space) -> Result<(), Error> {
        if let Some(open) = self.open(name)? {
            return check_shape(open.space, space);
        }
        // What is left of one whose making or removal was interrupted.
        self.folders.remove(name)?;
        let folder = self.folders.next(name, self.number.fetch_add(1, Relaxed))?;
        let (store, _) = Store::open(&folder, space, self.plan).map_err(refused)?;
        self.folders.sync_way_to(&folder)?;
        self.keep_open(name, Open::new(store, space));
        Ok(())
    }

    /// Removes a space; its gate is held.
    fn remove(self: &Arc<Self>, name: &Name) -> Result<(), Error> {
        if let Some(open) = self.table.take(name) {
            open.set_dropped();
        }
        self.folders.remove(name)
    }
}

#[async_trait]
impl Vectors for EmbeddedVectors {
    async fn describe(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<Option<Space>, Error> {
        check::names(scenario_id, space)?;
        let open = self.open(&Name::new(tenant, scenario_id, space)).await?;
        Ok(open.map(|open| {
            let metric = match open.space.metric() {
                index::Metric::InnerProduct => Metric::InnerProduct,
                index::Metric::Cosine => Metric::Cosine,
            };
            Space { dimension: open.space.dimension() as u32, metric, vectors: open.store.len() as u64 }
        }))
    }

    async fn get(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<Rows, Error> {
        check::get(scenario_id, space, &handles)?;
        let mut rows = Rows::default();
        let Some(open) = self.open(&Name::new(tenant, scenario_id, space)).await? else { return Ok(rows) };
        for (at, handle) in handles.into_iter().enumerate() {
            if let Some(vector) = open.store.get(handle) {
                rows.found.push(at as u32);
                rows.values.extend(vector);
            }
        }
        Ok(rows)
    }

    async fn query(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        vector: Vec<f32>,
        limit: u32,
        filter: Filter,
    ) -> Result<Hits, Error> {
        check::query(scenario_id, space, &vector, limit, &filter)?;
        let open = self.open(&Name::new(tenant, scenario_id, space)).await?;
        let Some(open) = open else { return Ok(Hits::default()) };
        let filter = match filter {
            Filter::All => None,
            Filter::Except(handles) => Some(index::Filter::except(handles.into_iter().collect())),
            Filter::Only(handles) => Some(index::Filter::only(handles.into_iter().collect())),
        };
        let quick = open.is_quick();
        let search = move || open.store.query(&vector, limit as usize, filter.as_ref()).map_err(refused);
        let hits = if quick { search() } else { spawn_blocking(search).await.map_err(abandoned)? }?;
        let (handles, scores) = hits.into_iter().map(|hit| (hit.handle, hit.score)).unzip();
        Ok(Hits { handles, scores })
    }

    async fn create(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        dimension: u32,
        metric: Metric,
    ) -> Result<(), Error> {
        check::create(scenario_id, space, dimension)?;
        let metric = match metric {
            Metric::InnerProduct => index::Metric::InnerProduct,
            Metric::Cosine => index::Metric::Cosine,
        };
        let name = Name::new(tenant, scenario_id, space);
        let space = index::Space::new(dimension as usize, metric).map_err(refused)?;
        if let Some(open) = self.shared.table.ready(&name) {
            return check_shape(open.space, space);
        }
        self.gated(&name, move |shared, name| shared.create(name, space)).await
    }

    async fn upsert(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        handles: Vec<u64>,
        values: Vec<f32>,
    ) -> Result<(), Error> {
        check::change(scenario_id, space, &handles)?;
        let name = Name::new(tenant, scenario_id, space);
        let open = self.existing(&name).await?;
        let dimension = open.space.dimension();
        check::values(dimension, &handles, &values)?;
        let most = self.shared.table.budget.tenant_bytes;
        if open.bytes() > most {
            let rule = format_args!("has {} bytes in memory, may have at most {most}", open.bytes());
            return Err(Error::invalid("space", rule));
        }
        let rows = handles.into_iter().zip(values.chunks_exact(dimension));
        let changes = rows.map(|(handle, vector)| Change::Upsert { handle, vector: vector.to_vec() });
        self.apply(name, open, changes.collect()).await
    }

    async fn delete(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<(), Error> {
        check::change(scenario_id, space, &handles)?;
        let name = Name::new(tenant, scenario_id, space);
        let Some(open) = self.open(&name).await? else { return Ok(()) };
        let changes = handles.into_iter().map(|handle| Change::Delete { handle });
        self.apply(name, open, changes.collect()).await
    }

    async fn settle(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error> {
        check::names(scenario_id, space)?;
        let open = self.existing(&Name::new(tenant, scenario_id, space)).await?;
        let one = Arc::clone(&open.upkeep).lock_owned().await;
        let synced = Arc::clone(&open);
        let sync = move || synced.sync().map(|()| synced.store.maintenance_due());
        if spawn_blocking(sync).await.map_err(abandoned)?? {
            upkeep::maintain(&self.shared, &open, one).await?;
        }
        Ok(())
    }

    async fn spaces(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<String>, Error> {
        Error::check_id("scenario-id", scenario_id)?;
        let (shared, tenant, scenario_id) = (Arc::clone(&self.shared), tenant.clone(), scenario_id.to_owned());
        spawn_blocking(move || shared.folders.spaces(&tenant, &scenario_id)).await.map_err(abandoned)?
    }

    async fn drop_space(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error> {
        check::names(scenario_id, space)?;
        self.gated(&Name::new(tenant, scenario_id, space), |shared, name| shared.remove(name)).await
    }

    async fn drop_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        for space in self.spaces(tenant, scenario_id).await? {
            self.drop_space(tenant, scenario_id, &space).await?;
        }
        self.shared.folders.tidy(tenant, scenario_id);
        Ok(())
    }
}

fn check_shape(there: index::Space, asked: index::Space) -> Result<(), Error> {
    if there == asked {
        return Ok(());
    }
    let shape = |space: index::Space| format!("{} values, {:?}", space.dimension(), space.metric());
    Err(Error::invalid("space", format_args!("is there with {}, not {}", shape(there), shape(asked))))
}

fn refused(error: index::Error) -> Error {
    match error {
        index::Error::Vector(error) => Error::invalid("vector", error),
        index::Error::File { .. }
        | index::Error::Damaged { .. }
        | index::Error::Mismatch { .. }
        | index::Error::Broken { .. } => Error::Unavailable(format!("vectors: {error}")),
        _ => Error::Invalid(error.to_string()),
    }
}

fn abandoned(error: impl fmt::Display) -> Error {
    Error::Unavailable(format!("vectors: the work was abandoned: {error}"))
}

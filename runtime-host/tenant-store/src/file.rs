//! One tenant's file: a writer behind a queue, and readers.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, Transaction};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    Durability, Error, Part, Ticket, Write, lock, schema,
    writer::{Queue, Writer},
};

/// Connections that read a tenant's file at once.
const READERS: usize = 4;
/// How long a connection waits for another process that holds the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection.
const STATEMENTS: usize = 64;

/// An open file. The last reference closes it.
pub struct TenantFile {
    path: PathBuf,
    number: u64,
    writer: Mutex<Writer>,
    queue: Queue,
    idle_readers: Mutex<Vec<Connection>>,
    readers: Semaphore,
    parts: Arc<[Arc<dyn Part>]>,
}

/// KiB of pages that the writer of one file keeps.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
/// Bytes that SQLite keeps in memory over all files, about.
const PAGES_BYTES: i64 = 96 * 1024 * 1024;

impl Drop for TenantFile {
    fn drop(&mut self) {
        for part in self.parts.iter() {
            part.closed(self.number);
        }
    }
}

impl TenantFile {
    pub(crate) fn open(path: PathBuf, parts: Vec<Arc<dyn Part>>) -> Result<Arc<Self>, Error> {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let mut connection = connect(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A batch changes thousands of pages all over the file: they fit in memory,
        // and those that change again and again are carried over from the WAL
        // every 64 MiB only. What all files keep in memory has its own bound: near
        // it, a cache uses its own pages again and grows no more.
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "soft_heap_limit", PAGES_BYTES)?;
        connection.pragma_update(None, "wal_autocheckpoint", 16 * 1024)?;
        // Gives the disk back what a large import made of the WAL.
        connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        let migrations: Vec<_> = parts.iter().map(|part| (part.name(), part.migrations())).collect();
        schema::migrate(&mut connection, &migrations)?;
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let parts: Arc<[_]> = parts.into();
        let mut writer = Writer::new(connection, number, parts.clone());
        // What a process that was killed held back.
        writer.settle()?;
        Ok(Arc::new(Self {
            path,
            number,
            writer: Mutex::new(writer),
            queue: Queue::default(),
            idle_readers: Mutex::default(),
            readers: Semaphore::new(READERS),
            parts,
        }))
    }

    /// Names this opening of the file within the process: what is kept in
    /// memory of a file is kept under it, and so never outlives the opening.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Queues `job`, which runs in a savepoint of the next transaction and holds
    /// about `bytes` of memory until then. When it fails its own changes are
    /// undone and no others.
    ///
    /// # Errors
    /// `unavailable` when the queue is full. Must be called within a runtime.
    pub fn submit<T, E>(
        self: &Arc<Self>,
        durability: Durability,
        bytes: usize,
        job: impl FnOnce(&mut Write<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<Ticket<T, E>, Error>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (ticket, must_drain) = self.queue.push(durability, bytes, job)?;
        if must_drain {
            let file = self.clone();
            spawn_blocking(move || file.queue.drain(&mut lock(&file.writer)));
        }
        Ok(ticket)
    }

    /// [`TenantFile::submit`], and waits until the job is committed and the
    /// hooks after it have run.
    ///
    /// # Errors
    /// The job's own, or `unavailable` when the queue is full or the commit
    /// failed.
    pub async fn write<T, E>(
        self: &Arc<Self>,
        durability: Durability,
        job: impl FnOnce(&mut Write<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.submit(durability, 0, job)?.done().await
    }

    /// [`TenantFile::write`] of a job that holds about `bytes` of memory.
    ///
    /// # Errors
    /// As there.
    pub async fn write_sized<T, E>(
        self: &Arc<Self>,
        durability: Durability,
        bytes: usize,
        job: impl FnOnce(&mut Write<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.submit(durability, bytes, job)?.done().await
    }

    /// The id of an item that has the handle, as far as any part knows one.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be read.
    pub fn item_id(&self, connection: &Connection, handle: u64) -> Result<Option<String>, Error> {
        for part in self.parts.iter() {
            if let Some(id) = part.item_id(connection, handle)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Runs `work` over one snapshot of the file, on a thread that may block.
    ///
    /// # Errors
    /// Those of `work`, or `unavailable` when there is no connection.
    pub async fn read<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let file = self.clone();
        let permit = self.readers.acquire().await.map_err(|_| Error::Unavailable("the file is closed".to_owned()))?;
        let answer = spawn_blocking(move || {
            let idle = lock(&file.idle_readers).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => connect_reader(&file.path)?,
            };
            let answer = work(&connection.transaction().map_err(Error::from)?);
            lock(&file.idle_readers).push(connection);
            answer
        });
        let answer = answer.await;
        drop(permit);
        answer.map_err(|error| Error::Unavailable(format!("reading was abandoned: {error}")))?
    }
}

fn connect(path: &PathBuf) -> Result<Connection, Error> {
    let connection = Connection::open(path)
        .map_err(|error| Error::Unavailable(format!("cannot open {}: {error}", path.display())))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn connect_reader(path: &PathBuf) -> Result<Connection, Error> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

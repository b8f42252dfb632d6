//! The job itself: each source is found, looked at, and imported unless it is as it
//! was.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use funnelweb_import::{CHUNK_LINES, Error, EventIds, Files, Import, Sink, State as Stand};
use funnelweb_jobs::work::{Failure, ParamError, Task, Work};
use funnelweb_tenant_store::Tenant;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{runtime::Handle, time::timeout_at};

use crate::{
    SyncSettings,
    fetch::{Document, Fetched, Fetcher, Wanted},
    folder::{Folder, check_path, unreadable},
    known::{Look, Version},
    params::{Source, SyncParams, is_url},
    report::{Report, State, outcome},
    urls::{AllowedUrl, Location, locate},
};

/// Between two times that a run keeps where it stands.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// Characters of a source's name in what a run is at.
const PHASE_CHARS: usize = 60;

/// Takes what is imported, in the name of a run's tenant.
pub trait Intake: Send + Sync + 'static {
    /// For the lines of one attempt of a run. It is called on threads that may block.
    fn sink(&self, task: &Task) -> Box<dyn Sink + Send + Sync>;
}

/// The job `sync`.
pub struct SyncWork {
    /// None where nothing may be read.
    policy: Option<Policy>,
    intake: Arc<dyn Intake>,
}

/// What may be read, and how.
struct Policy {
    settings: SyncSettings,
    urls: Vec<AllowedUrl>,
    fetcher: Fetcher,
}

/// Where a source is.
enum Place {
    /// Below the tenant's folder.
    File(PathBuf),
    Document(Location),
}

impl SyncWork {
    /// The job, under the settings of the operator; without any it reads nothing.
    /// Documents of the web are in `spool` while they are imported.
    ///
    /// # Errors
    /// The key of the settings that is wrong, and how.
    pub fn new(settings: Option<SyncSettings>, spool: &Path, intake: Arc<dyn Intake>) -> Result<Self, String> {
        let policy = settings.map(|settings| {
            let urls = settings.allowed()?;
            if let Some(folder) = settings.folder.as_ref().filter(|folder| !folder.is_dir()) {
                return Err(format!("folder: {} is no folder", folder.display()));
            }
            let fetcher = Fetcher::new(spool.to_owned(), settings.tls_ca_file.clone());
            Ok(Policy { settings, urls, fetcher })
        });
        Ok(Self { policy: policy.transpose()?, intake })
    }

    /// Where a source is; of any tenant if none is named.
    fn place(&self, from: &str, tenant: Option<&Tenant>) -> Result<Place, String> {
        let Some(policy) = &self.policy else {
            return Err("this server imports nothing: its operator has not set `sync`".to_owned());
        };
        if is_url(from) {
            if policy.urls.is_empty() {
                return Err("this server imports no URLs: its operator has not set `sync.urls`".to_owned());
            }
            return locate(from, &policy.urls, tenant.map(Tenant::as_str)).map(Place::Document);
        }
        check_path(from)?;
        if policy.settings.folder.is_none() {
            return Err("this server imports no files: its operator has not set `sync.folder`".to_owned());
        }
        Ok(Place::File(from.into()))
    }

    fn places(&self, sources: &[Source], tenant: Option<&Tenant>) -> Result<Vec<Place>, ParamError> {
        let places = sources.iter().enumerate().map(|(at, source)| {
            self.place(&source.from, tenant).map_err(|message| (format!("/sources/{at}/from"), message))
        });
        places.collect()
    }
}

#[async_trait]
impl Work for SyncWork {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        let (sources, _) = SyncParams::parse(params)?;
        self.places(&sources, None).map(drop)
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let refused = |(pointer, message): ParamError| Failure::Permanent(format!("{pointer}: {message}"));
        let (sources, force) = SyncParams::parse(&task.params).map_err(refused)?;
        let places = self.places(&sources, Some(&task.tenant)).map_err(refused)?;
        // Without one no source has a place.
        let Some(policy) = &self.policy else { return Err(Failure::Permanent("there is nothing to do".to_owned())) };
        let attempt = Attempt {
            policy,
            sink: self.intake.sink(&task),
            outcomes: if force { Vec::new() } else { task.outcomes().await? },
            kept: Mutex::new(Kept::read(task.kept().await?.as_deref())),
            count: sources.len(),
            deadline: Instant::now() + policy.settings.timeout(),
            runtime: Handle::current(),
            task: &task,
        };
        attempt.all(&sources, &places).await
    }
}

/// What a run keeps to be taken up from: which sources are done, and where the one
/// stands that is under way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    done: BTreeMap<usize, Report>,
    under_way: BTreeMap<usize, Stand>,
}

impl Kept {
    /// What cannot be read is as good as nothing: lines are sent again.
    fn read(bytes: Option<&[u8]>) -> Self {
        bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
    }
}

/// One attempt of a run.
struct Attempt<'a> {
    policy: &'a Policy,
    task: &'a Task,
    sink: Box<dyn Sink + Send + Sync>,
    /// Of earlier runs, the last first.
    outcomes: Vec<Value>,
    kept: Mutex<Kept>,
    /// Of the sources.
    count: usize,
    deadline: Instant,
    runtime: Handle,
}

impl Attempt<'_> {
    /// All sources that are not done; one that fails does not keep the others from
    /// being imported.
    async fn all(&self, sources: &[Source], places: &[Place]) -> Result<Value, Failure> {
        let mut passing = None;
        for (at, (source, place)) in sources.iter().zip(places).enumerate() {
            if self.kept(|kept| kept.done.contains_key(&at)) {
                continue;
            }
            let report = match self.source(at, source, place).await {
                Ok(report) => report,
                Err(Failure::Permanent(error)) => Report::failed(source, &error),
                Err(Failure::Transient(error)) => {
                    passing.get_or_insert(Failure::Transient(format!("{}: {error}", source.from)));
                    continue;
                }
                Err(Failure::Cancelled) => {
                    self.keep().await?;
                    return Err(Failure::Cancelled);
                }
            };
            self.kept(|kept| {
                kept.under_way.remove(&at);
                kept.done.insert(at, report);
            });
            self.keep().await?;
        }
        if let Some(passing) = passing {
            self.keep().await?;
            return Err(passing);
        }
        let reports: Vec<Report> = self.kept(|kept| kept.done.values().cloned().collect());
        if reports.iter().all(|report| report.state == State::Failed) {
            let complaints: Vec<String> = reports.iter().filter_map(Report::complaint).collect();
            return Err(Failure::Permanent(complaints.join("; ")));
        }
        Ok(outcome(reports))
    }

    async fn source(&self, at: usize, source: &Source, place: &Place) -> Result<Report, Failure> {
        self.go_on()?;
        let last = Version::last(&self.outcomes, &source.read_as);
        match place {
            Place::File(path) => self.file(at, source, path, last),
            Place::Document(location) => self.document(at, source, location, last).await,
        }
    }

    fn file(&self, at: usize, source: &Source, path: &Path, last: Option<Version>) -> Result<Report, Failure> {
        self.report("looking at", source, at, 0.0);
        let settings = &self.policy.settings;
        let all = settings.folder.as_deref().unwrap_or(Path::new(""));
        let folder = Folder::open(all, &self.task.tenant, settings.source_bytes_max).map_err(unreadable)?;
        let mut look = Look::at(&folder, path, &source.mapping).map_err(unreadable)?;
        if let Some(last) = last.clone().filter(|last| last.stamp.is_some() && last.stamp == look.stamp) {
            return Ok(Report::unchanged(source, last));
        }
        let hash = look.hash(|| self.go_on())?;
        let Look { bytes, stamp, .. } = look;
        let version = Version { read_as: source.read_as.clone(), bytes, hash, stamp, validators: Default::default() };
        if last.is_some_and(|last| last.is_same(&version)) {
            return Ok(Report::unchanged(source, version));
        }
        self.import(at, source, Reading { path, files: &folder, from: 0.0 }, version)
    }

    async fn document(
        &self,
        at: usize,
        source: &Source,
        location: &Location,
        last: Option<Version>,
    ) -> Result<Report, Failure> {
        self.report("fetching", source, at, 0.0);
        let most_bytes = self.policy.settings.source_bytes_max;
        let known = last.as_ref().map(|last| &last.validators);
        let mut progress = |bytes: u64, total: Option<u64>| {
            // Fetching is one half, importing the other.
            let part = total.map_or(0.0, |total| bytes as f32 / total.max(1) as f32);
            self.report("fetching", source, at, part / 2.0);
        };
        let fetching = self.policy.fetcher.fetch(Wanted { location, known, most_bytes }, &mut progress);
        let fetched = tokio::select! {
            fetched = timeout_at(self.deadline.into(), fetching) => fetched.map_err(|_| self.too_late())??,
            () = self.task.cancel.cancelled() => return Err(Failure::Cancelled),
        };
        let Document { file, bytes, hash, validators } = match (fetched, last.clone()) {
            (Fetched::Document(document), _) => document,
            (Fetched::Unchanged, Some(last)) => return Ok(Report::unchanged(source, last)),
            (Fetched::Unchanged, None) => return Err(Failure::Permanent("it has no content".to_owned())),
        };
        let version = Version { read_as: source.read_as.clone(), bytes, hash, stamp: None, validators };
        if last.is_some_and(|last| last.is_same(&version)) {
            return Ok(Report::unchanged(source, version));
        }
        let files = Spooled { file, source_bytes: most_bytes };
        let name = location.url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
        self.import(at, source, Reading { path: Path::new(name), files: &files, from: 0.5 }, version)
    }

    /// Imports a source on a thread of its own, from which what is async is waited for.
    fn import(&self, at: usize, source: &Source, reading: Reading<'_>, version: Version) -> Result<Report, Failure> {
        let import = Import {
            source: reading.path,
            files: reading.files,
            mapping: &source.mapping,
            scenario_id: &self.task.scenario_id,
            on_duplicate: source.on_duplicate,
            event_ids: EventIds::ByContent,
            chunk_lines: CHUNK_LINES,
        };
        let stand = self.kept(|kept| kept.under_way.get(&at).cloned());
        let mut stopped = None;
        let mut kept_at = Instant::now();
        let mut told = |stand: &Stand, done: f32| {
            self.report("importing", source, at, reading.from + (1.0 - reading.from) * done);
            self.kept(|kept| kept.under_way.insert(at, stand.clone()));
            let mut go_on = self.go_on().and_then(|()| self.check_lines(stand.lines_read()));
            if go_on.is_ok() && kept_at.elapsed() >= KEEP_EVERY {
                kept_at = Instant::now();
                go_on = self.runtime.block_on(self.keep());
            }
            go_on.map_err(|failure| stopped = Some(failure)).map_err(|()| Error::Stopped)
        };
        let send = || {
            let begun = import.begin(stand)?;
            import.send(&*self.sink, begun, &mut |stand, progress| {
                told(stand, progress.done as f32 / progress.total.max(1) as f32)
            })
        };
        let sent = thread::scope(|scope| {
            let thread = thread::Builder::new().name("job-sync-send".to_owned()).spawn_scoped(scope, send);
            thread.map(thread::ScopedJoinHandle::join)
        });
        match sent {
            Ok(Ok(Ok(stand))) => Ok(Report::imported(source, stand.batch(), version)),
            Ok(Ok(Err(error))) => Err(stopped.unwrap_or_else(|| failure(error))),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::Transient(format!("no thread: {error}"))),
        }
    }

    fn report(&self, what: &str, source: &Source, at: usize, part: f32) {
        let from = source.from.chars().rev().take(PHASE_CHARS).collect::<Vec<char>>();
        let name: String = from.into_iter().rev().collect();
        let percent = 100.0 * (at as f32 + part.clamp(0.0, 1.0)) / self.count as f32;
        self.task.progress.report(&format!("{what} {name}"), percent);
    }

    /// Whether there is time, and nobody wants it to stop.
    fn go_on(&self) -> Result<(), Failure> {
        self.task.go_on()?;
        if Instant::now() < self.deadline { Ok(()) } else { Err(self.too_late()) }
    }

    fn too_late(&self) -> Failure {
        Failure::Permanent(format!("took over {} s, the limit `sync.timeout_s`", self.policy.settings.timeout_s))
    }

    fn check_lines(&self, lines: u64) -> Result<(), Failure> {
        let most = self.policy.settings.source_lines_max;
        if lines <= most {
            return Ok(());
        }
        Err(Failure::Permanent(format!("has over {most} lines, the limit `sync.source_lines_max`")))
    }

    fn kept<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn keep(&self) -> Result<(), Failure> {
        let kept = self.kept(|kept| serde_json::to_vec(kept));
        self.task.keep(kept.map_err(|error| Failure::Permanent(error.to_string()))?).await
    }
}

/// What is read, and which part of the source's progress lies behind it.
struct Reading<'a> {
    path: &'a Path,
    files: &'a dyn Files,
    from: f32,
}

/// A document that was fetched.
struct Spooled {
    file: File,
    source_bytes: u64,
}

impl Files for Spooled {
    /// Whoever opens it again no longer reads what was opened before.
    fn open(&self, _: &Path) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    fn source_bytes(&self) -> u64 {
        self.source_bytes
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Io { source, .. } => unreadable(source),
        Error::Unreachable { reason, .. } => Failure::Transient(reason),
        error => Failure::Permanent(error.to_string()),
    }
}

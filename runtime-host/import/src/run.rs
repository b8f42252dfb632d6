//! The import itself: one thread reads and converts (`reader`), the other sends.
//! [`Import`] is for whoever keeps where it stands; [`run`] keeps it in a file.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, sync_channel},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Batch, Client, Error, Kind, Mapping, Progress, Result, Unit,
    client::{check, chunk},
    convert::Plan,
    reader::{Chunk, Reader},
    source::{AnyFiles, Files, Opened, Position, Source, fingerprint, read_tables},
    state::State,
};

/// Chunks made ahead of the one being sent.
const CHUNKS_AHEAD: usize = 2;

/// What becomes of an item whose id exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The new one takes its place. An import that is repeated changes nothing.
    #[default]
    Replace,
    /// The old one stays.
    Skip,
    /// It is an error of that line. (After a request that had to be repeated, so
    /// may be lines that were taken the first time.)
    Error,
}

impl OnDuplicate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Skip => "skip",
            Self::Error => "error",
        }
    }
}

/// How an event gets an id when its row has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventIds {
    /// By the content of the whole source and the row's line: the same file counts
    /// once, another that has some of its rows counts them again.
    #[default]
    ByPlace,
    /// By what the row says, wherever it stands: a source that has grown, or lost its
    /// oldest rows, counts each row once. Rows that say the same are one event.
    ByContent,
}

/// Where the lines of an import go.
pub trait Sink {
    /// Takes lines of NDJSON, as `POST` of this path would, and says what became of
    /// them.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when it may take them another time, [`Error::Refused`]
    /// when it will not.
    fn send(&self, path: &str, body: &[u8]) -> Result<Batch>;
}

impl Sink for Client {
    fn send(&self, path: &str, body: &[u8]) -> Result<Batch> {
        self.post_chunk(path, body)
    }
}

/// What is imported, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; gzip is recognised by its content.
    pub source: PathBuf,
    /// Into which scenario.
    pub scenario_id: String,
    /// A shipped mapping's name or a mapping file; without one, the source's
    /// columns are named as the API's fields (see [`Mapping::plain`]).
    pub mapping: Option<String>,
    /// What the source holds: needed without a mapping, and otherwise the
    /// mapping's own affair.
    pub kind: Option<Kind>,
    /// For items.
    pub on_duplicate: OnDuplicate,
    /// Where the state is kept that an import is taken up from; beside the source
    /// unless said otherwise.
    pub state_dir: Option<PathBuf>,
    /// Begin at the beginning, whatever the state says.
    pub restart: bool,
    /// Most lines in one request; at most what the endpoint takes.
    pub chunk_lines: usize,
}

impl Options {
    /// Everything at its default.
    pub fn new(source: impl Into<PathBuf>, scenario_id: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            scenario_id: scenario_id.into(),
            mapping: None,
            kind: None,
            on_duplicate: OnDuplicate::default(),
            state_dir: None,
            restart: false,
            chunk_lines: crate::CHUNK_LINES,
        }
    }
}

/// What came of an import, over all runs that it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What the source held.
    pub kind: Kind,
    /// Records read: rows, or users' lists.
    pub records: u64,
    /// What became of the items or behaviours in them, those that were refused
    /// here included; error lines are lines of the source.
    #[serde(flatten)]
    pub batch: Batch,
    /// The line after which this run took up an earlier one.
    pub resumed_after_line: Option<u64>,
    /// How long this run took, in milliseconds.
    pub elapsed_ms: u64,
}

/// Imports a file.
///
/// Lines that are wrong are in the report. An import that ends with an error, or is
/// killed, is taken up by the next call with the same source, mapping, scenario and
/// server, unless `restart` is set.
///
/// # Errors
/// When the mapping is wrong, the source cannot be read, the state cannot be
/// written, or the server cannot be reached or refuses a request as a whole (no
/// such scenario, for example).
pub fn run(client: &Client, options: &Options, progress: &mut dyn FnMut(&Progress<'_>)) -> Result<Report> {
    let start = Instant::now();
    check("scenario id", &options.scenario_id)?;
    let mapping = mapping(options)?;
    let import = Import::of(options, &mapping);
    // The same file may be imported twice at a time, as items and as behaviours
    // or for two tenants: each has its own state.
    let purpose = format!("{} {} {} {}", client.base_url(), client.tenant(), import.path(), options.scenario_id);
    let purpose = format!("{:08x}", xxh3_64(purpose.as_bytes()) as u32);
    let state_path = State::path(&options.source, options.state_dir.as_deref(), &purpose);
    let kept = if options.restart { None } else { State::load(&state_path) };
    let begun = import.begin(kept)?;
    let resumed_after_line = begun.is_resumed().then_some(begun.state.line);
    // Before anything is sent: an import that cannot be taken up should not begin.
    begun.state.save(&state_path)?;
    let state = import.send(client, begun, &mut |state, now| {
        state.save(&state_path)?;
        progress(now);
        Ok(())
    })?;
    State::remove(&state_path)?;
    Ok(Report {
        kind: mapping.kind,
        records: state.rows,
        batch: state.batch,
        resumed_after_line,
        elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The mapping that the options name, or the plain one.
pub(crate) fn mapping(options: &Options) -> Result<Mapping> {
    match (&options.mapping, options.kind) {
        (Some(mapping), kind) => {
            let mapping = Mapping::load(mapping)?;
            if kind.is_some_and(|kind| kind != mapping.kind) {
                return Err(mapping.fault("kind", "is not what the import was told the source holds"));
            }
            Ok(mapping)
        }
        (None, Some(kind)) => Ok(Mapping::plain(kind, &options.source)),
        (None, None) => {
            let message = "say whether it holds items or behaviors, or name a mapping".to_owned();
            Err(Error::Source { path: options.source.clone(), message })
        }
    }
}

/// What is told after each chunk: where the import stands, and how far that is. An
/// error ends it there.
pub type Told<'a> = dyn FnMut(&State, &Progress<'_>) -> Result<()> + 'a;

/// An import of one source, for a caller that keeps where it stands.
#[derive(Clone, Copy)]
pub struct Import<'a> {
    /// The source; tables of the mapping lie beside it.
    pub source: &'a Path,
    /// Who opens them.
    pub files: &'a dyn Files,
    /// How it is read.
    pub mapping: &'a Mapping,
    /// Into which scenario.
    pub scenario_id: &'a str,
    /// For items.
    pub on_duplicate: OnDuplicate,
    /// For behaviours.
    pub event_ids: EventIds,
    /// Most lines in one request; at most what the endpoint takes.
    pub chunk_lines: usize,
}

/// An import that is about to begin, or to go on.
pub struct Begun {
    state: State,
    source_bytes: u64,
    /// Of the source's content, for generated event ids.
    mark: u64,
}

impl Begun {
    /// Whether a part of the source was imported before.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.state.offset > 0
    }
}

impl<'a> Import<'a> {
    fn of(options: &'a Options, mapping: &'a Mapping) -> Self {
        Self {
            source: &options.source,
            files: &AnyFiles,
            mapping,
            scenario_id: &options.scenario_id,
            on_duplicate: options.on_duplicate,
            event_ids: EventIds::ByPlace,
            chunk_lines: options.chunk_lines,
        }
    }

    /// Looks at the source, and goes on from what was kept if that is of the same
    /// source, read in the same way.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn begin(&self, kept: Option<State>) -> Result<Begun> {
        let (source_bytes, mark) = fingerprint(self.files, self.source)?;
        let mapped = xxh3_64(format!("{:?}", self.mapping).as_bytes());
        let fingerprint = format!("{source_bytes} {mark:016x} {mapped:016x}");
        let state = kept.filter(|kept| kept.fingerprint == fingerprint);
        Ok(Begun { state: state.unwrap_or_else(|| State::new(fingerprint)), source_bytes, mark })
    }

    /// Sends what the source holds; where it stands at the end. `told` is told after
    /// each chunk.
    ///
    /// # Errors
    /// When the source cannot be read or does not fit its mapping, the sink refuses a
    /// request as a whole, or `told` ends it.
    pub fn send(&self, sink: &dyn Sink, begun: Begun, told: &mut Told<'_>) -> Result<State> {
        let Begun { state, source_bytes, mark } = begun;
        let reader = self.reader(mark, state.position(), state.rows)?;
        let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || reader.read_all(&sender));
            self.send_all(sink, (state, source_bytes), receiver, told)
        })
    }

    /// Where what the source holds is sent.
    fn path(&self) -> String {
        match self.mapping.kind {
            Kind::Items => {
                format!("/api/v1/items/{}?on_duplicate={}", self.scenario_id, self.on_duplicate.as_str())
            }
            Kind::Behaviors => "/api/v1/behaviors".to_owned(),
        }
    }

    /// A reader of the source from a position; columns are looked up in its header
    /// here, so that a mapping that does not fit is known before anything is sent.
    fn reader(&self, mark: u64, from: Position, rows: u64) -> Result<Reader> {
        let spec = &self.mapping.source;
        let mut source = Source::open(self.open()?, spec, Position::default())?;
        let header = source.header(spec)?;
        let mapping = match &header {
            Some(header) if self.mapping.fields.is_empty() => self.mapping.with_fields_from(header)?,
            _ => self.mapping.clone(),
        };
        if from != Position::default() {
            source = Source::open(self.open()?, spec, from)?;
        }
        let plan = Plan::new(&mapping);
        let (most_lines, chunk_bytes) = chunk(&self.path());
        let places = header.as_ref().map(|header| plan.places(&mapping, header)).transpose()?;
        Ok(Reader {
            kind: mapping.kind,
            spec: spec.clone(),
            scenario_id: self.scenario_id.to_owned(),
            event_ids: self.event_ids,
            mark,
            tables: read_tables(self.files, &mapping, self.source)?,
            width: header.map_or(0, |header| header.len()),
            places,
            plain: mapping.fields.is_empty(),
            plan,
            source,
            rows,
            seen: HashSet::new(),
            chunk_lines: self.chunk_lines.clamp(1, most_lines),
            chunk_bytes,
        })
    }

    fn open(&self) -> Result<Opened<'_>> {
        let path = self.source;
        let file = self.files.open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Ok(Opened { path, file, most_bytes: self.files.source_bytes() })
    }

    fn send_all(
        &self,
        sink: &dyn Sink,
        (mut state, source_bytes): (State, u64),
        chunks: Receiver<Result<Chunk>>,
        told: &mut Told<'_>,
    ) -> Result<State> {
        let path = self.path();
        let task = self.source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for chunk in chunks {
            let chunk = chunk?;
            let mut batch = Batch::default();
            for request in &chunk.requests {
                let source_line = |line: u64| {
                    let at = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
                    request.lines.get(at).copied().unwrap_or(line)
                };
                batch.add(sink.send(&path, &request.body)?, source_line);
            }
            let refused = chunk.errors.len() as u64;
            batch.lines += refused;
            batch.failed += refused;
            chunk.errors.into_iter().for_each(|error| batch.note(error));
            batch.errors.sort_by_key(|error| error.line);
            state.batch.add(batch, |line| line);
            state.offset = chunk.end.offset;
            state.line = chunk.end.line;
            state.rows = chunk.rows;
            let progress = Progress {
                task: &task,
                unit: Unit::Bytes,
                done: chunk.read_bytes.min(source_bytes),
                total: source_bytes,
                lines: state.batch.lines,
                failed: state.batch.failed,
            };
            told(&state, &progress)?;
        }
        Ok(state)
    }
}

/// A reader of a whole source, for whoever sends nothing.
pub(crate) fn reader(options: &Options, mapping: &Mapping) -> Result<Reader> {
    let (_, mark) = fingerprint(&AnyFiles, &options.source)?;
    Import::of(options, mapping).reader(mark, Position::default(), 0)
}

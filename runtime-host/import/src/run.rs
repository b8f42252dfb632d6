//! The import itself: one thread reads and converts (`reader`), the other sends.

use std::{
    collections::HashSet,
    path::PathBuf,
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
    source::{Position, Source, fingerprint, read_tables},
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
    let began = Instant::now();
    let import = Import::prepare(client, options)?;
    let state = if options.restart { None } else { State::load(&import.state_path, &import.fingerprint) };
    let resumed_after_line = state.as_ref().map(|state| state.line);
    let state = state.unwrap_or_else(|| State {
        fingerprint: import.fingerprint.clone(),
        offset: 0,
        line: 0,
        rows: 0,
        batch: Batch::default(),
    });
    // Before anything is sent: an import that cannot be taken up should not begin.
    state.save(&import.state_path)?;

    let opening = Opening { options, mapping: &import.mapping, mark: import.mark };
    let reader = opening.reader(state.position(), state.rows)?;
    let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
    let state = std::thread::scope(|scope| {
        scope.spawn(move || reader.read_all(&sender));
        import.send_all(client, state, receiver, progress)
    })?;
    State::remove(&import.state_path)?;
    Ok(Report {
        kind: import.mapping.kind,
        records: state.rows,
        batch: state.batch,
        resumed_after_line,
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Where what the source holds is sent.
fn path(options: &Options, kind: Kind) -> String {
    match kind {
        Kind::Items => format!("/api/v1/items/{}?on_duplicate={}", options.scenario_id, options.on_duplicate.as_str()),
        Kind::Behaviors => "/api/v1/behaviors".to_owned(),
    }
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

/// A source and how it is read.
pub(crate) struct Opening<'a> {
    pub(crate) options: &'a Options,
    pub(crate) mapping: &'a Mapping,
    /// Of the source's content, for generated event ids.
    pub(crate) mark: u64,
}

impl Opening<'_> {
    /// A reader of the source from a position; columns are looked up in its header
    /// here, so that a mapping that does not fit is known before anything is sent.
    pub(crate) fn reader(&self, from: Position, rows: u64) -> Result<Reader> {
        let Self { options, mapping, mark } = *self;
        let spec = &mapping.source;
        let mut source = Source::open(&options.source, spec, Position::default())?;
        let header = source.header(spec)?;
        let mapping = match &header {
            Some(header) if mapping.fields.is_empty() => mapping.with_fields_from(header)?,
            _ => mapping.clone(),
        };
        if from != Position::default() {
            source = Source::open(&options.source, spec, from)?;
        }
        let plan = Plan::new(&mapping);
        let (most_lines, chunk_bytes) = chunk(&path(options, mapping.kind));
        let places = header.as_ref().map(|header| plan.places(&mapping, header)).transpose()?;
        Ok(Reader {
            kind: mapping.kind,
            spec: spec.clone(),
            scenario_id: options.scenario_id.clone(),
            mark,
            tables: read_tables(&mapping, &options.source)?,
            width: header.map_or(0, |header| header.len()),
            places,
            plain: mapping.fields.is_empty(),
            plan,
            source,
            rows,
            seen: HashSet::new(),
            chunk_lines: options.chunk_lines.clamp(1, most_lines),
            chunk_bytes,
        })
    }
}

/// Everything that is known before the first line is read.
struct Import {
    mapping: Mapping,
    task: String,
    source_bytes: u64,
    /// Of the source's content, for generated event ids.
    mark: u64,
    fingerprint: String,
    state_path: PathBuf,
    path: String,
}

impl Import {
    fn prepare(client: &Client, options: &Options) -> Result<Self> {
        check("scenario id", &options.scenario_id)?;
        let mapping = mapping(options)?;
        let (source_bytes, mark) = fingerprint(&options.source)?;
        let path = path(options, mapping.kind);
        // The same file may be imported twice at a time, as items and as behaviours
        // or for two tenants: each has its own state.
        let purpose = format!("{} {} {path} {}", client.base_url(), client.tenant(), options.scenario_id);
        let purpose = format!("{:08x}", xxh3_64(purpose.as_bytes()) as u32);
        let mapped = xxh3_64(format!("{mapping:?}").as_bytes());
        Ok(Self {
            task: options.source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            state_path: State::path(&options.source, options.state_dir.as_deref(), &purpose),
            fingerprint: format!("{source_bytes} {mark:016x} {mapped:016x}"),
            mapping,
            source_bytes,
            mark,
            path,
        })
    }

    fn send_all(
        &self,
        client: &Client,
        mut state: State,
        chunks: Receiver<Result<Chunk>>,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<State> {
        for chunk in chunks {
            let chunk = chunk?;
            let mut batch = Batch::default();
            for request in &chunk.requests {
                let source_line = |line: u64| {
                    let at = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
                    request.lines.get(at).copied().unwrap_or(line)
                };
                batch.add(client.post_chunk(&self.path, &request.body)?, source_line);
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
            state.save(&self.state_path)?;
            progress(&Progress {
                task: &self.task,
                unit: Unit::Bytes,
                done: chunk.read_bytes.min(self.source_bytes),
                total: self.source_bytes,
                lines: state.batch.lines,
                failed: state.batch.failed,
            });
        }
        Ok(state)
    }
}

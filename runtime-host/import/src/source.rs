//! A source file, line by line: decompressed, decoded, and with a position that an
//! import can be taken up from.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use csv::ByteRecord;
use flate2::bufread::MultiGzDecoder;
use funnelweb_core::limits;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    Error, Result,
    convert::Tables,
    mapping::{Encoding, Format, Layout, Mapping, SourceSpec, TableSpec},
};

/// Bytes at each end of a file that its fingerprint takes in.
const FINGERPRINT_BYTES: u64 = 64 * 1024;
/// Bytes that a CSV reader may have read ahead.
const AHEAD_BYTES: u64 = 64 * 1024;

/// Opens the files of an import: its source, and the tables of its mapping.
pub trait Files: Sync {
    /// Opens one, at its beginning.
    ///
    /// # Errors
    /// When it is not there, or is not to be read.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Bytes that are read of the source, decompressed; more of them are an error.
    fn source_bytes(&self) -> u64 {
        u64::MAX
    }

    /// The same of each table, which is in memory as long as the import lasts.
    fn table_bytes(&self) -> u64 {
        u64::MAX
    }
}

/// Files wherever they are, as whoever runs the program may read them.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyFiles;

impl Files for AnyFiles {
    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }
}

/// One record of a source.
pub(crate) enum Record {
    /// The values of a CSV row.
    Cells(Vec<String>),
    /// An object of NDJSON.
    Json(Value),
}

/// A source, open.
pub(crate) struct Source {
    path: PathBuf,
    rows: Rows,
    /// Lines and bytes before what `rows` reads.
    before: Position,
    /// Bytes of the file read so far, compressed.
    read_bytes: Arc<AtomicU64>,
    allowance: Arc<AtomicU64>,
}

/// A file that was opened to be read as a source.
pub(crate) struct Opened<'a> {
    pub(crate) path: &'a Path,
    pub(crate) file: File,
    /// Decompressed.
    pub(crate) most_bytes: u64,
}

/// A place between two records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Bytes before it, decompressed and decoded.
    pub(crate) offset: u64,
    /// Lines before it.
    pub(crate) line: u64,
}

enum Rows {
    Csv { reader: Box<csv::Reader<Box<dyn Read + Send>>>, record: ByteRecord },
    Lines { reader: BufReader<Box<dyn Read + Send>>, at: Position, layout: Option<u8> },
}

impl Source {
    /// Opens a source at a position; [`Position::default`] is its beginning,
    /// header and all.
    pub(crate) fn open(opened: Opened<'_>, spec: &SourceSpec, from: Position) -> Result<Self> {
        let Opened { path, file, most_bytes } = opened;
        let fault = |source| Error::Io { path: path.to_owned(), source };
        let read_bytes = Arc::new(AtomicU64::new(0));
        let mut file = BufReader::new(Counted { inner: file, bytes: read_bytes.clone() });
        let packed = file.fill_buf().map_err(fault)?.starts_with(&[0x1f, 0x8b]);
        let mut input: Box<dyn Read + Send> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        if most_bytes < u64::MAX {
            input = Box::new(Bounded { inner: input, left: most_bytes, most_bytes });
        }
        if spec.encoding == Encoding::Latin1 {
            input = Box::new(Latin1 { inner: BufReader::new(input), rest: None });
        }
        let skipped = io::copy(&mut input.by_ref().take(from.offset), &mut io::sink()).map_err(fault)?;
        if skipped < from.offset {
            let message = "is shorter than it was when the import began".to_owned();
            return Err(Error::Source { path: path.to_owned(), message });
        }
        let allowance = Arc::new(AtomicU64::new(u64::MAX));
        let delimiter = spec.delimiter.bytes().next().unwrap_or(b',');
        let rows = if spec.format == Format::Csv && spec.layout == Layout::Rows {
            let input: Box<dyn Read + Send> = Box::new(Rationed { inner: input, allowance: allowance.clone() });
            let reader = csv::ReaderBuilder::new()
                .delimiter(delimiter)
                .quoting(spec.quoting)
                .has_headers(false)
                .flexible(true)
                .from_reader(input);
            Rows::Csv { reader: Box::new(reader), record: ByteRecord::new() }
        } else {
            let layout = (spec.layout == Layout::UserLists).then_some(delimiter);
            Rows::Lines { reader: BufReader::new(input), at: Position::default(), layout }
        };
        Ok(Self { path: path.to_owned(), rows, before: from, read_bytes, allowance })
    }

    /// The names of the columns: those of the spec, or else the header's, which is
    /// read. None for NDJSON, whose lines name their own.
    pub(crate) fn header(&mut self, spec: &SourceSpec) -> Result<Option<Vec<String>>> {
        if spec.format == Format::Ndjson {
            return Ok(None);
        }
        if spec.layout == Layout::UserLists {
            return Ok(Some(["user", "item", "position"].map(str::to_owned).to_vec()));
        }
        if !spec.header {
            return Ok(Some(spec.columns.clone()));
        }
        let wrong = |message: &str| Error::Source { path: self.path.clone(), message: message.to_owned() };
        let (no_header, bad_header) =
            (wrong("is empty; it should begin with a header"), wrong("the header is not utf-8"));
        match self.next()? {
            Some((_, Ok(Record::Cells(cells)))) => {
                Ok(Some(cells.into_iter().map(|cell| cell.trim().to_owned()).collect()))
            }
            None => Err(no_header),
            Some(_) => Err(bad_header),
        }
    }

    /// The next record and the number of its line, or why that line is none.
    ///
    /// # Errors
    /// When the file cannot be read further.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Result<Record, String>)>> {
        let fault = |source| Error::Io { path: self.path.clone(), source };
        match &mut self.rows {
            Rows::Csv { reader, record } => {
                self.allowance.store(limits::LINE_BYTES as u64 + AHEAD_BYTES, Ordering::Relaxed);
                if !reader.read_byte_record(record).map_err(|error| fault(io_error(error)))? {
                    return Ok(None);
                }
                let line = self.before.line + record.position().map_or(0, csv::Position::line);
                let cells: Result<Vec<String>, _> =
                    record.iter().map(|cell| std::str::from_utf8(cell).map(str::to_owned)).collect();
                Ok(Some((line, cells.map(Record::Cells).map_err(|_| NOT_UTF8.to_owned()))))
            }
            Rows::Lines { reader, at, layout } => loop {
                let Some(line) = next_line(reader, at).map_err(fault)? else { return Ok(None) };
                let number = self.before.line + at.line;
                let record = line.and_then(|line| {
                    let text = std::str::from_utf8(&line).map_err(|_| NOT_UTF8.to_owned())?.trim();
                    match layout {
                        Some(delimiter) => {
                            let parts = text.split(char::from(*delimiter)).map(str::trim);
                            let cells: Vec<String> = parts.filter(|part| !part.is_empty()).map(str::to_owned).collect();
                            Ok((!cells.is_empty()).then_some(Record::Cells(cells)))
                        }
                        None if text.is_empty() => Ok(None),
                        None => match serde_json::from_str(text) {
                            Ok(value @ Value::Object(_)) => Ok(Some(Record::Json(value))),
                            Ok(_) => Err("the line is no json object".to_owned()),
                            Err(error) => Err(format!("the line is not json: {error}")),
                        },
                    }
                });
                // An empty line is no record.
                if let Some(record) = record.transpose() {
                    return Ok(Some((number, record)));
                }
            },
        }
    }

    /// Where the last record ended.
    pub(crate) fn position(&self) -> Position {
        let at = match &self.rows {
            Rows::Csv { reader, .. } => {
                let at = reader.position();
                Position { offset: at.byte(), line: at.line() - 1 }
            }
            Rows::Lines { at, .. } => *at,
        };
        Position { offset: self.before.offset + at.offset, line: self.before.line + at.line }
    }

    /// Bytes of the file read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

/// What a CSV reader met, as it was when that was a fault of the file's.
fn io_error(error: csv::Error) -> io::Error {
    let message = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => io::Error::other(message),
    }
}

const NOT_UTF8: &str = "the line is not utf-8; say `encoding = \"latin-1\"` if it is that";

/// Reads one line without its end; None at the end of the file. A line over the
/// limit is passed over and told of.
fn next_line(reader: &mut impl BufRead, at: &mut Position) -> io::Result<Option<Result<Vec<u8>, String>>> {
    let mut line = Vec::new();
    let mut bytes = reader.by_ref().take(limits::LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)? as u64;
    if bytes == 0 {
        return Ok(None);
    }
    let too_long = line.len() > limits::LINE_BYTES && !line.ends_with(b"\n");
    if too_long {
        loop {
            let buffer = reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            reader.consume(used);
            bytes += used as u64;
            if end.is_some() || used == 0 {
                break;
            }
        }
    }
    at.offset += bytes;
    at.line += 1;
    Ok(Some(if too_long { Err(format!("the line is over {} bytes long", limits::LINE_BYTES)) } else { Ok(line) }))
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Fails when there is more to read than is allowed, however small it was packed.
struct Bounded<R> {
    inner: R,
    left: u64,
    most_bytes: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let message = format!("has over {} bytes, decompressed", self.most_bytes);
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(read)
    }
}

/// Bounds what one CSV record may take, so that a quote that is never closed does
/// not draw the whole file into memory.
struct Rationed<R> {
    inner: R,
    allowance: Arc<AtomicU64>,
}

impl<R: Read> Read for Rationed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.load(Ordering::Relaxed);
        if left == 0 {
            let message = format!("a row is over {} bytes long; is a quote not closed?", limits::LINE_BYTES);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let read = self.inner.read(buffer)?;
        self.allowance.store(left.saturating_sub(read as u64), Ordering::Relaxed);
        Ok(read)
    }
}

/// ISO 8859-1 as UTF-8: each byte is the code point of that number.
struct Latin1<R> {
    inner: BufReader<R>,
    /// The second byte of a character whose first filled the buffer.
    rest: Option<u8>,
}

impl<R: Read> Read for Latin1<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut places = buffer.iter_mut();
        let mut written = 0;
        if let Some(rest) = self.rest
            && let Some(place) = places.next()
        {
            *place = rest;
            self.rest = None;
            written = 1;
        }
        let mut used = 0;
        for byte in self.inner.fill_buf()? {
            let Some(place) = places.next() else { break };
            used += 1;
            written += 1;
            if byte.is_ascii() {
                *place = *byte;
                continue;
            }
            *place = 0xc0 | (byte >> 6);
            let second = 0x80 | (byte & 0x3f);
            match places.next() {
                Some(place) => {
                    *place = second;
                    written += 1;
                }
                None => self.rest = Some(second),
            }
        }
        self.inner.consume(used);
        Ok(written)
    }
}

/// Length and XXH3 of a file's ends: enough to notice that it is not the file that
/// an import began with.
pub(crate) fn fingerprint(files: &dyn Files, path: &Path) -> Result<(u64, u64)> {
    let read = || -> io::Result<(u64, u64)> {
        let mut file = files.open(path)?;
        let length = file.metadata()?.len();
        let mut hash = Xxh3::new();
        let mut end = Vec::new();
        file.by_ref().take(FINGERPRINT_BYTES).read_to_end(&mut end)?;
        hash.update(&end);
        file.seek(SeekFrom::Start(length.saturating_sub(FINGERPRINT_BYTES)))?;
        end.clear();
        file.take(FINGERPRINT_BYTES).read_to_end(&mut end)?;
        hash.update(&end);
        hash.update(&length.to_le_bytes());
        Ok((length, hash.digest()))
    };
    read().map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Reads the further files of a mapping, which lie beside the source.
pub(crate) fn read_tables(files: &dyn Files, mapping: &Mapping, source: &Path) -> Result<Tables> {
    let mut raw: HashMap<&str, HashMap<String, Vec<String>>> = HashMap::new();
    for (name, table) in &mapping.tables {
        raw.insert(name, read_table(files, mapping, (name, table), source)?);
    }
    let mut tables = Tables::new();
    for (name, table) in &mapping.tables {
        let mut values = raw.get(name.as_str()).cloned().unwrap_or_default();
        if let Some(names) = table.names.as_deref().and_then(|names| raw.get(names)) {
            for list in values.values_mut() {
                *list = list.iter().filter_map(|key| names.get(key).and_then(|names| names.first()).cloned()).collect();
            }
        }
        tables.insert(name.clone(), values);
    }
    Ok(tables)
}

fn read_table(
    files: &dyn Files,
    mapping: &Mapping,
    (name, table): (&str, &TableSpec),
    source: &Path,
) -> Result<HashMap<String, Vec<String>>> {
    let (path, file) = open_table(files, table, source)?;
    let opened = Opened { path: &path, file, most_bytes: files.table_bytes() };
    let mut rows = Source::open(opened, &table.source, Position::default())?;
    let header = rows.header(&table.source)?.unwrap_or_default();
    let place = |key: &str, column: &String| {
        header.iter().position(|name| name == column).ok_or_else(|| {
            let message = format!("{} has no column `{column}`; it has {}", table.file, header.join(", "));
            mapping.fault(format!("tables.{name}.{key}"), message)
        })
    };
    let (key_at, value_at) = (place("key", &table.key)?, place("value", &table.value)?);
    let mut values: HashMap<String, Vec<String>> = HashMap::new();
    while let Some((line, record)) = rows.next()? {
        let cells = match record {
            Ok(Record::Cells(cells)) => cells,
            Ok(Record::Json(_)) => continue,
            Err(message) => return Err(Error::Source { path, message: format!("line {line}: {message}") }),
        };
        if let (Some(key), Some(value)) = (cells.get(key_at), cells.get(value_at)) {
            values.entry(key.trim().to_owned()).or_default().push(value.trim().to_owned());
        }
    }
    Ok(values)
}

/// Opens a table beside its source, packed or not.
fn open_table(files: &dyn Files, table: &TableSpec, source: &Path) -> Result<(PathBuf, File)> {
    let folder = source.parent().unwrap_or(Path::new(""));
    let plain = folder.join(&table.file);
    let missing = match files.open(&plain) {
        Ok(file) => return Ok((plain, file)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::Io { path: plain, source: error });
        }
        Err(error) => error,
    };
    let packed = folder.join(format!("{}.gz", table.file));
    files.open(&packed).map(|file| (packed, file)).map_err(|_| Error::Io { path: plain, source: missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_to_too_much_is_an_error() {
        let read = |most_bytes: u64| {
            let mut text = String::new();
            Bounded { inner: &b"0123456789"[..], left: most_bytes, most_bytes }.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read(10).unwrap(), "0123456789");
        assert_eq!(read(9).unwrap_err().to_string(), "has over 9 bytes, decompressed");
    }

    #[test]
    fn latin_1_is_decoded_whatever_the_buffer() {
        for size in 1..8 {
            let bytes: &[u8] = b"caf\xe9 \xfcber";
            let mut reader = BufReader::with_capacity(size, Latin1 { inner: BufReader::new(bytes), rest: None });
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "café über", "{size}");
        }
    }

    #[test]
    fn a_line_over_the_limit_is_passed_over() {
        let text = format!("{}\nnext\n{}", "x".repeat(limits::LINE_BYTES + 5), "y".repeat(limits::LINE_BYTES));
        let mut reader = BufReader::new(text.as_bytes());
        let mut at = Position::default();
        assert!(next_line(&mut reader, &mut at).unwrap().unwrap().is_err());
        assert_eq!(next_line(&mut reader, &mut at).unwrap().unwrap().unwrap(), b"next\n");
        assert_eq!(next_line(&mut reader, &mut at).unwrap().unwrap().unwrap().len(), limits::LINE_BYTES);
        assert_eq!(next_line(&mut reader, &mut at).unwrap(), None);
        assert_eq!(at, Position { offset: text.len() as u64, line: 3 });
    }
}

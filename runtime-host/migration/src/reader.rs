//! Reading an export, every line checked.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use funnelweb_core::limits;
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};

use crate::{
    error::{Error, Result},
    format::{FORMAT, Header, Kind, Line, VERSION},
    records::Record,
    sums::{self, Sums},
};

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes read ahead.
const AHEAD_BYTES: usize = 1 << 20;

/// The header of an export.
///
/// # Errors
/// When the file cannot be read or is no export of this version.
pub fn header(path: &Path) -> Result<Header> {
    Ok(Records::open(path)?.header)
}

/// The records of an export, one after the other.
pub(crate) struct Records {
    lines: Lines,
    pub(crate) header: Header,
    /// Of the records so far.
    sums: Sums,
    last: Kind,
    /// The hot list that is being read, and those before.
    hot: Option<(String, u32, u64)>,
    hot_before: HashSet<String>,
}

impl Records {
    /// Opens the file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let no_export = "is not the header of an export";
        let Some(text) = lines.next()? else { return Err(lines.wrong("the file is empty")) };
        let Ok(line) = serde_json::from_str::<Line<'_>>(&text) else { return Err(lines.wrong(no_export)) };
        #[derive(Deserialize)]
        struct Version {
            format: String,
            version: u32,
        }
        // First: another version may have other fields.
        match serde_json::from_str::<Version>(line.record.get()) {
            Ok(Version { format, version }) if format == FORMAT && version != VERSION => {
                return Err(lines.wrong(format!("is of version {version} of the format, this program reads {VERSION}")));
            }
            Ok(Version { format, .. }) if format == FORMAT => {}
            _ => return Err(lines.wrong(no_export)),
        }
        lines.check_sum(&line)?;
        let header: Header = serde_json::from_str(line.record.get()).map_err(|error| lines.wrong(error.to_string()))?;
        let (sums, last) = (Sums::default(), Kind::Header);
        Ok(Self { lines, header, sums, last, hot: None, hot_before: HashSet::new() })
    }

    /// The next record; none behind the last, when all that came is what was
    /// written.
    pub(crate) fn next(&mut self) -> Result<Option<Record>> {
        let Some(text) = self.lines.next()? else {
            return Err(self.lines.wrong("the file ends without its last line: it was cut short"));
        };
        let line: Line<'_> = serde_json::from_str(&text).map_err(|error| self.lines.wrong(error.to_string()))?;
        let kind = Kind::deserialize(IntoDeserializer::<ValueError>::into_deserializer(&*line.kind));
        let kind = kind.map_err(|_| self.lines.wrong(format!("unknown kind `{}`", line.kind)))?;
        self.lines.check_sum(&line)?;
        if kind < self.last || kind == Kind::Header {
            return Err(self.lines.wrong(format!("`{kind}` cannot stand behind `{}`", self.last)));
        }
        self.last = kind;
        let record = line.record.get();
        let parsed = Record::parse(kind, record).map_err(|error| self.lines.wrong(error.to_string()))?;
        let Some(parsed) = parsed else {
            self.end(record)?;
            return Ok(None);
        };
        if let Record::Hot(item) = &parsed {
            let list = (item.scenario_id.clone(), item.half_life_s, item.newest_ms);
            if self.hot.as_ref() != Some(&list) {
                if !self.hot_before.insert(list.0.clone()) {
                    return Err(self.lines.wrong(format!("the items of hot list `{}` must stand together", list.0)));
                }
                self.hot = Some(list);
            }
        }
        self.sums.add(kind, record);
        Ok(Some(parsed))
    }

    /// The last line: what was read must be what it says, and nothing follows.
    fn end(&mut self, record: &str) -> Result<()> {
        let written: Sums = serde_json::from_str(record).map_err(|error| self.lines.wrong(error.to_string()))?;
        for kind in Kind::RECORDS {
            let (written, read) = (written.of(kind), self.sums.of(kind));
            if written.count != read.count {
                let counts = format!("{} of kind {kind} were written, {} are there", written.count, read.count);
                return Err(self.lines.wrong(counts));
            }
            if written != read {
                return Err(self.lines.wrong(format!("the records of kind {kind} are not those that were written")));
            }
        }
        match self.lines.next()? {
            None => Ok(()),
            Some(_) => Err(self.lines.wrong("nothing may follow the last line")),
        }
    }

    /// The number of the line that was read last.
    pub(crate) fn line(&self) -> u64 {
        self.lines.number
    }

    /// All records so far.
    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// That the line that was read last is not as it must be.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> Error {
        self.lines.wrong(message)
    }
}

/// The lines of a file, gzip or not.
struct Lines {
    path: PathBuf,
    text: Box<dyn BufRead>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::file(path))?;
        let mut plain = BufReader::with_capacity(AHEAD_BYTES, file);
        let is_gzip = plain.fill_buf().map_err(Error::file(path))?.starts_with(&GZIP);
        let text: Box<dyn BufRead> = match is_gzip {
            true => Box::new(BufReader::with_capacity(AHEAD_BYTES, MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        Ok(Self { path: path.to_owned(), text, number: 0 })
    }

    fn next(&mut self) -> Result<Option<String>> {
        self.number += 1;
        let mut line = Vec::new();
        let most = limits::EXPORT_LINE_BYTES as u64 + 1;
        let read = (&mut self.text).take(most).read_until(b'\n', &mut line);
        // A gzip file that was cut off says so; one that was changed is found here.
        read.map_err(|error| self.wrong(format!("cannot be read, the file was cut short or changed: {error}")))?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => String::from_utf8(line).map(Some).map_err(|error| self.wrong(error.to_string())),
            Some(_) if line.len() >= limits::EXPORT_LINE_BYTES => {
                Err(self.wrong(format!("is longer than {} bytes", limits::EXPORT_LINE_BYTES)))
            }
            Some(_) => Err(self.wrong("ends in the middle: the file was cut short")),
        }
    }

    fn check_sum(&self, line: &Line<'_>) -> Result<()> {
        if line.sum == sums::of_line(line.record.get()) {
            return Ok(());
        }
        Err(self.wrong("was changed: its checksum is another"))
    }

    fn wrong(&self, message: impl Into<String>) -> Error {
        Error::Line { path: self.path.clone(), line: self.number, message: message.into() }
    }
}

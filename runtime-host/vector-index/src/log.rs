//! The log of what changed since the file of an index was written.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `FWCHANGE` |
//! | 4, 4, 4 | version, metric, dimension |
//! | 8 | generation |
//! | 8 | checksum of the above |
//!
//! and for each call that changed something, and each that made changes durable:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `FWCR` |
//! | 8 | number of the record, from 0 |
//! | 4 | bytes of its changes |
//! | 8 | checksum of the two before and the changes, seeded with the generation |
//! | … | changes: 1 and handle and vector, or 2 and handle |
//!
//! A record at the end that is not whole was being written when the process or the
//! machine stopped, and is cut off. One that is followed by a whole one is damage; so
//! that this holds for all that was made durable, a record without changes ends it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{
    Change, Error, Space,
    codec::Reader,
    disk,
    error::Result,
    file::{check_kind, metric},
};

const MAGIC: &[u8; 8] = b"FWCHANGE";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 8 + 3 * 4 + 8 + 8;

const MARK: &[u8; 4] = b"FWCR";
const UPSERT: u8 = 1;
const DELETE: u8 = 2;

/// A log that is written to.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    generation: u64,
    /// Records that were written.
    records: u64,
    bytes: u64,
    /// Whether all that was written is durable.
    durable: bool,
}

/// What is in a log.
#[derive(Debug)]
pub(crate) struct Logged {
    pub changes: Vec<Vec<Change>>,
    /// Bytes of whole records and the head.
    whole: u64,
    /// Bytes after that.
    pub torn: u64,
}

impl Log {
    /// An empty log, in place of any.
    pub fn create(path: &Path, space: Space, generation: u64) -> Result<Self> {
        let mut head = MAGIC.to_vec();
        for number in [VERSION, metric(space), space.dimension() as u32] {
            head.extend(number.to_le_bytes());
        }
        head.extend(generation.to_le_bytes());
        head.extend(xxh3_64(&head).to_le_bytes());
        let file = disk::replace(path, |file| file.write_all(&head)).map_err(Error::file(path))?;
        Ok(Self { file, path: path.to_owned(), generation, records: 0, bytes: HEAD_BYTES as u64, durable: true })
    }

    /// Goes on with a log that was read, without what was torn.
    pub fn resume(path: &Path, generation: u64, logged: &Logged) -> Result<Self> {
        let open = || {
            let file = File::options().append(true).open(path)?;
            if logged.torn > 0 {
                file.set_len(logged.whole)?;
                file.sync_all()?;
            }
            Ok(file)
        };
        let file = open().map_err(Error::file(path))?;
        let (records, bytes) = (logged.changes.len() as u64, logged.whole);
        Ok(Self { file, path: path.to_owned(), generation, records, bytes, durable: false })
    }

    /// Adds changes. They survive the end of the process, and once [`Log::sync`] has
    /// returned that of the machine.
    pub fn append(&mut self, changes: &[Change]) -> Result<()> {
        let mut payload = Vec::new();
        for change in changes {
            match change {
                Change::Upsert { handle, vector } => {
                    payload.push(UPSERT);
                    payload.extend(handle.to_le_bytes());
                    vector.iter().for_each(|number| payload.extend(number.to_le_bytes()));
                }
                Change::Delete { handle } => {
                    payload.push(DELETE);
                    payload.extend(handle.to_le_bytes());
                }
            }
        }
        let mut record = MARK.to_vec();
        record.extend(self.records.to_le_bytes());
        record.extend((payload.len() as u32).to_le_bytes());
        record.extend(checksum(self.generation, self.records, &payload).to_le_bytes());
        record.extend(payload);
        self.file.write_all(&record).map_err(Error::file(&self.path))?;
        self.records += 1;
        self.bytes += record.len() as u64;
        self.durable = false;
        Ok(())
    }

    /// Makes all that was added durable.
    pub fn sync(&mut self) -> Result<()> {
        if !self.durable {
            self.append(&[])?;
            self.file.sync_data().map_err(Error::file(&self.path))?;
            self.durable = true;
        }
        Ok(())
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Reads a log; nothing when there is none.
pub(crate) fn read(path: &Path, space: Space, generation: u64) -> Result<Option<Logged>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(Error::file(path))?,
    };
    let short = || Error::damaged(path, "it is cut short");
    let (head, records) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(short)?;
    let (counted, sum) = head.split_at_checked(HEAD_BYTES - 8).ok_or_else(short)?;
    let mut reader = Reader(counted);
    if reader.bytes(MAGIC.len()) != Some(MAGIC) || Reader(sum).u64() != Some(xxh3_64(counted)) {
        return Err(Error::damaged(path, "its head is wrong"));
    }
    check_kind(&mut reader, path, VERSION, space)?;
    if reader.u64() != Some(generation) {
        return Err(Error::damaged(path, "it is of another generation"));
    }
    let mut changes = Vec::new();
    let mut rest = records;
    while let Some((payload, after)) = record(rest, generation, Some(changes.len() as u64)) {
        let decoded = decode(payload, space);
        changes.push(decoded.ok_or_else(|| Error::damaged(path, "a record is not one of changes"))?);
        rest = after;
    }
    let whole_after =
        (1..rest.len()).any(|at| rest.get(at..).is_some_and(|rest| record(rest, generation, None).is_some()));
    if whole_after {
        return Err(Error::damaged(path, "a record is not as it was written"));
    }
    Ok(Some(Logged { changes, whole: (bytes.len() - rest.len()) as u64, torn: rest.len() as u64 }))
}

/// The changes of a whole record at the front of `bytes`, and what follows it.
fn record(bytes: &[u8], generation: u64, number: Option<u64>) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader(bytes);
    if reader.bytes(MARK.len())? != MARK {
        return None;
    }
    let written = reader.u64()?;
    let len = reader.u32()?;
    let sum = reader.u64()?;
    let payload = reader.bytes(len as usize)?;
    let whole = number.is_none_or(|number| number == written) && checksum(generation, written, payload) == sum;
    whole.then_some((payload, reader.0))
}

fn checksum(generation: u64, number: u64, payload: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(generation);
    hash.update(&number.to_le_bytes());
    hash.update(&(payload.len() as u64).to_le_bytes());
    hash.update(payload);
    hash.digest()
}

fn decode(payload: &[u8], space: Space) -> Option<Vec<Change>> {
    let mut reader = Reader(payload);
    let mut changes = Vec::new();
    while !reader.0.is_empty() {
        let kind = reader.u8()?;
        let handle = reader.u64()?;
        changes.push(match kind {
            UPSERT => Change::Upsert { handle, vector: reader.f32s(space.dimension())? },
            DELETE => Change::Delete { handle },
            _ => return None,
        });
    }
    Some(changes)
}

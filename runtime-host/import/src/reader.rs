//! The reading half of an import: records into chunks of lines to send.

use std::{collections::HashSet, sync::mpsc::SyncSender};

use funnelweb_core::id;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    EventIds, Kind, LineError, Result,
    convert::{Plan, Row, Tables},
    mapping::{Layout, SourceSpec},
    source::{Position, Record, Source},
};

/// A part of the source that is acknowledged as a whole.
pub(crate) struct Chunk {
    /// One, unless a single record comes to more lines than a request may carry.
    pub(crate) requests: Vec<Request>,
    /// What was wrong before it could be sent.
    pub(crate) errors: Vec<LineError>,
    /// Where the source has been read to.
    pub(crate) end: Position,
    pub(crate) rows: u64,
    pub(crate) read_bytes: u64,
}

/// What one request carries.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) body: Vec<u8>,
    /// The source's line of each line of the body.
    pub(crate) lines: Vec<u64>,
}

/// Reads and converts.
pub(crate) struct Reader {
    pub(crate) kind: Kind,
    pub(crate) spec: SourceSpec,
    pub(crate) scenario_id: String,
    pub(crate) event_ids: EventIds,
    pub(crate) mark: u64,
    pub(crate) tables: Tables,
    /// Cells that a row must have.
    pub(crate) width: usize,
    /// Of the plan's columns in a row; None for NDJSON.
    pub(crate) places: Option<Vec<usize>>,
    /// NDJSON that is sent as it is.
    pub(crate) plain: bool,
    pub(crate) plan: Plan,
    pub(crate) source: Source,
    pub(crate) rows: u64,
    /// Handles of the item ids that `distinct` has let through; those of an earlier
    /// run that was cut off are not among them, and are sent once more.
    pub(crate) seen: HashSet<u64>,
    pub(crate) chunk_lines: usize,
    pub(crate) chunk_bytes: usize,
}

impl Reader {
    /// Sends chunks until the source ends, fails, or nobody listens any more.
    pub(crate) fn read_all(mut self, chunks: &SyncSender<Result<Chunk>>) {
        loop {
            let chunk = self.chunk();
            let last = match &chunk {
                Ok(None) => return,
                Ok(Some(_)) => false,
                Err(_) => true,
            };
            let Some(chunk) = chunk.transpose() else { return };
            if chunks.send(chunk).is_err() || last {
                return;
            }
        }
    }

    /// The next chunk; None when the source has ended. It ends between records, so
    /// that the import can be taken up there.
    pub(crate) fn chunk(&mut self) -> Result<Option<Chunk>> {
        let mut requests: Vec<Request> = Vec::new();
        let mut open = Request::default();
        let mut errors = Vec::new();
        let first_row = self.rows;
        // Records that come to nothing must not keep a chunk open for ever.
        let most_rows = 50 * self.chunk_lines as u64;
        while requests.is_empty()
            && open.lines.len() + errors.len() < self.chunk_lines
            && self.rows - first_row < most_rows
        {
            let Some((line, record)) = self.source.next()? else { break };
            let converted = match record {
                Ok(record) => self.convert(line, record),
                Err(message) => vec![Err(invalid(message))],
            };
            self.rows += 1;
            for object in converted {
                match object {
                    Ok(object) => {
                        if open.lines.len() >= self.chunk_lines || open.body.len() >= self.chunk_bytes {
                            requests.push(std::mem::take(&mut open));
                        }
                        // A map of JSON values: serialising into memory cannot fail.
                        let _ = serde_json::to_writer(&mut open.body, &object);
                        open.body.push(b'\n');
                        open.lines.push(line);
                    }
                    Err(error) => errors.push(LineError { line, ..error }),
                }
            }
        }
        if self.rows == first_row {
            return Ok(None);
        }
        if !open.lines.is_empty() {
            requests.push(open);
        }
        let (end, read_bytes) = (self.source.position(), self.source.read_bytes());
        Ok(Some(Chunk { requests, errors, end, rows: self.rows, read_bytes }))
    }

    /// The objects of one record: one, or one for each item of a user's list, or
    /// none when it is not distinct.
    fn convert(&mut self, line: u64, record: Record) -> Vec<Result<Map<String, Value>, LineError>> {
        let rows: Vec<Row> = match record {
            Record::Json(Value::Object(object)) if self.plain => {
                return self.finish(line, 0, object).map(Ok).into_iter().collect();
            }
            Record::Json(object) => {
                let cells = self.plan.columns.iter().map(|path| self.present(json_at(&object, path))).collect();
                vec![Row { cells, position: self.rows }]
            }
            Record::Cells(cells) if self.spec.layout == Layout::UserLists => {
                let Some((user, items)) = cells.split_first() else { return Vec::new() };
                let row = |(position, item): (usize, &String)| {
                    let cells = [user.clone(), item.clone(), position.to_string()];
                    Row { cells: self.place(&cells), position: position as u64 }
                };
                items.iter().enumerate().map(row).collect()
            }
            Record::Cells(cells) if cells.len() != self.width => {
                return vec![Err(invalid(format!("has {} values, {} are expected", cells.len(), self.width)))];
            }
            Record::Cells(cells) => vec![Row { cells: self.place(&cells), position: self.rows }],
        };
        let mut objects = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            match self.plan.convert(row, &self.tables) {
                Ok(object) => objects.extend(self.finish(line, at, object).map(Ok)),
                Err(error) => objects.push(Err(error)),
            }
        }
        objects
    }

    /// Adds what every behaviour has; None for an item that was there before.
    fn finish(&mut self, line: u64, at: usize, mut object: Map<String, Value>) -> Option<Map<String, Value>> {
        match self.kind {
            Kind::Items => {
                let item_id = object.get("item_id").and_then(Value::as_str).unwrap_or_default();
                if self.spec.distinct && !self.seen.insert(id::handle(item_id)) {
                    return None;
                }
            }
            Kind::Behaviors => {
                object.insert("scenario_id".to_owned(), Value::from(self.scenario_id.as_str()));
                // A second run, or a repeated request, gives the same event the same id.
                if !object.contains_key("event_id") {
                    object.insert("event_id".to_owned(), Value::from(self.event_id(line, at, &object)));
                }
            }
        }
        Some(object)
    }

    fn event_id(&self, line: u64, at: usize, object: &Map<String, Value>) -> String {
        match self.event_ids {
            EventIds::ByPlace => format!("import_{:016x}_{line}_{at}", self.mark),
            EventIds::ByContent => {
                // A map of JSON values: serialising cannot fail, and sorts its keys.
                let text = serde_json::to_vec(object).unwrap_or_default();
                format!("import_{:032x}", xxh3_128(&text))
            }
        }
    }

    fn place(&self, cells: &[String]) -> Vec<Option<Value>> {
        let places = self.places.iter().flatten();
        places.map(|at| self.present(cells.get(*at).map(|cell| Value::from(cell.trim())))).collect()
    }

    /// None for what the source calls missing.
    fn present(&self, cell: Option<Value>) -> Option<Value> {
        match cell {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() || self.spec.missing.contains(&text) => None,
            cell => cell,
        }
    }
}

fn json_at(object: &Value, path: &str) -> Option<Value> {
    path.split('.').try_fold(object, |value, key| value.get(key)).cloned()
}

fn invalid(message: String) -> LineError {
    LineError { line: 0, code: "invalid_field".to_owned(), field: None, message }
}

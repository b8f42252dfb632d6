//! A stream of items into the store, batch by batch, with a report by line. One
//! batch is read while the one before is written: two batches and the report are
//! all that is held, and a batch is durable before the next but one is begun.
//!
//! The report counts as if each line were written on its own, in order: an item
//! that stands twice is created and then replaced (or skipped, or refused).

use std::collections::HashMap;

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits,
};
use funnelweb_guest::{
    documents::{InsertOutcome, Key, NewDocument},
    http::{
        Media,
        csv::{Record, Records},
        elements::{self, Elements},
        lines::{Line, Lines},
        report::{LineErrors, line_too_long},
    },
};
use serde::Serialize;

use crate::{
    item::{self, Place},
    row,
};

/// Items written at once, and bytes of them: few enough to hold, enough that a
/// transaction's cost is shared.
const BATCH_ITEMS: usize = limits::INSERT_DOCUMENTS;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Columns of a CSV file.
const COLUMNS: usize = 512;

/// What becomes of an item that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnDuplicate {
    /// The new one takes its place.
    #[default]
    Replace,
    /// The old one stays.
    Skip,
    /// The old one stays, and the line is an error.
    Error,
}

/// The values of `on_duplicate`.
pub(crate) const ON_DUPLICATE: [(&str, OnDuplicate); 3] =
    [("replace", OnDuplicate::Replace), ("skip", OnDuplicate::Skip), ("error", OnDuplicate::Error)];

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) lines: u64,
    pub(crate) created: u64,
    pub(crate) replaced: u64,
    pub(crate) skipped: u64,
    #[serde(flatten)]
    pub(crate) errors: LineErrors,
}

/// An import under way. `S` begins to write a batch; what it returns waits for the
/// end and says what became of each item. Meanwhile the next batch is read.
pub(crate) struct Import<'a, S, F> {
    splitter: Splitter,
    batch: Batch<'a, S, F>,
}

enum Splitter {
    Lines(Lines),
    Elements(Elements),
    Records(Box<Records>),
}

struct Batch<'a, S, F> {
    /// The batch before, which is being written.
    begun: Option<Begun<F>>,
    scenario_id: &'a str,
    on_duplicate: OnDuplicate,
    insert: S,
    documents: Vec<NewDocument>,
    /// The lines that each document stands for, the first apart: mostly the only.
    lines: Vec<(u64, Vec<u64>)>,
    /// Where in the batch an item is, by its handle.
    places: HashMap<u64, usize>,
    bytes: usize,
    /// Lines of a batch that was begun and is not known to be written.
    unwritten: usize,
    report: Report,
}

/// A batch that is being written.
struct Begun<F> {
    finish: F,
    /// Of each document: its item, and the lines it stands for.
    documents: Vec<(String, (u64, Vec<u64>))>,
}

impl<'a, S, F> Import<'a, S, F>
where
    S: FnMut(&[NewDocument], bool) -> Result<F, ApiError>,
    F: FnOnce() -> Result<Vec<InsertOutcome>, ApiError>,
{
    pub(crate) fn new(scenario_id: &'a str, on_duplicate: OnDuplicate, media: Media, insert: S) -> Self {
        let splitter = match media {
            Media::Json => Splitter::Elements(Elements::new(limits::LINE_BYTES)),
            Media::Ndjson => Splitter::Lines(Lines::new(limits::LINE_BYTES)),
            // The endpoint lets no others through.
            Media::Csv | Media::Octets | Media::Wasm | Media::Form => {
                Splitter::Records(Box::new(Records::new(limits::LINE_BYTES, COLUMNS)))
            }
        };
        let batch = Batch {
            begun: None,
            unwritten: 0,
            scenario_id,
            on_duplicate,
            insert,
            documents: Vec::new(),
            lines: Vec::new(),
            places: HashMap::new(),
            bytes: 0,
            report: Report::default(),
        };
        Self { splitter, batch }
    }

    /// Takes a chunk of the body.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), ApiError> {
        let batch = &mut self.batch;
        let result = match &mut self.splitter {
            Splitter::Lines(lines) => lines.push(chunk, &mut |number, line| batch.line(number, line)),
            Splitter::Elements(elements) => elements.push(chunk, &mut |number, item| batch.element(number, item)),
            Splitter::Records(records) => records.push(chunk, &mut |number, record| batch.record(number, record)),
        };
        result.map_err(|error| self.so_far(error))
    }

    /// Takes the end of the body and writes what is left.
    pub(crate) fn finish(mut self) -> Result<Report, ApiError> {
        let batch = &mut self.batch;
        let result = match &mut self.splitter {
            Splitter::Lines(lines) => lines.finish(&mut |number, line| batch.line(number, line)),
            Splitter::Elements(elements) => elements.finish().map(drop),
            Splitter::Records(records) => records.finish(&mut |number, record| batch.record(number, record)),
        };
        let written = result.and_then(|()| self.batch.flush()).and_then(|()| self.batch.settle());
        written.map_err(|error| self.so_far(error))?;
        let mut report = self.batch.report;
        report.errors.sort();
        Ok(report)
    }

    /// An error that ends the import, saying how far it came.
    pub(crate) fn so_far(&self, mut error: ApiError) -> ApiError {
        let Batch { lines, unwritten, report, .. } = &self.batch;
        if report.lines > 0 {
            let pending = unwritten + count(lines.iter());
            let done = report.created + report.replaced;
            error.message = format!(
                "{}; the import ended after {} lines: {done} items are stored, {pending} were not yet written",
                error.message, report.lines
            );
        }
        error
    }
}

impl<S, F> Batch<'_, S, F>
where
    S: FnMut(&[NewDocument], bool) -> Result<F, ApiError>,
    F: FnOnce() -> Result<Vec<InsertOutcome>, ApiError>,
{
    fn line(&mut self, number: u64, line: Line<'_>) -> Result<(), ApiError> {
        match line {
            Line::Whole(text) => self.text(number, text),
            Line::TooLong => self.refuse(number, line_too_long()),
        }
    }

    fn element(&mut self, number: u64, element: elements::Item<'_>) -> Result<(), ApiError> {
        match element {
            elements::Item::Whole(text) => self.text(number, text),
            elements::Item::TooLong => self.refuse(number, line_too_long()),
        }
    }

    fn record(&mut self, number: u64, record: Record<'_>) -> Result<(), ApiError> {
        match record {
            Record::Fields(names, fields) => self.text(number, row::to_json(names, fields).as_bytes()),
            Record::Bad(why) => self.refuse(number, ApiError::new(Code::InvalidField, why)),
        }
    }

    fn refuse(&mut self, number: u64, error: ApiError) -> Result<(), ApiError> {
        self.report.lines += 1;
        self.report.errors.push(number, error);
        Ok(())
    }

    fn text(&mut self, number: u64, text: &[u8]) -> Result<(), ApiError> {
        match item::read(text, Place { scenario_id: self.scenario_id, item_id: None }) {
            Ok(item) => {
                self.report.lines += 1;
                self.add(number, item);
            }
            Err(error) => return self.refuse(number, error),
        }
        if self.documents.len() >= BATCH_ITEMS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Puts an item into the batch, where an id stands once.
    fn add(&mut self, number: u64, item: item::Item) {
        let handle = id::handle(&item.id);
        let at = self.places.get(&handle).copied();
        let twin = at.and_then(|at| Some((self.documents.get_mut(at)?, self.lines.get_mut(at)?)));
        let Some((document, (first, more))) = twin else {
            self.places.insert(handle, self.documents.len());
            self.bytes += item.body.len();
            let key = Key { scenario_id: self.scenario_id.to_owned(), id: item.id };
            self.documents.push(NewDocument { key, body: item.body });
            self.lines.push((number, Vec::new()));
            return;
        };
        if document.key.id != item.id {
            self.report.errors.push(number, collision());
            return;
        }
        match self.on_duplicate {
            OnDuplicate::Replace => {
                self.bytes += item.body.len();
                document.body = item.body;
                more.push(number);
            }
            OnDuplicate::Skip => self.report.skipped += 1,
            OnDuplicate::Error => {
                let message = format!("the item `{}` stands on line {first} already", item.id);
                self.report.errors.push(number, ApiError::field(Code::AlreadyExists, "item_id", message));
            }
        }
    }

    /// Begins to write the batch, and takes note of what became of the one before.
    fn flush(&mut self) -> Result<(), ApiError> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let finish = (self.insert)(&self.documents, self.on_duplicate == OnDuplicate::Replace)?;
        let before = self.begun.take();
        let ids = self.documents.drain(..).map(|document| document.key.id);
        let begun = Begun { finish, documents: ids.zip(self.lines.drain(..)).collect() };
        self.unwritten += count(begun.documents.iter().map(|(_, lines)| lines));
        self.begun = Some(begun);
        self.places.clear();
        self.bytes = 0;
        before.map_or(Ok(()), |before| self.note(before))
    }

    /// Waits for what is being written.
    fn settle(&mut self) -> Result<(), ApiError> {
        self.begun.take().map_or(Ok(()), |begun| self.note(begun))
    }

    fn note(&mut self, begun: Begun<F>) -> Result<(), ApiError> {
        let outcomes = (begun.finish)()?;
        self.unwritten -= count(begun.documents.iter().map(|(_, lines)| lines));
        let report = &mut self.report;
        for (outcome, (item_id, (first, more))) in outcomes.iter().zip(begun.documents) {
            match outcome {
                InsertOutcome::Created => {
                    report.created += 1;
                    report.replaced += more.len() as u64;
                }
                InsertOutcome::Replaced => report.replaced += 1 + more.len() as u64,
                InsertOutcome::Duplicate if self.on_duplicate == OnDuplicate::Skip => report.skipped += 1,
                InsertOutcome::Duplicate => report.errors.push(first, exists(&item_id)),
                InsertOutcome::Collision => {
                    for line in std::iter::once(first).chain(more) {
                        report.errors.push(line, collision());
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many lines stand behind documents.
fn count<'a>(lines: impl Iterator<Item = &'a (u64, Vec<u64>)>) -> usize {
    lines.map(|(_, more)| 1 + more.len()).sum()
}

/// The error that an item exists.
pub(crate) fn exists(item_id: &str) -> ApiError {
    ApiError::field(Code::AlreadyExists, "item_id", format!("the item `{item_id}` exists; PUT replaces it"))
}

fn collision() -> ApiError {
    let message = "the id has the same 64-bit handle as another item; choose a different one";
    ApiError::field(Code::IdCollision, "item_id", message)
}

#[cfg(test)]
mod tests;

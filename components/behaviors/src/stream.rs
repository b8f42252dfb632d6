//! Events as NDJSON, of any number, with a report by line.

use funnelweb_core::{error::ApiError, limits};
use funnelweb_guest::http::{
    lines::{Line, Lines},
    report::{LineErrors, line_too_long},
};
use serde::Serialize;

use crate::{
    batch::{Batch, Counts, Stores},
    event::{self, Sender},
};

/// What became of the events of a request.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// New ones.
    pub(crate) accepted: u64,
    /// Those that were there already and changed nothing.
    pub(crate) duplicates: u64,
    /// Events read, good or bad.
    pub(crate) lines: u64,
    #[serde(flatten)]
    pub(crate) errors: LineErrors,
}

impl Report {
    /// Of a request without a bad event.
    pub(crate) fn of_all(counts: Counts) -> Self {
        let Counts { accepted, duplicates } = counts;
        Self { accepted, duplicates, lines: accepted + duplicates, errors: LineErrors::default() }
    }

    fn add(&mut self, counts: Counts) {
        self.accepted += counts.accepted;
        self.duplicates += counts.duplicates;
    }
}

/// A stream of events under way.
pub(crate) struct Stream<'a, S> {
    lines: Lines,
    rest: Rest<'a, S>,
}

struct Rest<'a, S> {
    sender: Sender<'a>,
    batch: Batch<S>,
    report: Report,
}

impl<'a, S: Stores> Stream<'a, S> {
    pub(crate) fn new(sender: Sender<'a>, stores: S) -> Self {
        let rest = Rest { sender, batch: Batch::new(stores), report: Report::default() };
        Self { lines: Lines::new(limits::LINE_BYTES), rest }
    }

    /// Takes a chunk of the body.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), ApiError> {
        let rest = &mut self.rest;
        self.lines.push(chunk, &mut |number, line| rest.line(number, line)).map_err(|error| self.so_far(error))
    }

    /// Takes the end of the body and writes what is left.
    pub(crate) fn finish(mut self) -> Result<Report, ApiError> {
        let rest = &mut self.rest;
        let result = self.lines.finish(&mut |number, line| rest.line(number, line));
        result.and_then(|()| self.rest.flush()).map_err(|error| self.so_far(error))?;
        Ok(self.rest.report)
    }

    /// An error that ends the stream, saying how far it came. To send it all
    /// again is safe where events have ids.
    pub(crate) fn so_far(&self, mut error: ApiError) -> ApiError {
        let Report { accepted, duplicates, lines, .. } = self.rest.report;
        if lines > 0 {
            error.message = format!(
                "{}; the stream ended after {lines} lines: {accepted} events are stored, {duplicates} were before",
                error.message
            );
        }
        error
    }
}

impl<S: Stores> Rest<'_, S> {
    fn line(&mut self, number: u64, line: Line<'_>) -> Result<(), ApiError> {
        self.report.lines += 1;
        let read = match line {
            Line::Whole(text) => event::read(text, number, self.sender),
            Line::TooLong => Err(line_too_long()),
        };
        match read.and_then(|read| self.batch.add(read)) {
            Ok(()) => {}
            // The line's fault; anything else ends the stream.
            Err(error) if error.code.status() < 500 => self.report.errors.push(number, error),
            Err(error) => return Err(error),
        }
        if self.batch.is_full() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ApiError> {
        let counts = self.batch.flush()?;
        self.report.add(counts);
        Ok(())
    }
}

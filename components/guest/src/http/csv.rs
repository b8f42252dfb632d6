//! CSV records out of chunks (RFC 4180, with a header row) in bounded memory.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use funnelweb_core::error::{ApiError, Code};

use super::lines::without_mark;

/// Splits a stream of chunks into records. Quoted fields may hold line breaks.
#[derive(Debug)]
pub struct Records {
    reader: Reader,
    limit: usize,
    text: Vec<u8>,
    ends: Vec<usize>,
    filled: usize,
    fields: usize,
    /// The line being read, from 1, and the one where the record began.
    line: u64,
    began: u64,
    /// Whether a byte of the record was seen.
    inside: bool,
    too_long: bool,
    header: Option<Vec<String>>,
    started: bool,
}

/// One record under a header.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// The header's names and the record's values, which are as many.
    Fields(&'a [String], Fields<'a>),
    /// It cannot be read.
    Bad(&'static str),
}

/// The values of a record.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// The values in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let value = self.text.get(from..*end).unwrap_or_default();
            from = *end;
            value
        })
    }
}

const NOT_UTF8: &str = "the record is not UTF-8";

impl Records {
    /// A splitter for records of `limit` bytes and `columns` fields at most.
    #[must_use]
    pub fn new(limit: usize, columns: usize) -> Self {
        Self {
            reader: ReaderBuilder::new().build(),
            limit,
            text: vec![0; 4096.min(limit)],
            ends: vec![0; columns + 1],
            filled: 0,
            fields: 0,
            line: 1,
            began: 1,
            inside: false,
            too_long: false,
            header: None,
            started: false,
        }
    }

    /// Takes a chunk and calls `each` with the line on which it began, and
    /// the fields, of every record that the chunk ends.
    ///
    /// # Errors
    /// The first error of `each`; `invalid_field` for a header that is empty,
    /// repeats a name or is too long.
    pub fn push(
        &mut self,
        chunk: &[u8],
        each: &mut impl FnMut(u64, Record<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut rest = if self.started { chunk } else { without_mark(chunk) };
        // The reader takes an empty input for the end.
        while !rest.is_empty() {
            self.started = true;
            if !self.inside {
                let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
                let (skipped, after) = rest.split_at(blank);
                self.line += breaks(skipped);
                self.began = self.line;
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let read = self.read(rest, each)?;
            rest = rest.get(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes the end of the stream, which ends the last record.
    ///
    /// # Errors
    /// As [`Self::push`], and `invalid_json` when there was no header.
    pub fn finish(&mut self, each: &mut impl FnMut(u64, Record<'_>) -> Result<(), ApiError>) -> Result<(), ApiError> {
        while self.inside {
            self.read(b"", each)?;
        }
        if self.header.is_none() {
            return Err(ApiError::new(Code::InvalidField, "a header row with the names of the columns is required"));
        }
        Ok(())
    }

    /// Reads on in a record; how many bytes it took.
    fn read(
        &mut self,
        input: &[u8],
        each: &mut impl FnMut(u64, Record<'_>) -> Result<(), ApiError>,
    ) -> Result<usize, ApiError> {
        let text = self.text.get_mut(self.filled..).unwrap_or_default();
        let ends = self.ends.get_mut(self.fields..).unwrap_or_default();
        let (result, read, written, fields) = self.reader.read_record(input, text, ends);
        self.inside = true;
        self.line += breaks(input.get(..read).unwrap_or_default());
        self.filled += written;
        self.fields += fields;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull if self.too_long || self.text.len() >= self.limit => {
                // What is kept of it is overwritten by what follows.
                self.too_long = true;
                self.filled = 0;
            }
            ReadRecordResult::OutputFull => self.text.resize((self.text.len() * 2).min(self.limit), 0),
            ReadRecordResult::OutputEndsFull => {
                self.too_long = true;
                self.fields = 0;
            }
            ReadRecordResult::Record => {
                let result = self.record(each);
                self.next();
                result?;
            }
            ReadRecordResult::End => self.next(),
        }
        Ok(read)
    }

    fn next(&mut self) {
        (self.filled, self.fields, self.inside, self.too_long) = (0, 0, false, false);
    }

    fn record(&mut self, each: &mut impl FnMut(u64, Record<'_>) -> Result<(), ApiError>) -> Result<(), ApiError> {
        let ends = self.ends.get(..self.fields).unwrap_or_default();
        let text = std::str::from_utf8(self.text.get(..self.filled).unwrap_or_default());
        let bad = match &text {
            _ if self.too_long => Some("the record is longer, or has more fields, than the limit"),
            // A field may not end inside a character either.
            Ok(text) if ends.iter().all(|end| text.is_char_boundary(*end)) => None,
            Ok(_) | Err(_) => Some(NOT_UTF8),
        };
        let Some(header) = &self.header else {
            if let Some(bad) = bad {
                return Err(ApiError::new(Code::InvalidField, format!("the header row: {bad}")));
            }
            self.header = Some(names(Fields { text: text.unwrap_or_default(), ends })?);
            return Ok(());
        };
        match bad {
            Some(bad) => each(self.began, Record::Bad(bad)),
            None if ends.len() != header.len() => {
                each(self.began, Record::Bad("the record has not as many fields as the header"))
            }
            None => each(self.began, Record::Fields(header, Fields { text: text.unwrap_or_default(), ends })),
        }
    }
}

fn names(fields: Fields<'_>) -> Result<Vec<String>, ApiError> {
    // A byte order mark that came in pieces is in the first name.
    let names: Vec<String> = fields.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            let message = format!("column {} of the header row has no name", at + 1);
            return Err(ApiError::new(Code::InvalidField, message));
        }
        if names.iter().take(at).any(|other| other == name) {
            return Err(ApiError::field(Code::InvalidField, name, format!("the column `{name}` stands twice")));
        }
    }
    Ok(names)
}

fn breaks(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Split = Result<Vec<(u64, Result<Vec<String>, &'static str>)>, ApiError>;

    fn split(text: &[u8], limit: usize, chunks: &[usize]) -> Split {
        let mut found = Vec::new();
        let mut each = |line: u64, record: Record<'_>| {
            found.push((
                line,
                match record {
                    Record::Fields(names, fields) => {
                        Ok(names.iter().zip(fields.iter()).map(|(name, value)| format!("{name}={value}")).collect())
                    }
                    Record::Bad(why) => Err(why),
                },
            ));
            Ok(())
        };
        let mut records = Records::new(limit, 4);
        let mut rest = text;
        for size in chunks.iter().cycle().take(text.len()) {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            records.push(chunk, &mut each)?;
        }
        records.push(rest, &mut each)?;
        records.finish(&mut each)?;
        Ok(found)
    }

    fn values(values: &[&str]) -> Result<Vec<String>, &'static str> {
        Ok(values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn records_under_a_header() {
        let text = b"\xEF\xBB\xBFa, b\r\n1,2\r\n\r\n\"x\n\"\"y\",\"z,\"\n3\n4,5";
        for chunk in [1, 2, 7, 99] {
            let records = split(text, 99, &[chunk]).unwrap();
            assert_eq!(records[0], (2, values(&["a=1", "b=2"])));
            assert_eq!(records[1], (4, values(&["a=x\n\"y", "b=z,"])));
            assert_eq!((records[2].0, records[2].1.is_err()), (6, true));
            assert_eq!(records[3], (7, values(&["a=4", "b=5"])));
        }
    }

    #[test]
    fn bad_records_do_not_spoil_the_next() {
        let mut text = b"a,b\n".to_vec();
        text.extend_from_slice(b"123456789012,1\n\xFF,1\n1,2,3,4,5,6\n7,8\n");
        for chunk in [1, 5, 99] {
            let records = split(&text, 10, &[chunk]).unwrap();
            let good: Vec<bool> = records.iter().map(|(_, record)| record.is_ok()).collect();
            assert_eq!(good, [false, false, false, true]);
            assert_eq!(records[3].0, 5);
        }
    }

    #[test]
    fn the_header_is_required_and_checked() {
        for text in ["", "\n\n", "a,a\n", "a,\n", "1234567890123\n"] {
            assert_eq!(split(text.as_bytes(), 10, &[3]).unwrap_err().code, Code::InvalidField, "{text:?}");
        }
        assert_eq!(split(b"a,b", 10, &[3]), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same(
            text in "a,b\n[ab,\"\r\n]{0,50}", limit in 4_usize..20,
            chunks in proptest::collection::vec(1_usize..9, 1..6),
        ) {
            prop_assert_eq!(split(text.as_bytes(), limit, &chunks), split(text.as_bytes(), limit, &[usize::MAX]));
        }
    }
}

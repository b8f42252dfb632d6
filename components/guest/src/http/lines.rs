//! Lines out of chunks: NDJSON in bounded memory.

use memchr::memchr;

/// Splits a stream of chunks into lines. A line inside one chunk is given as a
/// slice of it; only one that spans chunks is copied.
///
/// ```
/// use funnelweb_guest::http::lines::{Line, Lines};
/// let mut seen = Vec::new();
/// let mut each = |number: u64, line: Line<'_>| {
///     seen.push(format!("{number}{line:?}"));
///     Ok::<_, ()>(())
/// };
/// let mut lines = Lines::new(10);
/// lines.push(b"{}\n[", &mut each).unwrap();
/// lines.push(b"]\n\n1234567890x\n", &mut each).unwrap();
/// lines.finish(&mut each).unwrap();
/// assert_eq!(seen, ["1Whole([123, 125])", "2Whole([91, 93])", "4TooLong"]);
/// ```
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    partial: Vec<u8>,
    /// The line being read, from 1.
    number: u64,
    /// The line being read was too long; the rest of it is passed over.
    skipping: bool,
}

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It is longer than the limit and was passed over.
    TooLong,
}

impl Lines {
    /// A splitter for lines of `limit` bytes at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new(), number: 1, skipping: false }
    }

    /// Takes a chunk and calls `each` with the number and text of every line
    /// that it ends. Lines end in LF or CRLF; empty ones are passed over.
    ///
    /// # Errors
    /// The first error of `each`.
    pub fn push<E>(
        &mut self,
        mut chunk: &[u8],
        each: &mut impl FnMut(u64, Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr(b'\n', chunk) {
            let (line, rest) = chunk.split_at(end);
            chunk = rest.get(1..).unwrap_or_default();
            self.end(line, each)?;
        }
        self.keep(chunk);
        Ok(())
    }

    /// Takes the end of the stream, which ends the last line.
    ///
    /// # Errors
    /// That of `each`.
    pub fn finish<E>(&mut self, each: &mut impl FnMut(u64, Line<'_>) -> Result<(), E>) -> Result<(), E> {
        self.end(b"", each)
    }

    fn keep(&mut self, part: &[u8]) {
        if self.skipping || part.is_empty() {
            return;
        }
        // One more for the CR of a CRLF.
        if self.partial.len() + part.len() > self.limit + 1 {
            self.skipping = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(part);
        }
    }

    fn end<E>(&mut self, last: &[u8], each: &mut impl FnMut(u64, Line<'_>) -> Result<(), E>) -> Result<(), E> {
        let number = self.number;
        self.number += 1;
        if !self.skipping && self.partial.is_empty() {
            return give(number, last, self.limit, each);
        }
        self.keep(last);
        let result =
            if self.skipping { each(number, Line::TooLong) } else { give(number, &self.partial, self.limit, each) };
        self.partial.clear();
        self.skipping = false;
        result
    }
}

fn give<E>(
    number: u64,
    line: &[u8],
    limit: usize,
    each: &mut impl FnMut(u64, Line<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = if number == 1 { without_mark(line) } else { line };
    if line.len() > limit {
        each(number, Line::TooLong)
    } else if line.iter().all(u8::is_ascii_whitespace) {
        Ok(())
    } else {
        each(number, Line::Whole(line))
    }
}

/// Text without the byte order mark that some programs begin files with.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &[u8], limit: usize, chunks: &[usize]) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        let mut each = |number: u64, line: Line<'_>| {
            found.push((number, if let Line::Whole(line) = line { Some(line.to_vec()) } else { None }));
            Ok::<_, ()>(())
        };
        let mut lines = Lines::new(limit);
        let mut rest = text;
        for size in chunks.iter().cycle().take(text.len() + 1) {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            lines.push(chunk, &mut each).unwrap();
        }
        lines.push(rest, &mut each).unwrap();
        lines.finish(&mut each).unwrap();
        found
    }

    #[test]
    fn blank_lines_count_and_are_passed_over() {
        let lines = split(b"\xEF\xBB\xBFa\r\n \n\nb", 10, &[100]);
        assert_eq!(lines, [(1, Some(b"a".to_vec())), (4, Some(b"b".to_vec()))]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_byte_more_does_not() {
        for chunk in [1, 2, 3, 100] {
            assert_eq!(
                split(b"12345\r\n123456\n1\n", 5, &[chunk]),
                [(1, Some(b"12345".to_vec())), (2, None), (3, Some(b"1".to_vec()))]
            );
        }
    }

    #[test]
    fn the_first_error_stops_it() {
        let mut count = 0;
        let result = Lines::new(9).push(b"a\nb\nc\n", &mut |_, _| {
            count += 1;
            if count == 2 { Err("stop") } else { Ok(()) }
        });
        assert_eq!((result, count), (Err("stop"), 2));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_lines(
            text in "[ab \r\n]{0,60}", limit in 1_usize..8, chunks in proptest::collection::vec(1_usize..9, 1..6),
        ) {
            prop_assert_eq!(split(text.as_bytes(), limit, &chunks), split(text.as_bytes(), limit, &[usize::MAX]));
        }

        #[test]
        fn lines_are_those_of_the_text(text in "[ab \n]{0,60}", chunks in proptest::collection::vec(1_usize..9, 1..6)) {
            let expected: Vec<_> = text
                .split('\n')
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(at, line)| (at as u64 + 1, Some(line.as_bytes().to_vec())))
                .collect();
            prop_assert_eq!(split(text.as_bytes(), 100, &chunks), expected);
        }
    }
}

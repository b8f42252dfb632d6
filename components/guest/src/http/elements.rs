//! The elements of a JSON array out of chunks, one by one in bounded memory.

use funnelweb_core::error::{ApiError, Code};

/// The byte order mark that some programs begin files with.
const MARK: [u8; 3] = *b"\xEF\xBB\xBF";

/// Splits a stream of chunks that is one JSON array into the texts of its
/// elements. It follows brackets and strings only; whether an element is JSON is
/// for its reader to find, so one bad element does not spoil those after it.
#[derive(Debug)]
pub struct Elements {
    limit: usize,
    state: State,
    element: Element,
    partial: Vec<u8>,
    /// Elements begun.
    number: u64,
    /// Bytes seen, for messages.
    offset: u64,
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// Its text, perhaps with white space after it.
    Whole(&'a [u8]),
    /// It is longer than the limit and was passed over.
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before `[`.
    Start,
    /// After `[`: an element or `]`.
    First,
    /// After a comma: an element.
    Next,
    /// Inside an element.
    Inside,
    /// After `]`.
    End,
}

/// Where in an element the splitter is.
#[derive(Debug, Default, Clone, Copy)]
struct Element {
    depth: u32,
    in_string: bool,
    escaped: bool,
    too_long: bool,
}

impl Elements {
    /// A splitter for elements of `limit` bytes at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, state: State::Start, element: Element::default(), partial: Vec::new(), number: 0, offset: 0 }
    }

    /// Takes a chunk and calls `each` with the number (from 1) and text of every
    /// element that it ends.
    ///
    /// # Errors
    /// The first error of `each`; `invalid_json` when this is not an array.
    pub fn push(
        &mut self,
        chunk: &[u8],
        each: &mut impl FnMut(u64, Item<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut rest = chunk;
        while let Some(byte) = rest.first() {
            if self.state == State::Inside {
                rest = self.inside(rest, each)?;
                continue;
            }
            if !byte.is_ascii_whitespace() {
                match (self.state, byte) {
                    (State::Start, b'[') => self.state = State::First,
                    (State::Start, byte) if self.is_mark(*byte) => {}
                    (State::First, b']') => self.state = State::End,
                    (State::First | State::Next, b',' | b']' | b'}' | b':') | (State::Start | State::End, _) => {
                        return Err(self.unexpected(*byte));
                    }
                    (State::First | State::Next | State::Inside, _) => {
                        self.state = State::Inside;
                        self.element = Element::default();
                        self.number += 1;
                        continue;
                    }
                }
            }
            rest = rest.get(1..).unwrap_or_default();
            self.offset += 1;
        }
        Ok(())
    }

    /// Takes the end of the stream; how many elements there were.
    ///
    /// # Errors
    /// `invalid_json` when the array is not closed.
    pub fn finish(&self) -> Result<u64, ApiError> {
        if self.state == State::End {
            return Ok(self.number);
        }
        Err(ApiError::new(Code::InvalidJson, format!("the array ends early, after {} bytes", self.offset)))
    }

    /// Reads on in an element; what is left of the chunk after it.
    fn inside<'a>(
        &mut self,
        chunk: &'a [u8],
        each: &mut impl FnMut(u64, Item<'_>) -> Result<(), ApiError>,
    ) -> Result<&'a [u8], ApiError> {
        let end = chunk.iter().position(|byte| self.element.ends_at(*byte));
        let (text, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
        self.offset += text.len() as u64;
        let too_long = self.element.too_long || self.partial.len() + text.len() > self.limit;
        let Some(closing) = rest.first() else {
            if too_long {
                self.element.too_long = true;
                self.partial.clear();
            } else {
                self.partial.extend_from_slice(text);
            }
            return Ok(rest);
        };
        self.state = match closing {
            b',' => State::Next,
            b']' => State::End,
            other => return Err(self.unexpected(*other)),
        };
        if too_long {
            each(self.number, Item::TooLong)?;
        } else if self.partial.is_empty() {
            each(self.number, Item::Whole(text))?;
        } else {
            self.partial.extend_from_slice(text);
            each(self.number, Item::Whole(&self.partial))?;
        }
        self.partial.clear();
        self.offset += 1;
        Ok(rest.get(1..).unwrap_or_default())
    }

    fn is_mark(&self, byte: u8) -> bool {
        usize::try_from(self.offset).is_ok_and(|at| MARK.get(at) == Some(&byte))
    }

    fn unexpected(&self, byte: u8) -> ApiError {
        let expected = match self.state {
            State::Start => "an array",
            State::First | State::Next => "an element",
            State::Inside => "a comma or `]`",
            State::End => "nothing after the array",
        };
        let found = char::from(byte).escape_default();
        ApiError::new(Code::InvalidJson, format!("expected {expected} at byte {}, got `{found}`", self.offset))
    }
}

impl Element {
    /// Takes one byte; whether it stands after the element.
    fn ends_at(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b',' | b']' | b'}' if self.depth == 0 => return true,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Split = Result<Vec<(u64, Option<String>)>, ApiError>;

    fn split(text: &[u8], limit: usize, chunks: &[usize]) -> Split {
        let mut found = Vec::new();
        let mut each = |number: u64, item: Item<'_>| {
            found.push((
                number,
                match item {
                    Item::Whole(text) => Some(String::from_utf8_lossy(text).trim_end().to_owned()),
                    Item::TooLong => None,
                },
            ));
            Ok(())
        };
        let mut elements = Elements::new(limit);
        let mut rest = text;
        for size in chunks.iter().cycle().take(text.len()) {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            elements.push(chunk, &mut each)?;
        }
        elements.push(rest, &mut each)?;
        assert_eq!(elements.finish()?, found.len() as u64);
        Ok(found)
    }

    #[test]
    fn elements_of_every_kind() {
        let text = br#" [ {"a":"],\"}"} ,[1,[2]], "x]\\", 12 ,null] "#;
        let elements: Vec<_> = split(text, 99, &[1]).unwrap().into_iter().filter_map(|(_, text)| text).collect();
        assert_eq!(elements, [r#"{"a":"],\"}"}"#, "[1,[2]]", r#""x]\\""#, "12", "null"]);
        assert_eq!(split(b"\xEF\xBB\xBF[]", 9, &[1]), Ok(vec![]));
    }

    #[test]
    fn what_is_no_array_says_where() {
        for (text, at) in
            [("{}", "byte 0"), ("[1,]", "byte 3"), ("[,1]", "byte 1"), ("[1] 2", "byte 4"), ("[1}", "byte 2")]
        {
            let error = split(text.as_bytes(), 9, &[1]).unwrap_err();
            assert_eq!(error.code, Code::InvalidJson);
            assert!(error.message.contains(at), "{text}: {}", error.message);
        }
        for text in ["", "[", "[1", "[1,", "[\"]"] {
            assert!(split(text.as_bytes(), 9, &[1]).unwrap_err().message.contains("ends early"), "{text}");
        }
    }

    #[test]
    fn a_long_element_is_passed_over() {
        for chunk in [1, 3, 99] {
            let elements = split(br#"["1234567", "123", {"a": 12345}, 1]"#, 5, &[chunk]).unwrap();
            assert_eq!(elements, [(1, None), (2, Some("\"123\"".into())), (3, None), (4, Some("1".into()))]);
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same(
            text in r#"\[?([a1{}\[\]", \\]{0,12},?){0,5}\]?"#, limit in 1_usize..9,
            chunks in proptest::collection::vec(1_usize..9, 1..6),
        ) {
            prop_assert_eq!(split(text.as_bytes(), limit, &chunks), split(text.as_bytes(), limit, &[usize::MAX]));
        }

        #[test]
        fn a_serialised_array_comes_back(
            values in proptest::collection::vec(("[a\"\\\\,\\[\\]{}]{0,6}", any::<i32>()), 0..6),
            chunks in proptest::collection::vec(1_usize..9, 1..6),
        ) {
            let text = serde_json::to_vec(&values).unwrap();
            let found: Vec<(String, i32)> = split(&text, 999, &chunks)
                .unwrap()
                .into_iter()
                .map(|(_, text)| serde_json::from_str(&text.unwrap()).unwrap())
                .collect();
            prop_assert_eq!(found, values);
        }
    }
}

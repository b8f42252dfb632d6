//! JSON at the edge: bounded in depth, finite in numbers, errors with a path.

use funnelweb_core::{
    error::{ApiError, Code},
    limits, scenario,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// Reads JSON into a type, after [`check`].
///
/// # Errors
/// `invalid_json` with line and column for what is not JSON; `invalid_field`
/// with its JSON path for what does not fit the type.
pub fn parse<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, ApiError> {
    check(text)?;
    read(text)
}

/// Reads a JSON object into a struct, which [`parse`] would also read from an
/// array, by position.
///
/// # Errors
/// As [`parse`], and `invalid_field` for what is no object.
pub fn object<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, ApiError> {
    if text.trim_ascii_start().first() == Some(&b'{') {
        return parse(text);
    }
    parse::<IgnoredAny>(text)?;
    Err(ApiError::new(Code::InvalidField, "must be a JSON object"))
}

/// Without following the path where there is no error to name.
fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(text).or_else(|_| scenario::parse_json(text).map_err(|error| explain::<T>(text, error)))
}

/// Reads a part of a document that [`parse`] has read as `RawValue`; errors name
/// it, and what is inside it, by `path`.
///
/// # Errors
/// `invalid_field` below `path`.
pub fn part<'de, T: Deserialize<'de>>(path: &str, raw: &'de RawValue) -> Result<T, ApiError> {
    read(raw.get().as_bytes()).map_err(|error| {
        let field = match error.field {
            None => path.to_owned(),
            Some(inner) if inner.starts_with('[') => format!("{path}{inner}"),
            Some(inner) => format!("{path}.{inner}"),
        };
        ApiError { code: Code::InvalidField, message: error.message, field: Some(field), rule: None }
    })
}

/// Makes more of an error that reading `text` as `T` gave: a missing field gets
/// its path; what is JSON, and only of a wrong type, is said to be that (the
/// reader calls a number in place of a word a syntax error).
#[must_use]
pub fn explain<'de, T: Deserialize<'de>>(text: &'de [u8], mut error: ApiError) -> ApiError {
    // What is ignored may be no UTF-8 either.
    let is_json = || std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    if error.code == Code::InvalidJson && is_json() {
        let mut reader = serde_json::Deserializer::from_slice(text);
        if let Err(located) = serde_path_to_error::deserialize::<_, T>(&mut reader) {
            let path = located.path().to_string();
            let code = if path.starts_with("config") { Code::InvalidConfig } else { Code::InvalidField };
            let field = Some(path).filter(|path| path != ".");
            return ApiError { code, message: "has a wrong type".to_owned(), field, rule: None };
        }
    }
    if let Some(rest) = error.message.strip_prefix("missing field `") {
        let name = rest.split('`').next().unwrap_or_default();
        error.field = Some(match error.field.take() {
            Some(path) if !path.is_empty() => format!("{path}.{name}"),
            _ => name.to_owned(),
        });
    }
    error
}

/// Puts the path of the whole (`[3]`) before the field of an error about a part.
#[must_use]
pub fn within(whole: &str, mut error: ApiError) -> ApiError {
    error.field = Some(match error.field.take() {
        Some(field) if field.starts_with('[') => format!("{whole}{field}"),
        Some(field) => format!("{whole}.{field}"),
        None => whole.to_owned(),
    });
    error
}

/// Checks what reading a document as `RawValue` leaves unchecked: that it nests
/// at most [`limits::DOCUMENT_DEPTH`] deep, that its numbers are finite, and that
/// its strings hold no lone surrogates. One pass that allocates nothing unless
/// something looks wrong. What is not JSON may pass; reading it refuses it.
///
/// # Errors
/// `invalid_field` or `invalid_json`.
pub fn check(text: &[u8]) -> Result<(), ApiError> {
    match scan(text) {
        Scan::Fine => Ok(()),
        Scan::TooDeep => Err(ApiError::new(
            Code::InvalidField,
            format!("the document nests deeper than {} levels", limits::DOCUMENT_DEPTH),
        )),
        // Rare: the full reader tells where, or that all is well.
        Scan::Doubtful => scenario::parse_json::<serde_json::Value>(text).map(drop),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Scan {
    Fine,
    TooDeep,
    Doubtful,
}

/// A number of fewer digits than this with an exponent of one or two digits is
/// below 10³⁰⁸.
const SAFE_DIGITS: usize = 200;

fn scan(text: &[u8]) -> Scan {
    let mut depth = 0_usize;
    let mut doubtful = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => loop {
                match bytes.next() {
                    None | Some(b'"') => break,
                    // `\ud8xx` to `\udfxx` are halves of surrogate pairs.
                    Some(b'\\') => {
                        let after = bytes.as_slice();
                        doubtful |= matches!(after, [b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
                        bytes.next();
                    }
                    Some(_) => {}
                }
            },
            b'{' | b'[' => {
                depth += 1;
                if depth > limits::DOCUMENT_DEPTH {
                    return Scan::TooDeep;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'0'..=b'9' => {
                let rest = bytes.as_slice();
                let length = rest.iter().take_while(|byte| is_number(**byte)).count();
                let (number, after) = rest.split_at(length);
                doubtful |= !is_safe(number);
                bytes = after.iter();
            }
            _ => {}
        }
    }
    if doubtful { Scan::Doubtful } else { Scan::Fine }
}

fn is_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

/// Whether a number is certainly finite.
fn is_safe(number: &[u8]) -> bool {
    if number.len() > SAFE_DIGITS {
        return false;
    }
    let mut parts = number.split(|byte| matches!(byte, b'e' | b'E'));
    let exponent = parts.nth(1).unwrap_or_default();
    exponent.len() <= 2 || exponent.first() == Some(&b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(limits::DOCUMENT_DEPTH).as_bytes()), Ok(()));
        let error = check(nested(limits::DOCUMENT_DEPTH + 1).as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::InvalidField);
        assert!(error.message.contains("32"));
        // Brackets in strings do not nest; a long list is not deep.
        assert_eq!(scan(format!("[\"{}\\\"[\"]", "[".repeat(99)).as_bytes()), Scan::Fine);
        assert_eq!(scan(format!("[{}[]]", "[],".repeat(99)).as_bytes()), Scan::Fine);
    }

    #[test]
    fn numbers_are_finite() {
        for fine in ["1", "-1.5e300", "[1e-999]", "\"1e999\"", "1e+10", "{\"a\":12e99}"] {
            assert_eq!(check(fine.as_bytes()), Ok(()), "{fine}");
        }
        assert_eq!(check(b"{\"a\":{\"b\":[1, 1e999]}}").unwrap_err().field.as_deref(), Some("a.b[1]"));
        assert!(check(format!("[1{}]", "0".repeat(400)).as_bytes()).is_err());
        assert!(check(b"[-1E0400]").is_err());
    }

    #[test]
    fn strings_are_unicode() {
        assert_eq!(check(br#""\ud83d\ude00 \\ud800""#), Ok(()));
        assert_eq!(check(br#"["\ud800"]"#).unwrap_err().code, Code::InvalidJson);
        assert_eq!(check(br#"["\uDC00\ud800"]"#).unwrap_err().code, Code::InvalidJson);
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for its errors")]
    struct Thing<'a> {
        id: &'a str,
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for its errors")]
    struct Inner {
        list: Vec<u32>,
        #[serde(default)]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        One,
    }

    #[test]
    fn every_fault_has_its_path() {
        let path = |text: &str| {
            let error = parse::<Thing<'_>>(text.as_bytes()).unwrap_err();
            assert_eq!(error.code, Code::InvalidField, "{text}");
            error.field.unwrap_or_default()
        };
        assert_eq!(path(r#"{"inner":{"list":[]}}"#), "id");
        assert_eq!(path(r#"{"id":"x","inner":{}}"#), "inner.list");
        assert_eq!(path(r#"{"id":"x","inner":{"list":[1,"2"]}}"#), "inner.list[1]");
        assert_eq!(path(r#"{"id":"x","inner":{"list":[]},"more":1}"#), "more");
        assert_eq!(path(r#"{"id":1,"inner":{"list":[]}}"#), "id");
        assert_eq!(path(r#"{"id":"x","inner":{"list":[],"kind":1}}"#), "inner.kind");
        assert_eq!(path(r#"{"id":"x","inner":{"list":[],"kind":"two"}}"#), "inner.kind");
        let error = parse::<Thing<'_>>(b"{\n  \"id\": tru}").unwrap_err();
        assert_eq!(error.code, Code::InvalidJson);
        assert!(error.message.contains("line 2 column"), "{}", error.message);
        assert_eq!(parse::<Thing<'_>>(b"").unwrap_err().code, Code::InvalidJson);
        assert!(parse::<Thing<'_>>(br#"["x",{"list":[]}]"#).is_ok());
        assert_eq!(object::<Thing<'_>>(br#"["x",{"list":[]}]"#).unwrap_err().code, Code::InvalidField);
        assert_eq!(object::<Thing<'_>>(b"[,").unwrap_err().code, Code::InvalidJson);
        assert!(object::<Thing<'_>>(br#" {"id":"x","inner":{"list":[]}}"#).is_ok());
    }

    #[test]
    fn parts_are_named_by_where_they_stand() {
        let raw: Box<RawValue> = serde_json::from_str(r#"{"list":[1,true]}"#).unwrap();
        assert_eq!(part::<Inner>("inner", &raw).unwrap_err().field.as_deref(), Some("inner.list[1]"));
        let raw: Box<RawValue> = serde_json::from_str("[1,true]").unwrap();
        assert_eq!(part::<Vec<u32>>("list", &raw).unwrap_err().field.as_deref(), Some("list[1]"));
        let error = ApiError::field(Code::InvalidField, "item_id", "x");
        assert_eq!(within("[3]", error).field.as_deref(), Some("[3].item_id"));
    }
}

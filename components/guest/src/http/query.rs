//! Query parameters, strictly: an unknown, repeated or malformed one is an error
//! that names it.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use funnelweb_core::{
    error::{ApiError, Code},
    id, time,
};

/// The parameters of a query, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string that may name only `known` parameters, each once.
    ///
    /// # Errors
    /// `invalid_parameter` naming the first that does not fit.
    pub fn parse(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true).ok_or_else(|| refuse(name, "is not valid percent-encoded UTF-8"))?;
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(refuse(&name, format!("is not known here; known: {known}")));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(refuse(&name, "is given more than once"));
            }
            let value = decode(value, true).ok_or_else(|| refuse(&name, "is not valid percent-encoded UTF-8"))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// A parameter's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter as text of 1 to `most` bytes.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn text(&self, name: &str, most: usize) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if (1..=most).contains(&value.len()) {
            return Ok(Some(value));
        }
        Err(refuse(name, format!("must be 1 to {most} bytes long, got {}", value.len())))
    }

    /// A parameter as a whole number in a range.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn number<T: FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            refuse(name, format!("must be a whole number from {} to {}, got `{value}`", range.start(), range.end()))
        })
    }

    /// A parameter that is `true` or `false`; false when it is absent.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.choice(name, &[("true", true), ("false", false)])?.unwrap_or(false))
    }

    /// A parameter that is one of a few words.
    ///
    /// # Errors
    /// `invalid_parameter` listing the words.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == value) {
            return Ok(Some(*choice));
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Err(refuse(name, format!("must be one of {}, got `{value}`", words.join(", "))))
    }

    /// A parameter as an id.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn id(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        id::check(value).map_err(|error| refuse(name, error))?;
        Ok(Some(value))
    }

    /// A parameter as a time in milliseconds since 1970.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn time(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        time::parse_ms(value).map(Some).ok_or_else(|| {
            refuse(name, format!("must be RFC 3339 or seconds or milliseconds since 1970, got `{value}`"))
        })
    }
}

fn refuse(name: &str, message: impl Display) -> ApiError {
    ApiError::field(Code::InvalidParameter, name, format!("`{name}` {message}"))
}

/// Percent-decoding; `form` reads `+` as a space. None for what is not valid.
pub(super) fn decode(text: &str, form: bool) -> Option<String> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if form => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> Option<String> {
        let error = Query::parse(query, &["limit", "q"]).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter);
        error.field
    }

    #[test]
    fn only_known_parameters_each_once() {
        let query = Query::parse("q=a%20b+c&&limit=5", &["limit", "q"]).unwrap();
        assert_eq!(query.get("q"), Some("a b c"));
        assert_eq!(query.number("limit", 1..=10), Ok(Some(5)));
        assert_eq!(refused("Q=1").as_deref(), Some("Q"));
        assert_eq!(refused("q=1&q=2").as_deref(), Some("q"));
        assert_eq!(refused("q=%f").as_deref(), Some("q"));
        assert_eq!(refused("q=%ff").as_deref(), Some("q"));
        assert_eq!(Query::parse("x", &[]).unwrap_err().message, "`x` is not known here; known: none");
    }

    #[test]
    fn every_kind_of_value_is_checked() {
        let all = ["n", "f", "c", "i", "t", "s"];
        let query = Query::parse("n=11&f=1&c=x&i=a/b&t=tomorrow&s=", &all).unwrap();
        for error in [
            query.number("n", 1..=10).unwrap_err(),
            query.flag("f").unwrap_err(),
            query.choice("c", &[("a", 1), ("b", 2)]).unwrap_err(),
            query.id("i").unwrap_err(),
            query.time("t").unwrap_err(),
            query.text("s", 5).unwrap_err(),
        ] {
            assert_eq!(error.code, Code::InvalidParameter);
            assert!(error.field.is_some());
        }
        assert_eq!(Query::parse("n=-1", &all).unwrap().number("n", 0..=10u32).unwrap_err().field.as_deref(), Some("n"));
        let none = Query::parse("", &all).unwrap();
        assert_eq!(none.flag("f"), Ok(false));
        assert_eq!(none.time("t"), Ok(None));
        assert_eq!(Query::parse("t=2026-01-31", &all).unwrap().time("t"), Ok(Some(1_769_817_600_000)));
    }
}

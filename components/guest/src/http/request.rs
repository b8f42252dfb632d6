//! The head of a request: method, path, query, and the headers that matter.

use funnelweb_core::{
    error::{ApiError, Code},
    id,
};
use http::{Method, header, request::Parts};

use super::query::{Query, decode};

/// What kind of body a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`, `application/merge-patch+json`, or not said.
    Json,
    /// `application/x-ndjson` (also `application/ndjson`, `application/jsonl`).
    Ndjson,
    /// `text/csv`.
    Csv,
    /// `application/octet-stream`.
    Octets,
    /// `application/wasm`.
    Wasm,
    /// `multipart/form-data`.
    Form,
}

/// A request without its body.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The gateway's id of the request; empty only where no host checked it.
    pub request_id: String,
    parts: Parts,
    segments: Vec<String>,
}

impl Head {
    /// Reads the head of a request.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let segments = parts
            .uri
            .path()
            .split('/')
            .skip(1)
            // What is not valid percent-encoding stays as it is: `%` is in no id.
            .map(|segment| decode(segment, false).unwrap_or_else(|| segment.to_owned()))
            .collect();
        let request_id = text(&parts, "x-request-id").unwrap_or_default().to_owned();
        Self { method: parts.method.clone(), request_id, parts, segments }
    }

    /// The path as it was sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The path's segments, percent-decoded: `/api/v1/items/a%3Ab` is
    /// `["api", "v1", "items", "a:b"]`.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The query, which may name only `known` parameters, each once.
    ///
    /// # Errors
    /// `invalid_parameter` naming the first that is unknown, repeated or not
    /// valid percent-encoded UTF-8.
    pub fn query(&self, known: &[&str]) -> Result<Query, ApiError> {
        Query::parse(self.parts.uri.query().unwrap_or_default(), known)
    }

    /// A header as text; None when it is absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.parts, name)
    }

    /// `X-User-Id`, if there is one.
    ///
    /// # Errors
    /// `invalid_header` when it is no id.
    pub fn user(&self) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.parts.headers.get("x-user-id") else { return Ok(None) };
        let user = value
            .to_str()
            .map_err(|_| ApiError::field(Code::InvalidHeader, "X-User-Id", "X-User-Id must be visible ASCII"))?;
        id::check(user)
            .map_err(|error| ApiError::field(Code::InvalidHeader, "X-User-Id", format!("X-User-Id {error}")))?;
        Ok(Some(user))
    }

    /// `X-User-Id`, which must be there.
    ///
    /// # Errors
    /// `missing_header` or `invalid_header`.
    pub fn require_user(&self) -> Result<&str, ApiError> {
        self.user()?
            .ok_or_else(|| ApiError::field(Code::MissingHeader, "X-User-Id", "the header X-User-Id is required here"))
    }

    /// What the body is, by `Content-Type`; JSON when that is absent.
    ///
    /// # Errors
    /// `unsupported_media_type` for anything not in `accepted`.
    pub fn media(&self, accepted: &[Media]) -> Result<Media, ApiError> {
        let given = match self.parts.headers.get(header::CONTENT_TYPE) {
            None => "application/json",
            Some(value) => value.to_str().unwrap_or("not text"),
        };
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let media = match essence.as_str() {
            "application/json" | "application/merge-patch+json" => Some(Media::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Media::Ndjson),
            "text/csv" => Some(Media::Csv),
            "application/octet-stream" => Some(Media::Octets),
            "application/wasm" => Some(Media::Wasm),
            "multipart/form-data" => Some(Media::Form),
            _ => None,
        };
        media.filter(|media| accepted.contains(media)).ok_or_else(|| {
            let names: Vec<&str> = accepted.iter().map(|media| media.name()).collect();
            ApiError::field(
                Code::UnsupportedMediaType,
                "Content-Type",
                format!("Content-Type must be {}, got `{given}`", names.join(" or ")),
            )
        })
    }

    /// `Content-Length`, when it is said and readable.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|length| length.parse().ok())
    }

    /// One segment of the path as an id.
    ///
    /// # Errors
    /// `invalid_field` naming `name`.
    pub fn id<'a>(&self, name: &str, segment: &'a str) -> Result<&'a str, ApiError> {
        id::check(segment).map_err(|error| ApiError::field(Code::InvalidField, name, error.to_string()))?;
        Ok(segment)
    }
}

impl Media {
    /// The content type by its usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Octets => "application/octet-stream",
            Self::Wasm => "application/wasm",
            Self::Form => "multipart/form-data",
        }
    }
}

fn text<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Head {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Head::new(request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn segments_are_decoded_and_dots_survive_to_be_refused() {
        let head = head("/api/v1/items/a%3Ab/..%2fx?q=1", &[("X-Request-Id", "r1")]);
        assert_eq!(head.segments(), ["api", "v1", "items", "a:b", "../x"]);
        assert_eq!(head.request_id, "r1");
        assert_eq!(head.id("item_id", "../x").unwrap_err().field.as_deref(), Some("item_id"));
        assert_eq!(head.id("item_id", "a\0").unwrap_err().code, Code::InvalidField);
        assert_eq!(
            Head::new(http::Request::get("/a%zz/%ff").body(()).unwrap().into_parts().0).segments(),
            ["a%zz", "%ff"]
        );
    }

    #[test]
    fn media_types() {
        let media = |value: &str, accepted: &[Media]| head("/", &[("content-type", value)]).media(accepted);
        assert_eq!(head("/", &[]).media(&[Media::Json]), Ok(Media::Json));
        assert_eq!(media("Application/JSON; charset=utf-8", &[Media::Json]), Ok(Media::Json));
        assert_eq!(media("text/csv", &[Media::Json, Media::Csv]), Ok(Media::Csv));
        assert_eq!(media("application/wasm", &[Media::Wasm, Media::Octets]), Ok(Media::Wasm));
        let error = media("text/csv", &[Media::Json, Media::Ndjson]).unwrap_err();
        assert_eq!(error.code, Code::UnsupportedMediaType);
        assert!(error.message.contains("application/json or application/x-ndjson"), "{}", error.message);
        assert!(media("application/x-www-form-urlencoded", &[Media::Json]).is_err());
    }

    #[test]
    fn the_user_is_checked() {
        assert_eq!(head("/", &[]).user(), Ok(None));
        assert_eq!(head("/", &[("x-user-id", "u1")]).require_user(), Ok("u1"));
        assert_eq!(head("/", &[]).require_user().unwrap_err().code, Code::MissingHeader);
        assert_eq!(head("/", &[("x-user-id", "a/b")]).user().unwrap_err().code, Code::InvalidHeader);
    }
}

//! Replies: JSON, nothing, or an error of the one shape.

use bytes::Bytes;
use funnelweb_core::error::{ApiError, Code};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

/// Seconds after which a client that was answered 503 should try again.
const RETRY_AFTER_S: u32 = 1;

/// What a component hands to the host.
pub type Outgoing = Response<Full<Bytes>>;

/// What is answered.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Empty,
    /// Of this content type.
    Bytes(&'static str, Bytes),
    /// Written when the request's id is at hand.
    Error(ApiError),
}

impl Reply {
    /// A value as JSON.
    ///
    /// # Errors
    /// `internal` when the value does not serialise (a map with keys that are
    /// not strings).
    pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(value)
            .map_err(|error| ApiError::new(Code::Internal, format!("the response does not serialise: {error}")))?;
        Ok(Self::json_text(status, body))
    }

    /// Text that is JSON already.
    #[must_use]
    pub fn json_text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::bytes(status, "application/json", body)
    }

    /// One page of documents, which are JSON already:
    /// `{"<name>":[…],"next_cursor":…}`.
    #[must_use]
    pub fn page<'a>(name: &str, documents: impl Iterator<Item = &'a str>, next_cursor: Option<&str>) -> Self {
        let mut body = format!("{{\"{name}\":[");
        for (at, document) in documents.enumerate() {
            if at > 0 {
                body.push(',');
            }
            body.push_str(document);
        }
        // Strings and nothing: serialising cannot fail.
        let next_cursor = serde_json::to_string(&next_cursor).unwrap_or_default();
        body.push_str("],\"next_cursor\":");
        body.push_str(&next_cursor);
        body.push('}');
        Self::json_text(StatusCode::OK, body)
    }

    /// Anything else.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Bytes(content_type, body.into()) }
    }

    /// 204.
    #[must_use]
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), content: Content::Empty }
    }

    /// 304.
    #[must_use]
    pub fn not_modified() -> Self {
        Self { status: StatusCode::NOT_MODIFIED, headers: Vec::new(), content: Content::Empty }
    }

    /// An error, with the status of its code; a 503 says when to try again.
    #[must_use]
    pub fn error(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = Self { status, headers: Vec::new(), content: Content::Error(error) };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return reply.header(header::RETRY_AFTER, &RETRY_AFTER_S.to_string());
        }
        reply
    }

    /// 405 with the methods that are there: `"GET, POST"`.
    #[must_use]
    pub fn method_not_allowed(allow: &str) -> Self {
        let error = ApiError::new(Code::MethodNotAllowed, format!("this route takes {allow}"));
        Self::error(error).header(header::ALLOW, allow)
    }

    /// Adds a header; one that is no valid header value is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Adds the `ETag` of a document's version.
    #[must_use]
    pub fn version(self, version: u64) -> Self {
        self.header(header::ETAG, &super::version::tag(version))
    }

    /// The response, its error naming the request.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Outgoing {
        let (content_type, body) = match self.content {
            Content::Empty => (None, Bytes::new()),
            Content::Bytes(content_type, body) => (Some(content_type), body),
            Content::Error(error) => (Some("application/json"), Bytes::from(error.body(request_id))),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        if let Some(content_type) = content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn body(response: Outgoing) -> String {
        let mut body = response.into_body().collect();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(&mut body).poll(&mut context) {
            std::task::Poll::Ready(Ok(body)) => String::from_utf8(body.to_bytes().to_vec()).unwrap(),
            other => panic!("a full body is there at once, got {other:?}"),
        }
    }

    #[test]
    fn errors_have_the_one_shape() {
        let response = Reply::error(ApiError::field(Code::InvalidField, "count", "too many")).into_response("r1");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            body(response),
            r#"{"error":{"code":"invalid_field","message":"too many","field":"count","request_id":"r1"}}"#
        );
    }

    #[test]
    fn some_errors_need_a_header() {
        let busy = Reply::error(ApiError::new(Code::StoreUnavailable, "x")).into_response("r1");
        assert_eq!(busy.headers()["retry-after"], "1");
        let wrong = Reply::method_not_allowed("GET, POST").into_response("r1");
        assert_eq!(wrong.status(), 405);
        assert_eq!(wrong.headers()["allow"], "GET, POST");
    }

    #[test]
    fn versions_are_tags() {
        let response = Reply::json(StatusCode::OK, &[1]).unwrap().version(7).into_response("r1");
        assert_eq!(response.headers()["etag"], "\"7\"");
        assert_eq!(body(response), "[1]");
    }

    #[test]
    fn a_page_joins_its_documents() {
        let page = |documents: &[&'static str], next| {
            body(Reply::page("items", documents.iter().copied(), next).into_response("r1"))
        };
        assert_eq!(page(&[], None), r#"{"items":[],"next_cursor":null}"#);
        assert_eq!(page(&["{}", "[]"], Some("a\"")), r#"{"items":[{},[]],"next_cursor":"a\""}"#);
    }
}

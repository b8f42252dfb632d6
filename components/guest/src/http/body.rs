//! The body of a request, read whole under a limit or chunk by chunk.

use bytes::{Bytes, BytesMut};
use funnelweb_core::error::{ApiError, Code};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use spin_sdk::wasip3::http::types::ErrorCode;

use super::{Head, Media};

/// A request's body.
#[derive(Debug)]
pub struct Body {
    frames: UnsyncBoxBody<Bytes, ApiError>,
    declared: Option<u64>,
    read: u64,
    /// Read already, and to be given again.
    peeked: Option<Bytes>,
}

impl Body {
    /// A body of which `Content-Length` declares this many bytes.
    #[must_use]
    pub fn new(frames: UnsyncBoxBody<Bytes, ApiError>, declared: Option<u64>) -> Self {
        Self { frames, declared, read: 0, peeked: None }
    }

    /// The whole body, of `limit` bytes at most.
    ///
    /// # Errors
    /// `body_too_large` naming the limit; `invalid_json` when it breaks off.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, ApiError> {
        let Some(first) = self.chunk(limit as u64).await? else { return Ok(Bytes::new()) };
        // The usual body is one chunk, which is then not copied.
        let Some(second) = self.chunk(limit as u64).await? else { return Ok(first) };
        let declared = self.declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut whole = BytesMut::with_capacity(declared.max(first.len() + second.len()));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.chunk(limit as u64).await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The whole body of a request that must be JSON.
    ///
    /// # Errors
    /// As [`Self::bytes`], and `unsupported_media_type`.
    pub async fn json(self, head: &Head, limit: usize) -> Result<Bytes, ApiError> {
        head.media(&[Media::Json])?;
        self.bytes(limit).await
    }

    /// Whether the body, of `limit` bytes at most, begins like a JSON array; no
    /// byte but white space is taken from it.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub async fn is_array(&mut self, limit: u64) -> Result<bool, ApiError> {
        while let Some(chunk) = self.chunk(limit).await? {
            if let Some(first) = chunk.trim_ascii_start().first().copied() {
                self.peeked = Some(chunk);
                return Ok(first == b'[');
            }
        }
        Ok(false)
    }

    /// The next chunk, none at the end, of a body of `limit` bytes at most.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub async fn chunk(&mut self, limit: u64) -> Result<Option<Bytes>, ApiError> {
        // Before the first byte, so that a client which waits is not made to send.
        if self.declared.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        if let Some(chunk) = self.peeked.take() {
            if self.read > limit {
                return Err(too_large(limit));
            }
            return Ok(Some(chunk));
        }
        while let Some(frame) = self.frames.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            self.read = self.read.saturating_add(data.len() as u64);
            if self.read > limit {
                return Err(too_large(limit));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

fn too_large(limit: u64) -> ApiError {
    ApiError::new(Code::BodyTooLarge, format!("the body is larger than the limit of {limit} bytes"))
}

/// A body that could not be read to its end.
pub(super) fn broken(error: ErrorCode) -> ApiError {
    match error {
        ErrorCode::HttpRequestBodySize(_) => ApiError::new(Code::BodyTooLarge, "the body is larger than the limit"),
        ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout => {
            ApiError::new(Code::Timeout, "the body did not arrive in time")
        }
        other => ApiError::new(Code::InvalidJson, format!("the body broke off: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use http_body_util::Full;

    use super::*;

    fn read(body: &'static [u8], declared: Option<u64>, limit: usize) -> Result<Bytes, ApiError> {
        let frames = Full::new(Bytes::from_static(body)).map_err(|never| match never {}).boxed_unsync();
        let mut whole = Box::pin(Body::new(frames, declared).bytes(limit));
        match whole.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("a full body is there at once"),
        }
    }

    #[test]
    fn the_limit_is_on_what_is_said_and_on_what_comes() {
        assert_eq!(read(b"12345", None, 5).unwrap(), "12345");
        assert_eq!(read(b"", None, 5).unwrap(), "");
        for (body, declared) in [(&b"123456"[..], None), (b"1", Some(6))] {
            let error = read(body, declared, 5).unwrap_err();
            assert_eq!(error.code, Code::BodyTooLarge);
            assert!(error.message.contains("5 bytes"));
        }
    }
}

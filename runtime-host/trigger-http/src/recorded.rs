//! Requests of an endpoint that are recorded: what goes in and what comes out is copied as it
//! passes, and when all of the answer has gone, the recorder is told.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::Bytes;
use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_recording::{Asked, Recorder, Session};
use funnelweb_tenant_store::{Tenant, lock};
use http::header;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{
    Error, WasiBody,
    handler::{Request, Response},
};

use crate::identity;

/// An endpoint whose requests are recorded, as its recordings name it.
pub(crate) struct Recorded {
    pub(crate) component: String,
    /// SHA-256 of its file.
    pub(crate) digest: String,
    pub(crate) recorder: Arc<Recorder>,
}

impl Recorded {
    /// Has a request be answered, and recorded.
    pub(crate) async fn record(
        self: Arc<Self>,
        tenant: Tenant,
        request_id: &str,
        request: Request,
        answer: impl AsyncFnOnce(Request, Arc<Session>) -> Result<Response, ApiError>,
    ) -> Result<Response, ApiError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let session = Session::record(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let (parts, body) = request.into_parts();
        let text = |name: &str| {
            let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut asked = Asked {
            request_id: request_id.to_owned(),
            user_id: text(identity::USER),
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            content_type: text(header::CONTENT_TYPE.as_str()),
            body: Vec::new(),
        };
        let sent = Pieces::default();
        let request = Request::from_parts(parts, sent.copied(body, None));
        match answer(request, Arc::clone(&session)).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let status = parts.status.as_u16();
                let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
                let length = length.and_then(|length| length.parse().ok());
                let end = move |answered: Option<Vec<u8>>| {
                    let Some((body, answered)) = sent.take().zip(answered) else { return self.recorder.lost() };
                    asked.body = body;
                    self.finish(&tenant, &session, asked, status, answered);
                };
                let body = Pieces::default().copied(body, Some((length, Box::new(end))));
                Ok(Response::from_parts(parts, body))
            }
            // It did not come to an instance: there is nothing to run again.
            Err(error) if error.code == Code::Overloaded => Err(error),
            Err(error) => {
                asked.body = sent.take().unwrap_or_default();
                let answered = error.body(request_id);
                self.finish(&tenant, &session, asked, error.code.status(), answered);
                Err(error)
            }
        }
    }

    fn finish(&self, tenant: &Tenant, session: &Session, asked: Asked, status: u16, answered: Vec<u8>) {
        if let Some(draft) = session.finish(&self.component, &self.digest, asked, status, answered) {
            self.recorder.keep(tenant, draft);
        }
    }
}

/// The pieces of a body that have passed; none of one that is too large.
#[derive(Clone)]
struct Pieces(Arc<Mutex<Option<Vec<Bytes>>>>);

impl Default for Pieces {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }
}

/// How long a body is, if that is known, and what is done with it when all of it has passed.
type End = (Option<usize>, Box<dyn FnOnce(Option<Vec<u8>>) + Send>);

impl Pieces {
    fn take(&self) -> Option<Vec<u8>> {
        lock(&self.0).take().map(|pieces| pieces.concat())
    }

    fn copied(&self, body: WasiBody, end: Option<End>) -> WasiBody {
        Copied { body, pieces: self.clone(), bytes: 0, is_over: false, end }.boxed_unsync()
    }
}

/// A body whose pieces are kept as they pass.
struct Copied {
    body: WasiBody,
    pieces: Pieces,
    bytes: usize,
    is_over: bool,
    end: Option<End>,
}

impl Body for Copied {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_over |= frame.is_none();
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.bytes += data.len();
            let mut pieces = lock(&self.pieces.0);
            match pieces.as_mut().filter(|_| self.bytes <= limits::RECORDING_BYTES) {
                Some(pieces) => pieces.push(data.clone()),
                None => *pieces = None,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let Some((length, end)) = self.end.take() else { return };
        // One whose length is known is not asked for its end, and one that breaks off has none.
        if self.is_over || self.body.is_end_stream() || length == Some(self.bytes) {
            end(self.pieces.take());
        }
    }
}

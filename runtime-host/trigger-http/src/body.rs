//! Request bodies on their way into a component: bounded in size, and not
//! allowed to stall.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a client may take between two pieces of its body.
const STALL: Duration = Duration::from_secs(30);

/// A request body of at most `limit` bytes.
pub(crate) fn bounded(incoming: Incoming, limit: u64) -> WasiBody {
    Bounded { incoming, limit, left: limit, stall: Box::pin(sleep(STALL)) }.boxed_unsync()
}

struct Bounded {
    incoming: Incoming,
    limit: u64,
    left: u64,
    stall: Pin<Box<Sleep>>,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = pin!(&mut this.incoming).poll_frame(cx) else {
            ready!(this.stall.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        this.stall.as_mut().reset(Instant::now() + STALL);
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => Some(Err(Error::Hyper(error))),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(bytes) {
                    Some(left) => {
                        this.left = left;
                        Some(Ok(frame))
                    }
                    None => Some(Err(Error::HttpRequestBodySize(Some(this.limit)))),
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

//! Request bodies on their way into a component: bounded in size, and not
//! allowed to stall.
//!
//! A request can be answered before its body is read, above all when that is too
//! large. A connection closed with bytes unread is reset, and a client that is
//! still sending would see that and not the answer; so what is left of a body
//! that nobody wants is read for a while ([`Unread`]).
//!
//! Response bodies on their way out: whole, or seen not to be ([`whole`]).

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use funnelweb_core::limits;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::workers::Task;

/// How much of an unwanted body is read, and for how long.
const UNREAD_BYTES: u64 = 16 * 1024 * 1024;
const UNREAD_TIME: Duration = Duration::from_secs(5);

/// A body as it comes in; dropped before its end, it is read on in the
/// background.
pub(crate) struct Unread(Option<Incoming>);

impl Unread {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self(Some(incoming))
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(incoming) => pin!(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(mut incoming) = self.0.take().filter(|incoming| !incoming.is_end_stream()) else { return };
        // Nobody waits for more than will be read.
        if incoming.size_hint().lower() > UNREAD_BYTES {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(UNREAD_TIME, async move {
            let mut left = UNREAD_BYTES;
            while let Some(Ok(frame)) = incoming.frame().await {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                left = left.saturating_sub(bytes);
                if left == 0 {
                    break;
                }
            }
        }));
    }
}

/// A request body of at most `limit` bytes, whose client does not take longer
/// than [`limits::BODY_TIMEOUT`] between two pieces.
pub(crate) fn bounded(incoming: Unread, limit: u64) -> WasiBody {
    Bounded::new(incoming, limit, limits::BODY_TIMEOUT).boxed_unsync()
}

struct Bounded<B> {
    incoming: B,
    limit: u64,
    left: u64,
    stall_timeout: Duration,
    stall: Pin<Box<Sleep>>,
}

impl<B> Bounded<B> {
    fn new(incoming: B, limit: u64, stall_timeout: Duration) -> Self {
        Self { incoming, limit, left: limit, stall_timeout, stall: Box::pin(sleep(stall_timeout)) }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Bounded<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = pin!(&mut this.incoming).poll_frame(cx) else {
            ready!(this.stall.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        this.stall.as_mut().reset(Instant::now() + this.stall_timeout);
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

/// A response body that fails when its instance did before the end. Without
/// this a body that breaks off would end like one that is complete.
pub(crate) fn whole(body: WasiBody, task: Arc<Task>) -> WasiBody {
    Whole { body, task }.boxed_unsync()
}

struct Whole {
    body: WasiBody,
    task: Arc<Task>,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None if self.task.is_cut_off() => Poll::Ready(Some(Err(Error::HttpResponseIncomplete))),
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.task.is_cut_off()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Pieces that are there at once, and then no end.
    struct Stalls(VecDeque<&'static [u8]>);

    impl Body for Stalls {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
                None => Poll::Pending,
            }
        }
    }

    /// The lengths of what comes, and how it ends.
    async fn read(pieces: &[&'static [u8]], limit: u64, stall_timeout: Duration) -> (Vec<usize>, Error) {
        let mut body = Bounded::new(Stalls(pieces.iter().copied().collect()), limit, stall_timeout);
        let mut lengths = Vec::new();
        loop {
            match body.frame().await {
                Some(Ok(frame)) => lengths.push(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(error)) => return (lengths, error),
                None => panic!("it has no end"),
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_stalls_is_not_waited_for() {
        let start = Instant::now();
        let stall = Duration::from_millis(50);
        let (lengths, error) = read(&[b"ab", b"c"], 3, stall).await;
        assert_eq!(lengths, [2, 1]);
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
        assert!((stall..10 * stall).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn one_byte_more_than_the_limit_is_refused() {
        let (lengths, error) = read(&[b"ab", b"cd"], 3, limits::BODY_TIMEOUT).await;
        assert_eq!(lengths, [2]);
        assert!(matches!(error, Error::HttpRequestBodySize(Some(3))), "{error:?}");
    }
}

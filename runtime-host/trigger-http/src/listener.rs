//! Connections: how many there are, how long one may be without a request, and
//! how they end. What is asked on them is the business of [`serve`]'s caller.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use funnelweb_core::limits;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};

/// What bounds the connections of a server.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// HTTP/2 requests on one connection at once.
    pub(crate) streams: u32,
    pub(crate) header_bytes: u32,
    pub(crate) header_timeout: Duration,
    pub(crate) drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            streams: limits::CONCURRENT_REQUESTS as u32,
            header_bytes: limits::HEADER_BYTES as u32,
            header_timeout: limits::HEADER_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }
}

/// Has every request answered by `answer` until `stopped` changes; then takes no
/// new connection, and returns when requests in flight are answered or their
/// time is over.
pub(crate) async fn serve<A, F, B>(listener: TcpListener, limits: Limits, mut stopped: watch::Receiver<bool>, answer: A)
where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(limits.connections));
    let builder = builder(&limits);
    loop {
        let next = async {
            let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            next = next => match next { Some(next) => next, None => break },
            _ = stopped.changed() => break,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, usually: others must close first.
                tracing::warn!(%error, "connection not accepted");
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::new());
        let (answer, requests) = (answer.clone(), Arc::clone(&activity));
        let service = service_fn(move |request| {
            let under_way = UnderWay::begin(&requests);
            let response = answer(request, client);
            async move { Ok::<_, Infallible>(response.await.map(|body| Held { body, _under_way: under_way })) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        let idle_timeout = limits.header_timeout;
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%client, %error, "connection ended");
                },
                () = activity.idle_for(idle_timeout) => {
                    tracing::debug!(%client, "connection closed: no request within {idle_timeout:?}");
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in flight were cut off after {:?}", limits.drain_timeout);
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.streams);
    builder
}

/// Whether a connection has requests under way. Hyper bounds the time for the
/// headers of an HTTP/1 request once it has seen that it is one; a client that
/// says nothing, or speaks HTTP/2 and asks nothing, would hold its connection
/// for ever.
struct Activity(Mutex<State>);

struct State {
    under_way: usize,
    /// When it last changed.
    since: Instant,
}

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(State { under_way: 0, since: Instant::now() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there was no request for so long.
    async fn idle_for(&self, time: Duration) {
        loop {
            let left = {
                let state = self.state();
                if state.under_way == 0 { time.saturating_sub(state.since.elapsed()) } else { time }
            };
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

/// A request from its headers until the last of its response is handed over.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.state().under_way += 1;
        Self(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.since = Instant::now();
    }
}

/// The body of a response, with what says that it is under way.
struct Held<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::JoinHandle,
    };

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// Well below what a limit of the product is, well above a hiccup.
    const SHORT: Duration = Duration::from_millis(300);

    struct Listening {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        task: JoinHandle<()>,
    }

    /// Answers `/` at once, `/slow` after twice [`SHORT`], and anything else never.
    async fn listen(limits: Limits) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let answer = async |request: Request<Incoming>, _: SocketAddr| {
            match request.uri().path() {
                "/" => {}
                "/slow" => sleep(2 * SHORT).await,
                _ => pending().await,
            }
            Response::new(Full::new(Bytes::from_static(b"done")))
        };
        let task = tokio::spawn(serve(listener, limits, stopped, answer));
        Listening { address, stop, task }
    }

    impl Listening {
        async fn send(&self, bytes: &[u8]) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream
        }
    }

    /// What comes within so long, and whether the connection is closed then.
    async fn read(stream: &mut TcpStream, within: Duration) -> (String, bool) {
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        let end = Instant::now() + within;
        loop {
            match tokio::time::timeout_at(end, stream.read(&mut buffer)).await {
                Ok(Ok(read @ 1..)) => answer.extend_from_slice(&buffer[..read]),
                outcome => return (String::from_utf8_lossy(&answer).into_owned(), outcome.is_ok()),
            }
        }
    }

    #[test]
    fn the_limits_are_the_products() {
        let Limits { connections, streams, header_bytes, header_timeout, drain_timeout } = Limits::default();
        assert_eq!((connections, streams as usize), (limits::CONNECTIONS, limits::CONCURRENT_REQUESTS));
        assert_eq!(header_bytes as usize, limits::HEADER_BYTES);
        assert_eq!((header_timeout, drain_timeout), (limits::HEADER_TIMEOUT, limits::DRAIN_TIMEOUT));
    }

    #[tokio::test]
    async fn one_connection_more_waits_for_another_to_end() {
        let server = listen(Limits { connections: 2, ..Limits::default() }).await;
        let (mut one, mut two) = (server.send(GET).await, server.send(GET).await);
        for stream in [&mut one, &mut two] {
            assert!(read(stream, SHORT).await.0.ends_with("done"));
        }
        let mut third = server.send(GET).await;
        assert_eq!(read(&mut third, SHORT).await, (String::new(), false));
        drop(one);
        assert!(read(&mut third, SHORT).await.0.ends_with("done"));
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_closed() {
        let server = listen(Limits { header_timeout: SHORT, ..Limits::default() }).await;
        let settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        // Of a frame of 256 bytes, one.
        let half = [&settings[..], &[0, 1, 0, 1, 4, 0, 0, 0, 1, 0x82]].concat();
        for bytes in [&b""[..], b"P", b"GET / HTTP/1.1\r\nhost: x\r\n", &PREFACE[..10], PREFACE, &settings, &half, GET]
        {
            let mut stream = server.send(bytes).await;
            let (start, shown) = (Instant::now(), String::from_utf8_lossy(bytes));
            assert!(read(&mut stream, 4 * SHORT).await.1, "{shown:?}");
            assert!(start.elapsed() > SHORT / 2, "{shown:?}: {:?}", start.elapsed());
        }
    }

    #[tokio::test]
    async fn a_request_under_way_keeps_its_connection() {
        let server = listen(Limits { header_timeout: SHORT, ..Limits::default() }).await;
        let mut stream = server.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let (answer, closed) = read(&mut stream, 6 * SHORT).await;
        assert!(answer.ends_with("done") && closed, "{answer}");
    }

    #[tokio::test]
    async fn headers_over_the_limit_are_a_431() {
        let server = listen(Limits::default()).await;
        for (bytes, status) in [(limits::HEADER_BYTES - 200, "200"), (limits::HEADER_BYTES, "431")] {
            let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-more: {}\r\n\r\n", "x".repeat(bytes));
            let (answer, _) = read(&mut server.send(head.as_bytes()).await, SHORT).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}: {answer}");
        }
    }

    #[tokio::test]
    async fn draining_waits_for_requests_and_not_for_ever() {
        let server = listen(Limits { drain_timeout: 4 * SHORT, ..Limits::default() }).await;
        let mut slow = server.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut never = server.send(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
        sleep(SHORT / 2).await;
        let start = Instant::now();
        server.stop.send(true).unwrap();
        let (answer, closed) = read(&mut slow, 3 * SHORT).await;
        assert!(answer.ends_with("done") && closed, "{answer}");
        assert!(TcpStream::connect(server.address).await.is_err());
        server.task.await.unwrap();
        assert!((4 * SHORT..6 * SHORT).contains(&start.elapsed()), "{:?}", start.elapsed());
        assert_eq!(read(&mut never, Duration::ZERO).await.0, "");
    }
}

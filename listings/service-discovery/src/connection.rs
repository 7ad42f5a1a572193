//! One connection to a server: ready once the server has spoken HTTP/2, and known to
//! have ended as soon as it has.
//!
//! tonic's `connect` says that a connection is there when the client's half of the
//! handshake is written. A port that accepts and closes, or answers with HTTP/1.1, is
//! connected to in this sense. So what the server sends is read along here.

use std::{
    error::Error,
    fmt,
    io::{self, IoSlice},
    iter,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{self, Instant},
};
use tonic::{
    body::Body,
    codegen::http,
    transport::{self, Endpoint},
};
use tower::{ServiceExt, service_fn};

use crate::malformed::{Repaired, repaired};

/// How long a server may take, once it has accepted, until it has spoken HTTP/2.
pub const PREFACE: Duration = Duration::from_secs(5);

/// How often an HTTP/2 ping asks whether the server is there, while a call is open and
/// nothing comes. A server of grpc-go, as it is by default, takes one ping in five
/// minutes and none without an open call, and ends the connection (`too_many_pings`)
/// of a client that sends more. A path that falls silent is noticed long before:
///
/// - by the kernel, if what was sent is not acknowledged, or an idle connection's TCP
///   probes are not, for [`UNACKNOWLEDGED`]. gRPC's rules do not count those.
/// - by the calls, if the kernel at the other end is well and its process, or a proxy
///   in between, is not: see [`GIVEN_UP`].
const PING: Duration = Duration::from_secs(5 * 60 + 10);

/// How long the answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// When the kernel begins to probe an idle connection.
const PROBE: Duration = Duration::from_secs(10);

/// How often it repeats a probe that was not acknowledged.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How many probes in a row may be lost.
const PROBES: u32 = 3;

/// How long anything that was sent may stay unacknowledged: Linux's `TCP_USER_TIMEOUT`.
/// Without it, the kernel sends again for a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(13);

/// After so many calls in a row that were given up, without a single byte from the
/// server since the first of them, the connection is taken to be dead, and a new one is
/// tried. If the server is only slow, this costs a handshake, and no call.
const GIVEN_UP: u32 = 3;

/// A call that was given up sooner than this does not count.
const PATIENCE: Duration = Duration::from_millis(500);

/// A connection to a server. Unlike a tonic `Channel`, it never connects again: once it
/// has ended, all calls through it fail, and its owner decides what comes next.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Repaired,
    shared: Arc<Shared>,
    since: Instant,
}

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    given_up: AtomicU32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The server has not said anything yet.
    Silent,
    /// Its SETTINGS have come, which begin a server's half of every HTTP/2 connection.
    Speaks,
    /// No new call may be sent, for this reason. Calls in progress may go on.
    Ended(String),
}

impl Connection {
    /// Speaks HTTP/2 over `stream`, and waits until the server does too. With TLS, it
    /// is the stream after the handshake: an encrypted one cannot be read along.
    ///
    /// # Errors
    ///
    /// Fails if the server closes the connection or speaks something else, and if it
    /// has not spoken HTTP/2 after [`PREFACE`].
    pub async fn open<S>(endpoint: &Endpoint, stream: S) -> Result<Self, NoConnection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::new(Shared {
            phase: watch::Sender::new(Phase::Silent),
            given_up: AtomicU32::new(0),
        });
        let mut stream = Some(TokioIo::new(Heard {
            stream,
            frames: Frames::default(),
            shared: shared.clone(),
        }));
        // tonic calls this again after the connection has ended. By then it is empty.
        let once = service_fn(move |_| {
            let stream = stream.take();
            async move { stream.ok_or_else(|| io::Error::other("the connection has ended")) }
        });
        let channel = repaired(endpoint.connect_with_connector(once).await?);
        let mut phase = shared.phase.subscribe();
        let spoken = phase.wait_for(|phase| *phase != Phase::Silent);
        match time::timeout(PREFACE, spoken).await {
            Err(_) => return Err(NoConnection(format!("no HTTP/2 after {PREFACE:?}"))),
            Ok(phase) => {
                // The sender is in `shared`, so there is always a phase.
                if let Ok(phase) = phase
                    && let Phase::Ended(why) = &*phase
                {
                    return Err(NoConnection(why.clone()));
                }
            }
        }
        let since = Instant::now();
        Ok(Self {
            channel,
            shared,
            since,
        })
    }

    /// Sends a call through it.
    ///
    /// # Errors
    ///
    /// What tonic's `Channel` says.
    pub async fn call(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, transport::Error> {
        let mut waiting = Waiting {
            shared: &self.shared,
            since: Instant::now(),
            answered: false,
        };
        let response = self.channel.clone().oneshot(request).await;
        waiting.answered = response.is_ok();
        response
    }

    /// What a client that is not balanced calls through, such as that of a health check.
    pub fn channel(&self) -> Repaired {
        self.channel.clone()
    }

    /// Says that a call has found it broken, for this reason.
    pub fn broke(&self, because: &str) {
        self.shared.end(because);
    }

    /// Why no new call may be sent through it, if none may.
    pub fn ended(&self) -> Option<String> {
        match &*self.shared.phase.borrow() {
            Phase::Ended(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Resolves once no new call may be sent through it. It does not keep the
    /// connection open.
    pub fn end(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.shared.phase.subscribe();
        async move {
            // Without a sender it has ended too.
            phase
                .wait_for(|phase| matches!(phase, Phase::Ended(_)))
                .await
                .ok();
        }
    }

    /// How long ago the server spoke for the first time.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Shared {
    fn end(&self, because: &str) {
        self.phase.send_if_modified(|phase| {
            // The first reason is the one that says something.
            let first = !matches!(phase, Phase::Ended(_));
            if first {
                *phase = Phase::Ended(because.to_owned());
            }
            first
        });
    }
}

/// A call whose answer has not come yet.
struct Waiting<'a> {
    shared: &'a Shared,
    since: Instant,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered || self.since.elapsed() < PATIENCE {
            return;
        }
        // Any byte that comes sets it back to zero.
        if self.shared.given_up.fetch_add(1, Ordering::Relaxed) + 1 >= GIVEN_UP {
            self.shared.end("calls are given up, and nothing comes");
        }
    }
}

/// The stream below HTTP/2, which reads along what comes.
struct Heard<S> {
    stream: S,
    frames: Frames,
    shared: Arc<Shared>,
}

impl<S> Heard<S> {
    fn hear(&mut self, bytes: &[u8]) {
        self.shared.given_up.store(0, Ordering::Relaxed);
        let shared = &self.shared;
        let silent = || *shared.phase.borrow() == Phase::Silent;
        self.frames.read(bytes, |kind| match kind {
            SETTINGS if silent() => {
                shared.phase.send_replace(Phase::Speaks);
            }
            GOAWAY => shared.end("the server takes no more calls on this connection"),
            _ if silent() => shared.end(NOT_HTTP2),
            _ => {}
        });
        // What is taken for the length of a frame may be part of a text, and then the
        // end of that frame would never come.
        if silent() && self.frames.begun().is_some_and(|kind| kind != SETTINGS) {
            shared.end(NOT_HTTP2);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let new = &buffer.filled()[before..];
        match &read {
            Ok(()) if new.is_empty() && room > 0 => {
                self.shared.end("the server closed the connection");
            }
            Ok(()) => self.hear(new),
            Err(error) => self.shared.end(&error.to_string()),
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Drop for Heard<S> {
    fn drop(&mut self) {
        self.shared.end("the connection was closed");
    }
}

const NOT_HTTP2: &str = "the server does not speak HTTP/2";

/// Kinds of frames (RFC 9113, section 6).
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// How long a frame's header is: three bytes for the length of what follows, one for
/// its kind, five more (RFC 9113, section 4.1).
const HEADER: usize = 9;

/// Walks from one frame of HTTP/2 to the next, wherever the pieces that come are cut.
#[derive(Default)]
struct Frames {
    header: [u8; HEADER],
    /// How much of the header has come.
    read: usize,
    /// How much of the frame has not come, once its header has.
    missing: usize,
}

impl Frames {
    /// Calls `frame` with the kind of each frame that these bytes complete.
    fn read(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8)) {
        while !bytes.is_empty() {
            if self.read < HEADER {
                let (header, rest) = bytes.split_at(bytes.len().min(HEADER - self.read));
                self.header[self.read..][..header.len()].copy_from_slice(header);
                self.read += header.len();
                bytes = rest;
                if self.read < HEADER {
                    return;
                }
                let [a, b, c, ..] = self.header;
                self.missing = u32::from_be_bytes([0, a, b, c]) as usize;
            }
            let skipped = bytes.len().min(self.missing);
            bytes = &bytes[skipped..];
            self.missing -= skipped;
            if self.missing == 0 {
                self.read = 0;
                frame(self.header[3]);
            }
        }
    }

    /// The kind of the frame that has begun to come, as soon as that can be told.
    fn begun(&self) -> Option<u8> {
        (self.read > 3).then_some(self.header[3])
    }
}

/// An endpoint whose connections notice that the server has gone: by pings and probes.
pub fn with_keepalive(endpoint: Endpoint) -> Endpoint {
    endpoint
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIMEOUT)
        .tcp_keepalive(Some(PROBE))
        .tcp_keepalive_interval(Some(PROBE_INTERVAL))
        .tcp_keepalive_retries(Some(PROBES))
}

/// Connects over TCP, as `endpoint` says, and so that a silent path is noticed.
///
/// # Errors
///
/// Fails if the server cannot be reached in the endpoint's `connect_timeout`.
pub async fn tcp(endpoint: &Endpoint) -> Result<TcpStream, NoConnection> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(endpoint.get_connect_timeout());
    connector.set_nodelay(endpoint.get_tcp_nodelay());
    connector.set_keepalive(endpoint.get_tcp_keepalive());
    connector.set_keepalive_interval(endpoint.get_tcp_keepalive_interval());
    connector.set_keepalive_retries(endpoint.get_tcp_keepalive_retries());
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let stream = connector.oneshot(endpoint.uri().clone()).await?;
    Ok(stream.into_inner())
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub struct NoConnection(String);

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: Error + 'static> From<E> for NoConnection {
    fn from(error: E) -> Self {
        Self(last_cause(&error))
    }
}

/// An error, what caused it, what caused that, and so on.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| Error::source(*error))
}

/// The last cause is the one that says something: "Connection refused"
/// instead of "transport error".
pub fn last_cause(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).last();
    last.map(ToString::to_string).unwrap_or_default()
}

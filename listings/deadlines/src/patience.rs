//! Connections that are closed when nothing comes from them any more.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{self, Instant, Sleep},
};
use tonic::transport::server::Connected;

// ANCHOR: patience
/// How many bytes a client of HTTP/2 has to send before anything else: the 24 of
/// the preface, and the 9 that begin its SETTINGS frame (RFC 9113, section 3.4).
const BEGINNING: usize = 24 + 9;

/// A connection whose other end has to begin in time, and then to say something
/// every now and then.
///
/// tonic's keepalive asks a client whether it is there, and closes the connection
/// of one that is not. But it begins with the first 24 bytes of HTTP/2: a client
/// that does not send them would hold the connection for as long as it likes. They
/// have to come within one silence, all of them: if each byte started the clock
/// again, a byte every now and then would be enough.
#[derive(Debug)]
pub struct Patience<S> {
    connection: S,
    silence: Duration,
    ends: Pin<Box<Sleep>>,
    /// How much of the [`BEGINNING`] has not come yet.
    missing: usize,
}

impl<S> Patience<S> {
    /// Lets the other end be silent for so long. It has to be longer than the
    /// server's keepalive takes, whose answers are what a client has to say that
    /// has nothing to do.
    pub fn new(connection: S, silence: Duration) -> Self {
        Self {
            connection,
            silence,
            ends: Box::pin(time::sleep(silence)),
            missing: BEGINNING,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.connection).poll_read(cx, buffer) {
            let bytes = buffer.filled().len() - before;
            self.missing = self.missing.saturating_sub(bytes);
            if self.missing == 0 {
                let ends = Instant::now() + self.silence;
                self.ends.as_mut().reset(ends);
            }
            return Poll::Ready(read);
        }
        ready!(self.ends.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}
// ANCHOR_END: patience

/// What is written does not concern it.
impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

/// A handler still learns who is at the other end.
impl<S: Connected> Connected for Patience<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}

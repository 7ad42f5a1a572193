//! From connections of TCP to those that have shown who they are.

use std::{
    future,
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::causes::{causes, defect};

/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many may be in progress at once. Those who come then wait in the kernel's
/// queue, where they hold no file of ours.
pub const HANDSHAKES: usize = 256;

/// A client that was refused and sends more than this, in bytes, is not read any more.
const UNREAD: u64 = 64 * 1024;

// ANCHOR: accepted
/// The connections whose handshake has succeeded, in the order in which they are
/// ready. The others are closed. What fails is logged, and ends nothing.
pub fn accepted(
    incoming: impl Stream<Item = io::Result<TcpStream>>,
    config: watch::Receiver<Arc<ServerConfig>>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let handshakes = incoming.map(move |connection| {
        let config = config.borrow().clone();
        async move {
            let connection = connection.ok()?;
            let from = connection.peer_addr();
            // A task of its own, so that all cores calculate. It ends in time.
            let handshake = tokio::spawn(handshake(connection, config)).await;
            match handshake.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                Ok(connection) => Some(Ok(connection)),
                Err(error) => {
                    let from = from.map(|from| from.ip().to_string()).unwrap_or_default();
                    // rustls names some problems of a certificate, and does not explain them.
                    let problem = causes(&error).find_map(|cause| defect(cause.downcast_ref()?));
                    tracing::info!(from, %error, problem, "refused");
                    None
                }
            }
        }
    });
    handshakes
        .buffer_unordered(HANDSHAKES)
        .filter_map(future::ready)
}
// ANCHOR_END: accepted

// ANCHOR: handshake
/// Takes part in the handshake on `connection`, for [`HANDSHAKE`] at most.
///
/// # Errors
///
/// Fails with the reason, which the peer has been told.
pub async fn handshake<C>(connection: C, config: Arc<ServerConfig>) -> io::Result<TlsStream<C>>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let accept = TlsAcceptor::from(config).accept(connection);
    let (error, mut connection) = match time::timeout(HANDSHAKE, accept.into_fallible()).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(refused)) => refused,
        Err(_) => return Err(io::Error::new(ErrorKind::TimedOut, "no handshake in time")),
    };
    // The peer has been sent an alert. Were the connection closed while something of
    // theirs is unread, the system would reset it, and they might never see the alert.
    let farewell = async {
        connection.shutdown().await?;
        tokio::io::copy(&mut connection.take(UNREAD), &mut tokio::io::sink()).await
    };
    // Whatever comes of it: the reason is known.
    time::timeout(HANDSHAKE, farewell).await.ok();
    Err(error)
}
// ANCHOR_END: handshake

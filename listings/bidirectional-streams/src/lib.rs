//! A chat of two people. Each has one call, which carries messages in both directions.
//!
//! [`service`] runs a call, and [`registry`] lets the two calls find each other.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{pb::chat_service_server::ChatServiceServer, service::Chat};

pub mod escape;
pub mod incoming;
pub mod limit;
pub mod malformed;
pub mod registry;
pub mod service;
pub mod shutdown;

/// What the build script generated from `chat/v1/chat.proto`.
pub mod pb {
    tonic::include_proto!("chat.v1");
}

/// The largest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many events wait for a client that does not read. When there are so many, the
/// other side's messages wait too, for [`PATIENCE`] at most.
pub const MAX_UNREAD: usize = 32;

/// How many places the registry has, one for each open call.
pub const MAX_CALLS: usize = 10_000;

/// How many calls may be open at once on one connection. Further calls wait in the
/// client until one ends. By default, tonic sets no limit.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 100;

/// How long an event waits for a client that does not read. After that, the call that
/// sends a message ends with `RESOURCE_EXHAUSTED`.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes of one call the server holds unread. A sender that is faster has to
/// wait. hyper's default is 1 MiB.
pub const STREAM_WINDOW_BYTES: u32 = 16 * 1024;

/// The same for one connection. It has to be enough for all its calls: otherwise
/// senders that wait would also hold up calls that could go on.
pub const CONNECTION_WINDOW_BYTES: u32 = MAX_STREAMS_PER_CONNECTION * STREAM_WINDOW_BYTES;

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be silent before the other end is pinged.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the answer to a ping may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves chats on `listener` until `shutdown` resolves. Open calls then end with
/// `UNAVAILABLE`, and connections that are still open after [`DRAIN_TIMEOUT`] end with
/// the runtime.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let stopping = CancellationToken::new();
    let chat = Chat::new(stopping.clone());
    let service = ChatServiceServer::new(chat).max_decoding_message_size(MAX_REQUEST_BYTES);

    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(service);
    let shutdown = async {
        shutdown.await;
        // A stream may stay open indefinitely: tell each call to end.
        stopping.cancel();
    };
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}

//! Two people talk, each over one call that carries messages in both
//! directions.
//!
//! [`seats`] knows who is here, [`service`] is one person's call.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{pb::chat_service_server::ChatServiceServer, service::Chat};

pub mod escape;
pub mod incoming;
pub mod limit;
pub mod malformed;
pub mod seats;
pub mod service;
pub mod shutdown;

/// What the build script generated from `chat/v1/chat.proto`.
pub mod pb {
    tonic::include_proto!("chat.v1");
}

// ANCHOR: limits
/// The largest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many events wait for a person who does not read them. Then a person who
/// speaks to them waits too, for [`PATIENCE`] at most.
pub const MAX_UNREAD: usize = 32;

/// How many people may be in their chats at once.
pub const MAX_SEATS: usize = 10_000;

/// How many chats one connection may carry at once. Those beyond it wait in the
/// client until another one ends. tonic sets no limit by itself.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 100;

/// How long each message, and the news that the other person has left, waits for one
/// who does not read. The call of the person who sends the message ends then.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes of one call may lie unread in the server: a sender that is
/// faster is held up. hyper's default is 1 MiB.
pub const STREAM_WINDOW_BYTES: u32 = 16 * 1024;

/// The same for one connection: enough for all its calls. Or those that are held
/// up would hold up the others.
pub const CONNECTION_WINDOW_BYTES: u32 = MAX_STREAMS_PER_CONNECTION * STREAM_WINDOW_BYTES;

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
// ANCHOR_END: limits

/// Serves chats on `listener` until `shutdown` resolves. Those that are under
/// way then end with `UNAVAILABLE`, or
/// after [`DRAIN_TIMEOUT`] if their clients do not read it.
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

//! Mailboxes, which keep messages for people until they acknowledge them.
//!
//! [`mailboxes`] holds the messages, and [`service`] serves them over gRPC.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{
    mailboxes::{Limits, Mailboxes},
    pb::message_service_server::MessageServiceServer,
    service::MailboxService,
};

pub mod escape;
pub mod incoming;
pub mod limit;
pub mod mailboxes;
pub mod malformed;
pub mod service;
pub mod shutdown;

/// What the build script generated from `message/v1/message.proto`.
pub mod pb {
    tonic::include_proto!("message.v1");
}

// ANCHOR: limits
/// The largest request, in bytes: a message with its names.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many calls may be open at once on one connection. Further calls wait in the
/// client until one ends. By default there is no limit.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

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
// ANCHOR_END: limits

/// Serves mailboxes within `limits` on `listener` until `shutdown` resolves. Open calls
/// then end with `UNAVAILABLE`, and connections that are still open after
/// [`DRAIN_TIMEOUT`] end with the runtime.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let stopping = CancellationToken::new();
    let service = MailboxService::new(Mailboxes::new(limits), stopping.clone());
    let service = MessageServiceServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES);

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

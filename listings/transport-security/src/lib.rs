//! A greeter that knows its callers, and that nobody listens in.

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::watch};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{greeter::Greeter, pb::greeter_service_server::GreeterServiceServer};

pub mod accept;
pub mod authority;
pub mod causes;
pub mod connect;
pub mod escape;
pub mod greeter;
pub mod identity;
pub mod incoming;
pub mod limit;
pub mod malformed;
pub mod program;
pub mod shutdown;
pub mod tls;

/// What the build script generated from `hello/v1/hello.proto`.
pub mod pb {
    tonic::include_proto!("hello.v1");
}

/// The largest request, in bytes. tonic's own limit is 4 MiB.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many calls may be open on one connection. Further ones wait in the client.
/// Together with `MAX_REQUEST_BYTES`, and the 16 KiB that hyper allows a call's
/// headers, this limits the memory that one connection can take. By default the
/// number of calls is not limited.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

/// How long one call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: serve
/// Serves the greeter on `listener`, only over TLS and only to clients with a
/// certificate, until `shutdown` resolves and the calls that are in progress have
/// ended, after [`DRAIN_TIMEOUT`] at most.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let greeter = GreeterServiceServer::new(Greeter).max_decoding_message_size(MAX_REQUEST_BYTES);
    let greeter = InterceptedService::new(greeter, identity::identify);
    let server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(greeter);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = accept::accepted(incoming::pause_on_errors(incoming), tls);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

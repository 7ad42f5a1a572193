//! A greeter with many servers, and clients that choose among them.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::{
    server::NamedService,
    transport::{self, Server, server::TcpIncoming},
};
use tonic_health::ServingStatus;

use crate::{greeter::Greeter, pb::greeter_service_server::GreeterServiceServer};

pub mod backend;
pub mod balanced;
pub mod channels;
pub mod connection;
pub mod escape;
pub mod greeter;
pub mod health;
pub mod incoming;
pub mod malformed;
pub mod policy;
pub mod program;
pub mod shutdown;

/// What the build script generated from `hello/v1/hello.proto`.
pub mod pb {
    tonic::include_proto!("hello.v1");
}

/// The service, by the name under which its health is known.
pub const SERVICE: &str = <GreeterServiceServer<Greeter> as NamedService>::NAME;

/// How long a server that is about to end goes on as before, so that every client has
/// heard of it.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// The largest request, in bytes. tonic's own limit is 4 MiB.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many calls may be open on one connection. Further ones wait in the client.
/// Together with `MAX_REQUEST_BYTES`, and the 16 KiB that hyper allows a call's
/// headers, this limits the memory that one connection can take. By default the
/// number of calls is not limited.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: serve
/// Serves the greeter on `listener`, and its health. Once `shutdown` resolves it says
/// that it does not serve any more, goes on for [`FAREWELL`], and ends when the calls
/// that are in progress have ended, after [`DRAIN_TIMEOUT`] at most.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    greeter: Greeter,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let serving = ServingStatus::Serving;
    reporter.set_service_status(SERVICE, serving).await;
    let greeter = GreeterServiceServer::new(greeter).max_decoding_message_size(MAX_REQUEST_BYTES);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(greeter);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let shutdown = async {
        shutdown.await;
        health::report_shutdown::<GreeterServiceServer<Greeter>>(reporter, FAREWELL).await;
    };
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

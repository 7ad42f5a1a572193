//! A registry of people, and what stands in front of it: who calls, and a log.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{
    callers::Callers, log::LogLayer, pb::person_service_server::PersonServiceServer,
    registry::Registry,
};

pub mod callers;
pub mod escape;
pub mod health;
pub mod incoming;
pub mod keys;
pub mod limit;
pub mod log;
pub mod malformed;
pub mod messages;
pub mod program;
pub mod registry;
pub mod shutdown;
pub mod stack;

/// What the build script generated from `person/v1/person.proto`.
pub mod pb {
    tonic::include_proto!("person.v1");
}

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
/// Serves the registry on `listener` to `callers`, and its health to everybody,
/// until `shutdown` resolves and the calls that are in progress have ended, after
/// [`DRAIN_TIMEOUT`] at most.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    callers: Callers,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<PersonServiceServer<Registry>>()
        .await;
    let people =
        PersonServiceServer::new(Registry::default()).max_decoding_message_size(MAX_REQUEST_BYTES);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(LogLayer) // for every service of this server
        .add_service(health.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(InterceptedService::new(people, callers));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let shutdown = async {
        shutdown.await;
        health::report_shutdown::<PersonServiceServer<Registry>>(reporter, Duration::ZERO).await;
    };
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

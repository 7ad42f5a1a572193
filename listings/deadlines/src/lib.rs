//! A service that is ready in time, or says so, with services behind it that
//! stop when nobody waits for them any more.

use std::{io, time::Duration};

use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::{
    service::LayerExt,
    transport::{self, Server, server::TcpIncoming},
};

use crate::{
    layer::DeadlineLayer, link::Link, patience::Patience,
    pb::order_service_server::OrderServiceServer,
};

pub mod deadline;
pub mod escape;
pub mod grpc_timeout;
pub mod health;
pub mod incoming;
pub mod layer;
pub mod link;
pub mod malformed;
pub mod patience;
pub mod program;
pub mod shutdown;

/// What the build script generated from `order/v1/order.proto`.
pub mod pb {
    tonic::include_proto!("order.v1");
}

/// How long a call may take. Those that say nothing get this.
pub const AT_MOST: Duration = Duration::from_secs(10);

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

/// How long nothing may come from a connection: longer than those two together.
const SILENCE: Duration = Duration::from_secs(20);

// ANCHOR: serve
/// Serves `link` on `listener`, and its health, until `shutdown` resolves and the
/// calls that are in progress have ended, after [`DRAIN_TIMEOUT`] at most.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    link: Link,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<OrderServiceServer<Link>>().await;
    let orders = OrderServiceServer::new(link).max_decoding_message_size(MAX_REQUEST_BYTES);
    // For one service: a watch of the health may last longer.
    let orders = DeadlineLayer { at_most: AT_MOST }.named_layer(orders);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(orders);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming)
        .map(|connection| Ok::<_, io::Error>(Patience::new(connection?, SILENCE)));
    let shutdown = async {
        shutdown.await;
        health::report_shutdown::<OrderServiceServer<Link>>(reporter, Duration::ZERO).await;
    };
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

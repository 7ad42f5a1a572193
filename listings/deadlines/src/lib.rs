//! A service that is ready in time, or says so, with services behind it that
//! stop when nobody waits for them any more.

use std::{io, time::Duration};

use tokio::{net::TcpListener, sync::oneshot, time};
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
pub mod grpc_timeout;
pub mod layer;
pub mod link;
pub mod patience;
pub mod program;

/// What the build script generated from `order/v1/order.proto`.
pub mod pb {
    tonic::include_proto!("order.v1");
}

/// How long a call may take. Those that say nothing get this.
pub const AT_MOST: Duration = Duration::from_secs(10);

/// How long the calls that are under way get to end once the server is told to.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long nothing may come from a connection: longer than those two together.
const SILENCE: Duration = Duration::from_secs(20);

// ANCHOR: serve
/// Serves `link` on `listener`, and its health, until `shutdown` resolves and the
/// calls that are under way have ended, after [`DRAIN`] at most.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve(
    listener: TcpListener,
    link: Link,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<OrderServiceServer<Link>>().await;
    // For one service: whoever watches the health does so for longer.
    let orders = DeadlineLayer { at_most: AT_MOST }.named_layer(OrderServiceServer::new(link));
    let incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .map(|connection| Ok::<_, io::Error>(Patience::new(connection?, SILENCE)));
    let (stop, stopped) = oneshot::channel();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health)
        .add_service(orders)
        .serve_with_incoming_shutdown(incoming, async {
            shutdown.await;
            // The other end is below: it is gone only if the server is.
            stop.send(()).ok();
        });
    let drained = async {
        if stopped.await.is_ok() {
            time::sleep(DRAIN).await;
        }
    };
    tokio::select! {
        result = server => result,
        () = drained => Ok(()),
    }
}
// ANCHOR_END: serve

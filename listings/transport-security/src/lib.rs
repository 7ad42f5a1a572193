//! A greeter that knows whom it talks to, and that nobody listens in.

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    time,
};
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{greeter::Greeter, pb::greeter_service_server::GreeterServiceServer};

pub mod accept;
pub mod authority;
pub mod causes;
pub mod connect;
pub mod greeter;
pub mod identity;
pub mod program;
pub mod tls;

/// What the build script generated from `hello/v1/hello.proto`.
pub mod pb {
    tonic::include_proto!("hello.v1");
}

/// How long one call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the calls that are under way get to end once the server is told to.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: serve
/// Serves the greeter on `listener`, over TLS alone and to clients with a certificate
/// alone, until `shutdown` resolves and the calls that are under way have ended,
/// after [`DRAIN`] at most.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let greeter = GreeterServiceServer::with_interceptor(Greeter, identity::identify);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let (stop, stopped) = oneshot::channel();
    let server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(greeter)
        .serve_with_incoming_shutdown(accept::accepted(incoming, tls), async {
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

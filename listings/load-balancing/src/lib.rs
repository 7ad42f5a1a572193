//! A greeter with many servers, and clients that choose among them.

use std::time::Duration;

use tokio::{net::TcpListener, sync::oneshot, time};
use tonic::{
    server::NamedService,
    transport::{self, Server, server::TcpIncoming},
};
use tonic_health::ServingStatus;

use crate::{greeter::Greeter, pb::greeter_service_server::GreeterServiceServer};

pub mod backend;
pub mod balanced;
pub mod channels;
pub mod greeter;
pub mod policy;
pub mod program;

/// What the build script generated from `hello/v1/hello.proto`.
pub mod pb {
    tonic::include_proto!("hello.v1");
}

/// The service, by the name under which its health is known.
pub const SERVICE: &str = <GreeterServiceServer<Greeter> as NamedService>::NAME;

/// How long a server that is about to end goes on as before, so that every client has
/// heard of it.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// How long the calls that are under way then get to end.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: serve
/// Serves the greeter on `listener`, and its health. Once `shutdown` resolves it says
/// that it does not serve any more, goes on for [`FAREWELL`], and ends when the calls
/// that are under way have ended, after [`DRAIN`] at most.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve(
    listener: TcpListener,
    greeter: Greeter,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (mut reporter, health) = tonic_health::server::health_reporter();
    let serving = ServingStatus::Serving;
    reporter.set_service_status(SERVICE, serving).await;
    let (stop, stopped) = oneshot::channel();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health)
        .add_service(GreeterServiceServer::new(greeter))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async {
                shutdown.await;
                let leaving = ServingStatus::NotServing;
                reporter.set_service_status(SERVICE, leaving).await;
                time::sleep(FAREWELL).await;
                // Those who watch it would be waited for, as for any other call.
                reporter.clear_service_status(SERVICE).await;
                // The other end is below: it is gone only if the server is.
                stop.send(()).ok();
            },
        );
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

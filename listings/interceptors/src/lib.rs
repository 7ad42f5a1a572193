//! A registry of people, and what stands in front of it: who calls, and a log.

use std::time::Duration;

use tokio::{net::TcpListener, sync::oneshot, time};
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{
    callers::Callers, log::LogLayer, pb::person_service_server::PersonServiceServer,
    registry::Registry,
};

pub mod callers;
pub mod keys;
pub mod log;
pub mod messages;
pub mod program;
pub mod registry;
pub mod stack;

/// What the build script generated from `person/v1/person.proto`.
pub mod pb {
    tonic::include_proto!("person.v1");
}

/// How long the calls that are under way get to end once the server is told to.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: serve
/// Serves the registry on `listener` to `callers`, and its health to everybody,
/// until `shutdown` resolves and the calls that are under way have ended, after
/// [`DRAIN`] at most.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve(
    listener: TcpListener,
    callers: Callers,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<PersonServiceServer<Registry>>()
        .await;
    let people = PersonServiceServer::with_interceptor(Registry::default(), callers);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(LogLayer) // for every service of this server
        .add_service(health)
        .add_service(people);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    drained(shutdown, |stop| {
        server.serve_with_incoming_shutdown(incoming, async {
            stop.await.ok();
        })
    })
    .await
}
// ANCHOR_END: serve

/// Runs a server that stops when it is told to, and waits for its calls for
/// [`DRAIN`] at most.
///
/// # Errors
///
/// Fails if the server does.
pub async fn drained<S>(
    shutdown: impl Future<Output = ()>,
    server: impl FnOnce(oneshot::Receiver<()>) -> S,
) -> Result<(), transport::Error>
where
    S: Future<Output = Result<(), transport::Error>>,
{
    let (tell, told) = oneshot::channel();
    let late = async {
        shutdown.await;
        // The other end is in the server below: it is gone only if that is.
        tell.send(()).ok();
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server(told) => result,
        () = late => Ok(()),
    }
}

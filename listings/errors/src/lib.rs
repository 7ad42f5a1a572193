//! A registry of people that says what is wrong: to programs, to people, and to
//! those who keep it.

use std::time::Duration;

use tokio::{net::TcpListener, sync::oneshot, time};
use tonic::transport::{self, Server, server::TcpIncoming};

use crate::{pb::person_service_server::PersonServiceServer, people::People, registry::Registry};

pub mod call_error;
pub mod details;
pub mod error;
pub mod language;
pub mod malformed;
pub mod people;
pub mod program;
pub mod quota;
pub mod registry;
pub mod retry;

/// What the build script generated from `person/v1/`.
pub mod pb {
    tonic::include_proto!("person.v1");
}

/// How long the calls that are under way get to end once the server is told to.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the registry on `listener`, and its health, until `shutdown` resolves
/// and the calls that are under way have ended, after [`DRAIN`] at most.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve(
    listener: TcpListener,
    people: People,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<PersonServiceServer<Registry>>()
        .await;
    let (stop, stopped) = oneshot::channel();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health)
        .add_service(PersonServiceServer::new(Registry::new(people)))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async {
                shutdown.await;
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

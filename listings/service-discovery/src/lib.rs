//! A greeter that has many servers, which come and go, and one name.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time,
};
use tokio_stream::Stream;
use tonic::transport::{self, Server, server::Connected};

use crate::{greeter::Greeter, pb::greeter_service_server::GreeterServiceServer};

pub mod address;
pub mod backoff;
pub mod channel;
pub mod dns;
pub mod greeter;
pub mod listen;
pub mod name;
pub mod program;
pub mod registry;
pub mod resolve;
pub mod retry;
pub mod target;

/// What the build script generated from `hello/v1/hello.proto`.
pub mod pb {
    tonic::include_proto!("hello.v1");
}

/// How long one call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server that has deregistered goes on as before, so that every client
/// has heard of it.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// How long the calls that are under way then get to end.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the greeter to `incoming`, until `shutdown` resolves and the calls that are
/// under way have ended, after [`DRAIN`] at most.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve<C>(
    incoming: impl Stream<Item = io::Result<C>>,
    greeter: Greeter,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (stop, stopped) = oneshot::channel();
    let server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(GreeterServiceServer::new(greeter))
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

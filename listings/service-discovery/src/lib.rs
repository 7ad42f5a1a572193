//! A greeter that has many servers, which come and go, and one name.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::Stream;
use tonic::transport::{self, Server, server::Connected};

use crate::{greeter::Greeter, pb::greeter_service_server::GreeterServiceServer};

pub mod address;
pub mod backoff;
pub mod channel;
pub mod connection;
pub mod dns;
pub mod escape;
pub mod greeter;
pub mod incoming;
pub mod listen;
pub mod malformed;
pub mod name;
pub mod program;
pub mod registry;
pub mod resolve;
pub mod retry;
pub mod shutdown;
pub mod target;

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

/// How long a server that has deregistered goes on as before, so that every client
/// has heard of it.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the greeter to `incoming`, until `shutdown` resolves and the calls that are
/// in progress have ended, after [`DRAIN_TIMEOUT`] at most.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve<C>(
    incoming: impl Stream<Item = io::Result<C>>,
    greeter: Greeter,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let incoming = incoming::pause_on_errors(incoming);
    let greeter = GreeterServiceServer::new(greeter).max_decoding_message_size(MAX_REQUEST_BYTES);
    let server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(greeter);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}

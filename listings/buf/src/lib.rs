//! A greeter whose generated code is kept, and that tells its contract to tools.

use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::pb::{
    SayHelloRequest, SayHelloResponse,
    greeter_service_server::{GreeterService, GreeterServiceServer},
};

pub mod escape;
pub mod incoming;
pub mod shutdown;

// ANCHOR: pb
/// What `buf generate` has written from `hello/v1/hello.proto`.
#[rustfmt::skip]
#[allow(clippy::all)]
#[path = "pb/hello/v1/hello.v1.rs"]
pub mod pb;
// ANCHOR_END: pb

/// The largest request, in bytes. tonic's own limit is 4 MiB.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many calls may be open on one connection. Further ones wait in the client.
/// Together with `MAX_REQUEST_BYTES`, and the 16 KiB that hyper allows a call's
/// headers, this limits the memory that one connection can take. By default the
/// number of calls is not limited.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

/// How long one call may take until its response begins. A client that stalls
/// half-way through its request is given up after this time.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the open calls may take to end once the server is told to stop. As
/// long as a call may take, so that none is cut short.
pub const DRAIN_TIMEOUT: Duration = CALL_TIMEOUT;

/// The longest name that is greeted, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 64;

/// The service. It has no state, so one value serves every call.
#[derive(Debug, Default)]
pub struct Greeter;

#[tonic::async_trait]
impl GreeterService for Greeter {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        let SayHelloRequest { name } = request.into_inner();
        let message = greeting(&name)?;
        Ok(Response::new(SayHelloResponse { message }))
    }
}

/// Greets, or says what is wrong with a name that cannot be greeted.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a name that is empty or longer than [`MAX_NAME_CHARS`].
pub fn greeting(name: &str) -> Result<String, Status> {
    if name.trim().is_empty() {
        return Err(Status::invalid_argument("name is empty: say whom to greet"));
    }
    let chars = name.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(Status::invalid_argument(format!(
            "name has {chars} characters: send at most {MAX_NAME_CHARS}"
        )));
    }
    Ok(format!("Hello, {name}!"))
}

// ANCHOR: serve
/// Serves the greeter on `listener` until `shutdown` resolves, then finishes the
/// calls that are in progress. Clients can ask which services it has.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("cannot decode the file descriptor set")?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);

    let greeter = GreeterServiceServer::new(Greeter).max_decoding_message_size(MAX_REQUEST_BYTES);
    let server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .add_service(greeter)
        .add_service(reflection.max_decoding_message_size(MAX_REQUEST_BYTES));
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await?;
    Ok(())
}
// ANCHOR_END: serve

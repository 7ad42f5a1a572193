//! A service that greets people by name, in JSON: one unary method, and no
//! Protocol Buffers.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{self, Server, server::TcpIncoming},
};

use crate::{
    generated::greeter_service_server::{GreeterService, GreeterServiceServer},
    messages::{SayHelloRequest, SayHelloResponse},
};

pub mod escape;
pub mod incoming;
pub mod json;
pub mod messages;
pub mod shutdown;

// ANCHOR: generated
/// What the build script generated from its own description.
pub mod generated {
    tonic::include_proto!("greeting.v1.GreeterService");
}
// ANCHOR_END: generated

// ANCHOR: limits
/// The longest name that is greeted, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 64;

/// The longest request that is read, in bytes. JSON may spell a character in
/// twelve, as in `\ud83e\udd80`: the longest name takes 779.
///
/// What a client sends may come back in the status that refuses it, up to four
/// times as long. The status is a header, and tonic's client takes 16 KiB of headers.
pub const MAX_REQUEST_BYTES: usize = 1024;

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
// ANCHOR_END: limits

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
        check_name(&name)?;

        tracing::info!(name, "greeting");
        let message = format!("Hello, {name}!");
        Ok(Response::new(SayHelloResponse { message }))
    }
}

/// Says what is wrong with a name that cannot be greeted.
fn check_name(name: &str) -> Result<(), Status> {
    if name.trim().is_empty() {
        return Err(Status::invalid_argument("name is empty: say whom to greet"));
    }
    let chars = name.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(Status::invalid_argument(format!(
            "name has {chars} characters: send at most {MAX_NAME_CHARS}"
        )));
    }
    Ok(())
}

// ANCHOR: serve
/// Serves the greeter on `listener` until `shutdown` resolves, then finishes
/// the calls that are in progress.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    // Nagle's algorithm would hold small messages back: a listener of our own
    // has it on unless we say otherwise.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let greeter = GreeterServiceServer::new(Greeter).max_decoding_message_size(MAX_REQUEST_BYTES);
    let server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .add_service(greeter);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

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

pub mod json;
pub mod messages;

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
/// times as long. That is a header, and tonic's client takes 16 KiB of headers.
pub const MAX_REQUEST_BYTES: usize = 1024;

/// How long one call may take. A peer that stalls half-way through its request
/// is given up after this, so it cannot hold up a shutdown for ever.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
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
/// the calls that are under way.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    // Nagle's algorithm would hold small messages back: a listener of our own
    // has it on unless we say otherwise.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let greeter = GreeterServiceServer::new(Greeter).max_decoding_message_size(MAX_REQUEST_BYTES);

    Server::builder()
        .timeout(CALL_TIMEOUT)
        .add_service(greeter)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
}
// ANCHOR_END: serve

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

// ANCHOR: pb
/// What `buf generate` has written from `hello/v1/hello.proto`.
#[rustfmt::skip]
#[allow(clippy::all)]
#[path = "pb/hello/v1/hello.v1.rs"]
pub mod pb;
// ANCHOR_END: pb

/// How long one call may take. A peer that stalls half-way through its request
/// is given up after this, so it cannot hold up a shutdown for ever.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

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
/// calls that are under way. Whoever asks is told which services there are.
///
/// # Errors
///
/// Fails if the transport does, for instance when connections can no longer be
/// accepted.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("the generated code has a contract that nobody can read")?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));

    Server::builder()
        .timeout(CALL_TIMEOUT)
        .add_service(GreeterServiceServer::new(Greeter))
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await?;
    Ok(())
}
// ANCHOR_END: serve

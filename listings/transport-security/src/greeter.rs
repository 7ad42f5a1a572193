//! The service.

use tonic::{Request, Response, Status};

use crate::{
    identity::Peer,
    pb::{SayHelloRequest, SayHelloResponse, greeter_service_server::GreeterService},
};

/// The longest name that is greeted, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 64;

// ANCHOR: greeter
/// The service. It has no state, so one value serves every call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Greeter;

#[tonic::async_trait]
impl GreeterService for Greeter {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        // Never a default: without the interceptor, nobody is let in.
        let Some(Peer(peer)) = request.extensions().get().cloned() else {
            return Err(Status::internal("nobody has looked who calls"));
        };
        let SayHelloRequest { name } = request.into_inner();
        check_name(&name)?;

        tracing::info!(name, from = &*peer, "greeting");
        let message = format!("Hello, {name}! You are {peer}.");
        Ok(Response::new(SayHelloResponse { message }))
    }
}
// ANCHOR_END: greeter

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

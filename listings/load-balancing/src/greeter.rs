//! The service.

use std::time::Duration;

use tokio::time;
use tonic::{Request, Response, Status};

use crate::pb::{SayHelloRequest, SayHelloResponse, greeter_service_server::GreeterService};

/// The longest name that is greeted, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 64;

/// The service, which says who it is, and can be slow.
#[derive(Clone, Debug)]
pub struct Greeter {
    /// What it is called by.
    pub here: String,
    /// How long it takes for each greeting.
    pub takes: Duration,
}

#[tonic::async_trait]
impl GreeterService for Greeter {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        let SayHelloRequest { name } = request.into_inner();
        check_name(&name)?;
        if !self.takes.is_zero() {
            time::sleep(self.takes).await;
        }
        let message = format!("Hello, {name}! This is {}.", self.here);
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

//! `transport-security-careless-server [ADDRESS]` greets anybody, in plain text.

use std::env;

use anyhow::Context;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use transport_security::{
    pb::{
        SayHelloRequest, SayHelloResponse,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
    program,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:50051");
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = program::shutdown().context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);
    Server::builder()
        .add_service(GreeterServiceServer::new(Careless))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), shutdown)
        .await?;
    Ok(())
}

/// Asks nobody who they are.
struct Careless;

#[tonic::async_trait]
impl GreeterService for Careless {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        let message = format!("Hello, {}!", request.into_inner().name);
        Ok(Response::new(SayHelloResponse { message }))
    }
}

//! `transport-security-careless-server [ADDRESS]` greets anybody, in plain text.

use std::env;

use anyhow::Context;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use transport_security::{
    DRAIN_TIMEOUT, incoming,
    pb::{
        SayHelloRequest, SayHelloResponse,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
    shutdown,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:50051");
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);
    let server = Server::builder().add_service(GreeterServiceServer::new(Careless));
    let incoming = incoming::pause_on_errors(TcpIncoming::from(listener));
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
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

//! A client of today and a server of tomorrow, whose contract has another number for
//! one field.

use std::error::Error;

use buf::pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// What `buf generate` makes of the other contract.
#[rustfmt::skip]
#[allow(clippy::all, dead_code)]
#[path = "../renumbered/src/pb/hello/v1/hello.v1.rs"]
mod renumbered;

// ANCHOR: renumbered
struct Renumbered;

#[tonic::async_trait]
impl renumbered::greeter_service_server::GreeterService for Renumbered {
    async fn say_hello(
        &self,
        request: Request<renumbered::SayHelloRequest>,
    ) -> Result<Response<renumbered::SayHelloResponse>, Status> {
        let request = request.into_inner();
        println!("the server reads {request:?}");
        let message = buf::greeting(&request.name)?;
        Ok(Response::new(renumbered::SayHelloResponse { message }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let service = renumbered::greeter_service_server::GreeterServiceServer::new(Renumbered);
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let mut client = GreeterServiceClient::connect(uri).await?;
    let request = SayHelloRequest {
        name: "Ferris".to_owned(),
    };
    println!("the client sends {request:?}");
    match client.say_hello(request).await {
        Ok(response) => println!("the client gets {response:?}"),
        Err(status) => println!("the client gets {:?}: {}", status.code(), status.message()),
    }
    Ok(())
}
// ANCHOR_END: renumbered

//! One service, tested at four levels: from the fastest to the most real.

use std::{error::Error, io};

use hello_world::{
    DRAIN_TIMEOUT, Greeter, MAX_REQUEST_BYTES,
    pb::{
        SayHelloRequest,
        greeter_service_client::GreeterServiceClient,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
};
use hyper_util::rt::TokioIo;
use tokio::time;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint, Server},
};

use crate::greeting::TestServer;

fn request(name: &str) -> SayHelloRequest {
    SayHelloRequest {
        name: name.to_owned(),
    }
}

// ANCHOR: handler
#[tokio::test]
async fn the_handler_by_itself() -> Result<(), Status> {
    let response = Greeter.say_hello(Request::new(request("世界"))).await?;
    assert_eq!(response.into_inner().message, "Hello, 世界!");

    let refused = Greeter.say_hello(Request::new(request(""))).await;
    let status = refused.expect_err("the name is empty");
    assert_eq!(status.code(), Code::InvalidArgument);
    Ok(())
}
// ANCHOR_END: handler

// ANCHOR: in_process
#[tokio::test]
async fn client_and_server_without_a_connection() -> Result<(), Status> {
    let service = GreeterServiceServer::new(Greeter);
    let service = service.max_decoding_message_size(MAX_REQUEST_BYTES);
    let mut client = GreeterServiceClient::new(service);
    let response = client.say_hello(request("世界")).await?;
    assert_eq!(response.into_inner().message, "Hello, 世界!");

    let long = "x".repeat(MAX_REQUEST_BYTES);
    let refused = client.say_hello(request(&long)).await;
    let status = refused.expect_err("the message is too large");
    assert_eq!(status.code(), Code::OutOfRange);
    Ok(())
}
// ANCHOR_END: in_process

// ANCHOR: pipe
/// A channel to a server in this process, over a pipe in memory.
async fn channel_over_a_pipe() -> Result<Channel, tonic::transport::Error> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let connections = tokio_stream::iter([Ok::<_, io::Error>(server)]);
    let server = Server::builder().add_service(GreeterServiceServer::new(Greeter));
    tokio::spawn(server.serve_with_incoming(connections));

    let mut client = Some(client);
    let connector = tower::service_fn(move |_| {
        let client = client.take().ok_or(io::ErrorKind::NotConnected);
        async { client.map(TokioIo::new).map_err(io::Error::from) }
    });
    // The URI is not resolved: the connector ignores it.
    Endpoint::from_static("http://in.process")
        .connect_with_connector(connector)
        .await
}

#[tokio::test]
async fn http_2_over_a_pipe() -> Result<(), Box<dyn Error>> {
    let mut client = GreeterServiceClient::new(channel_over_a_pipe().await?);
    let response = client.say_hello(request("世界")).await?;
    assert_eq!(response.into_inner().message, "Hello, 世界!");
    Ok(())
}
// ANCHOR_END: pipe

// ANCHOR: socket
#[tokio::test]
async fn the_whole_server_on_a_socket() -> Result<(), Box<dyn Error>> {
    let server = TestServer::start().await?;
    let uri = format!("http://{}", server.address);
    let mut client = GreeterServiceClient::connect(uri).await?;
    let response = client.say_hello(request("世界")).await?;
    assert_eq!(response.into_inner().message, "Hello, 世界!");

    server.stop.send(()).expect("the server runs");
    time::timeout(DRAIN_TIMEOUT / 2, server.server).await???;
    Ok(())
}
// ANCHOR_END: socket

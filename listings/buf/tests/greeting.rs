//! What the greeter promises, and what it tells tools.

use std::future::pending;

use buf::{
    MAX_NAME_CHARS,
    pb::{FILE_DESCRIPTOR_SET, SayHelloRequest, greeter_service_client::GreeterServiceClient},
    serve,
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::net::TcpListener;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn served() -> anyhow::Result<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, pending()));
    Ok(Endpoint::from_shared(uri)?.connect().await?)
}

#[tokio::test]
async fn greets_by_name_and_refuses_what_is_none() -> anyhow::Result<()> {
    let mut client = GreeterServiceClient::new(served().await?);
    let mut greet = async |name: String| client.say_hello(SayHelloRequest { name }).await;
    let greeting = greet("世界".to_owned()).await?.into_inner();
    assert_eq!(greeting.message, "Hello, 世界!");
    for name in [String::new(), "界".repeat(MAX_NAME_CHARS + 1)] {
        let status = greet(name).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    Ok(())
}

#[tokio::test]
async fn tells_its_services_by_reflection() -> anyhow::Result<()> {
    let mut client = ServerReflectionClient::new(served().await?);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let responses = client.server_reflection_info(tokio_stream::once(request));
    let response = responses.await?.into_inner().message().await?;
    let response = response.and_then(|it| it.message_response);
    let Some(MessageResponse::ListServicesResponse(list)) = response else {
        panic!("{response:?}");
    };
    let mut services: Vec<_> = list.service.into_iter().map(|it| it.name).collect();
    services.sort();
    assert_eq!(
        services,
        [
            "grpc.reflection.v1.ServerReflection",
            "hello.v1.GreeterService"
        ]
    );
    Ok(())
}

/// The contract in the generated code is the one in `proto/`, names, numbers and all.
#[test]
fn the_generated_code_has_its_contract() -> anyhow::Result<()> {
    let contract = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)?;
    let names: Vec<_> = contract.file.iter().map(|file| file.name()).collect();
    assert_eq!(names, ["hello/v1/hello.proto"]);
    Ok(())
}

//! What the greeter promises, checked over a real connection.

use std::{error::Error, net::SocketAddr};

use hello_world::{
    MAX_NAME_CHARS,
    pb::{SayHelloRequest, SayHelloResponse, greeter_service_client::GreeterServiceClient},
    serve,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

// ANCHOR: test_server
/// A server in this process, on a port that the system chose.
pub struct TestServer {
    pub address: SocketAddr,
    pub stop: oneshot::Sender<()>,
    pub server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl TestServer {
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, async {
            stopped.await.ok();
        }));
        Ok(Self {
            address,
            stop,
            server,
        })
    }
}
// ANCHOR_END: test_server

impl TestServer {
    async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_shared(format!("http://{}", self.address))?
            .connect()
            .await
    }

    pub async fn greet(&self, name: &str) -> Result<String, Status> {
        let channel = self
            .channel()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let request = SayHelloRequest {
            name: name.to_owned(),
        };
        let response = GreeterServiceClient::new(channel)
            .say_hello(request)
            .await?;
        Ok(response.into_inner().message)
    }
}

#[tokio::test]
async fn greets_by_name_in_any_script() -> Result<(), Box<dyn Error>> {
    let greeting = TestServer::start().await?;
    assert_eq!(greeting.greet("Ferris").await?, "Hello, Ferris!");
    assert_eq!(greeting.greet("世界").await?, "Hello, 世界!");
    Ok(())
}

#[tokio::test]
async fn refuses_a_name_that_is_empty() -> Result<(), Box<dyn Error>> {
    let greeting = TestServer::start().await?;
    for name in ["", "  \t\n", "\u{3000}"] {
        let status = greeting
            .greet(name)
            .await
            .expect_err("an empty name is refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}");
        assert_eq!(status.message(), "name is empty: say whom to greet");
    }
    Ok(())
}

#[tokio::test]
async fn counts_characters_and_not_bytes() -> Result<(), Box<dyn Error>> {
    let greeting = TestServer::start().await?;
    let longest = "界".repeat(MAX_NAME_CHARS);
    assert_eq!(
        greeting.greet(&longest).await?,
        format!("Hello, {longest}!")
    );

    let status = greeting
        .greet(&format!("{longest}界"))
        .await
        .expect_err("too long");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "name has 65 characters: send at most 64");
    Ok(())
}

#[tokio::test]
async fn ends_when_told_though_a_client_stays_connected() -> Result<(), Box<dyn Error>> {
    let greeting = TestServer::start().await?;
    let _idle = greeting.channel().await?;
    assert_eq!(greeting.greet("Ferris").await?, "Hello, Ferris!");

    greeting.stop.send(()).expect("the server runs");
    greeting.server.await??;
    Ok(())
}

/// The clock is paused: it jumps to the server's limit as soon as nothing else
/// is left to do.
#[tokio::test(start_paused = true)]
async fn gives_up_a_call_that_stalls() -> Result<(), Box<dyn Error>> {
    let greeting = TestServer::start().await?;
    let mut grpc = Grpc::new(greeting.channel().await?);
    grpc.ready().await?;

    let status = grpc
        .client_streaming::<_, SayHelloRequest, SayHelloResponse, _>(
            // Headers, and then nothing: neither a message nor an end.
            Request::new(tokio_stream::pending()),
            PathAndQuery::from_static("/hello.v1.GreeterService/SayHello"),
            ProstCodec::default(),
        )
        .await
        .expect_err("the request never ends");
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(status.message(), "Timeout expired");
    Ok(())
}

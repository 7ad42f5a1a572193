//! The chapter `bidirectional-streams`, as its reader runs it, and the hang that
//! it explains.

use std::time::Duration;

use anyhow::Context;
use bidirectional_streams::pb::{
    ChatRequest, ChatResponse,
    chat_service_client::ChatServiceClient,
    chat_service_server::{ChatService, ChatServiceServer},
};
use harness::{Listing, Result, Server};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{self, server::TcpIncoming},
};

const SERVER: &str = "bidirectional-streams-server";
const CLIENT: &str = "bidirectional-streams-client";

fn started() -> Result<(Listing, Server)> {
    let listing = Listing::build("bidirectional-streams")?;
    let server = listing.server(SERVER)?;
    Ok((listing, server))
}

/// A process that is frozen does not say goodbye, and its connection stays: only
/// the server's pings find out.
#[test]
fn a_peer_that_is_frozen_is_noticed() -> Result {
    let (listing, server) = started()?;
    let (mut jack, _keyboard) =
        listing.start_with_keyboard(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    let (mut mike, _keyboard) =
        listing.start_with_keyboard(CLIENT, [&server.uri(), "mike", "jack"])?;
    mike.wait_for("jack is here")?;
    jack.freeze()?;
    mike.wait_for("jack is not here")?;
    Ok(())
}

/// A chat that is open does not hold a shutdown up, and the clients are told.
#[test]
fn ctrl_c_ends_the_server_and_every_chat() -> Result {
    let (listing, server) = started()?;
    let (mut jack, _keyboard) =
        listing.start_with_keyboard(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    assert_eq!(server.stop()?.code, 0);
    let jack = jack.end()?;
    assert_eq!(jack.code, 1);
    assert!(jack.output.contains("the server is stopping"), "{jack:?}");
    Ok(())
}

/// A server that is killed, and one that is started in its place.
#[test]
fn a_client_that_starts_again_goes_on() -> Result {
    let (listing, mut server) = started()?;
    let (mut jack, _keyboard) =
        listing.start_with_keyboard(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    server.program.kill()?;
    assert_eq!(jack.end()?.code, 1);

    let mut again = listing.start(SERVER, [server.address.to_string()])?;
    again.wait_for("listening on ")?;
    let (mut jack, _keyboard) =
        listing.start_with_keyboard(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    Ok(())
}

#[test]
fn a_name_that_is_no_metadata_is_said_so() -> Result {
    let (listing, server) = started()?;
    let client = listing.run(CLIENT, [&server.uri(), "jack\nmike"])?;
    assert_eq!(client.code, 1);
    assert!(
        client
            .output
            .starts_with("Error: \"jack\\nmike\" cannot be sent as metadata"),
        "{client:?}"
    );
    Ok(())
}

/// The tempting handler: it looks at the first message before it answers.
struct Waiting;

#[tonic::async_trait]
impl ChatService for Waiting {
    type ChatStream = tokio_stream::Empty<Result<ChatResponse, Status>>;

    async fn chat(
        &self,
        request: Request<Streaming<ChatRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        request.into_inner().message().await?;
        Ok(Response::new(tokio_stream::empty()))
    }
}

/// The clock is paused: it jumps on as soon as nothing else is left to do. So
/// the time runs out only if both ends wait.
#[tokio::test(start_paused = true)]
async fn a_server_that_waits_for_a_client_that_waits_hangs() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(
        transport::Server::builder()
            .add_service(ChatServiceServer::new(Waiting))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let mut client = ChatServiceClient::connect(uri).await?;

    let (says, requests) = mpsc::channel(1);
    let call = client.chat(ReceiverStream::new(requests));
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, call).await.is_err(), "it hangs no longer");
    // To give up the call cancels it.
    timeout(hour, says.closed()).await.context("it goes on")?;

    // A message that waits to be sent ends it.
    let (says, requests) = mpsc::channel(1);
    says.send(ChatRequest::default()).await?;
    let call = client.chat(ReceiverStream::new(requests));
    timeout(hour, call).await.context("it hangs")??;
    Ok(())
}

/// A name in Chinese is refused by the server and not by HTTP.
#[tokio::test]
async fn bytes_that_are_not_ascii_reach_the_handler() -> Result {
    let (_, server) = started()?;
    let (mut client, connection) =
        h2::client::handshake(TcpStream::connect(server.address).await?).await?;
    tokio::spawn(connection);
    let request = http::Request::post(format!("{}/chat.v1.ChatService/Chat", server.uri()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("from", http::HeaderValue::from_bytes("杰克".as_bytes())?)
        .header("to", "mike")
        .body(())?;
    let (response, _requests) = client.send_request(request, false)?;
    let response = response.await?;
    let code = Code::from_bytes(response.headers()["grpc-status"].as_bytes());
    assert_eq!(code, Code::InvalidArgument);
    Ok(())
}

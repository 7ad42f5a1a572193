//! The chapter `bidirectional-streams`, as its reader runs it, and the deadlock
//! that it explains.

use std::time::Duration;

use anyhow::Context;
use bidirectional_streams::pb::{
    ChatRequest, ChatResponse,
    chat_service_client::ChatServiceClient,
    chat_service_server::{ChatService, ChatServiceServer},
};
use harness::{Result, spawn_in_process, start_server};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

const SLUG: &str = "bidirectional-streams";
const SERVER: &str = "bidirectional-streams-server";
const CLIENT: &str = "bidirectional-streams-client";

/// A frozen process closes no connection: only the server's keepalive pings can tell.
#[harness::test]
fn frozen_client_is_detected() -> Result {
    let (listing, server) = start_server(SLUG)?;
    let (mut jack, _stdin) = listing.start_with_stdin(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    let (mut mike, _stdin) = listing.start_with_stdin(CLIENT, [&server.uri(), "mike", "jack"])?;
    mike.wait_for("jack is here")?;
    jack.freeze()?;
    mike.wait_for("jack is not here")?;
    Ok(())
}

/// An open chat does not delay the shutdown, and ends with a status that says why.
#[harness::test]
fn ctrl_c_stops_the_server_and_every_chat() -> Result {
    let (listing, server) = start_server(SLUG)?;
    let (mut jack, _stdin) = listing.start_with_stdin(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    assert_eq!(server.stop()?.code, 0);
    let jack = jack.wait()?;
    assert_eq!(jack.code, 1);
    assert!(jack.text.contains("the server is stopping"), "{jack:?}");
    Ok(())
}

/// The second server listens at the address of the first, which was killed.
#[harness::test]
fn restarted_client_joins_a_restarted_server() -> Result {
    let (listing, mut server) = start_server(SLUG)?;
    let (mut jack, _stdin) = listing.start_with_stdin(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    server.process.kill()?;
    assert_eq!(jack.wait()?.code, 1);

    let mut restarted = listing.start(SERVER, [server.address.to_string()])?;
    restarted.wait_for("listening on ")?;
    let (mut jack, _stdin) = listing.start_with_stdin(CLIENT, [&server.uri(), "jack", "mike"])?;
    jack.wait_for("mike is not here")?;
    Ok(())
}

#[harness::test]
fn name_with_a_line_break_is_reported() -> Result {
    let (listing, server) = start_server(SLUG)?;
    let client = listing.run(CLIENT, [&server.uri(), "jack\nmike"])?;
    assert_eq!(client.code, 1);
    assert!(
        client
            .text
            .starts_with("Error: \"jack\\nmike\" cannot be sent as metadata"),
        "{client:?}"
    );
    Ok(())
}

/// Awaits the first message before it returns the response.
struct BlockingChat;

#[tonic::async_trait]
impl ChatService for BlockingChat {
    type ChatStream = tokio_stream::Empty<Result<ChatResponse, Status>>;

    async fn chat(
        &self,
        request: Request<Streaming<ChatRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        request.into_inner().message().await?;
        Ok(Response::new(tokio_stream::empty()))
    }
}

/// The clock is paused, and advances only when no task can proceed. So the timeout expires only if
/// client and server wait for each other.
#[harness::test(paused)]
async fn handler_that_awaits_the_first_message_deadlocks() -> Result {
    let server = Server::builder().add_service(ChatServiceServer::new(BlockingChat));
    let address = spawn_in_process(server).await?;
    let mut client = ChatServiceClient::connect(format!("http://{address}")).await?;

    let (messages, requests) = mpsc::channel(1);
    let call = client.chat(ReceiverStream::new(requests));
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, call).await.is_err(), "the call does not hang");
    // Dropping the call cancels it.
    timeout(hour, messages.closed())
        .await
        .context("the call goes on")?;

    // With a message ready to be sent, there is no deadlock.
    let (messages, requests) = mpsc::channel(1);
    messages.send(ChatRequest::default()).await?;
    let call = client.chat(ReceiverStream::new(requests));
    timeout(hour, call).await.context("the call hangs")??;
    Ok(())
}

/// HTTP allows bytes that are not ASCII in a header, so the server has to check.
#[harness::test]
async fn handler_rejects_a_non_ascii_name() -> Result {
    let (_, server) = start_server(SLUG)?;
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

//! The chapter `hello-world`, as its reader runs it: real programs, real sockets.

use std::net::TcpListener as StdListener;

use anyhow::{Context, ensure};
use bytes::Bytes;
use harness::{Listing, Result, Server, workspace};
use hello_world::pb::{
    SayHelloRequest, SayHelloResponse, greeter_service_client::GreeterServiceClient,
};
use prost::Message;
use tokio::{net::TcpStream, sync::watch, task::JoinSet};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use xtask::{program::Program, workspace::read};

const CLIENT: &str = "hello-world-client";
const SERVER: &str = "hello-world-server";

fn listing() -> Result<Listing> {
    Listing::build("hello-world")
}

#[test]
fn the_client_prints_its_greeting() -> Result {
    let (listing, server) = started()?;
    for (name, greeting) in [("Ferris", "Hello, Ferris!\n"), ("世界", "Hello, 世界!\n")] {
        let client = listing.run(CLIENT, [&server.uri(), name])?;
        assert_eq!((client.output.as_str(), client.code), (greeting, 0));
    }
    let client = listing.run(CLIENT, [server.uri()])?;
    assert_eq!(client.output, "Hello, Ferris!\n");
    Ok(())
}

#[test]
fn a_bad_name_is_an_invalid_argument() -> Result {
    let (listing, server) = started()?;
    let long = "界".repeat(65);
    for (name, sentence) in [
        ("", "name is empty: say whom to greet"),
        (" ", "name is empty: say whom to greet"),
        (&long, "name has 65 characters: send at most 64"),
    ] {
        let client = listing.run(CLIENT, [&server.uri(), name])?;
        assert_eq!(client.code, 1, "{}", client.output);
        assert!(
            client.output.contains("invalid argument") && client.output.contains(sentence),
            "{}",
            client.output
        );
    }
    Ok(())
}

#[test]
fn a_line_break_in_a_name_forges_no_line_of_the_log() -> Result {
    let (listing, server) = started()?;
    listing.run(CLIENT, [&server.uri(), "Ferris\n2026 INFO all is well"])?;
    let log = server.stop()?.output;
    assert!(
        log.contains(r#"name="Ferris\n2026 INFO all is well""#),
        "{log}"
    );
    assert_eq!(log.lines().count(), 2, "{log}"); // `listening on`, and the call
    Ok(())
}

#[test]
fn an_address_in_use_is_said_so() -> Result {
    let (listing, server) = started()?;
    let second = listing.run(SERVER, [server.address.to_string()])?;
    assert_eq!(second.code, 1);
    assert!(
        second
            .output
            .starts_with(&format!("Error: cannot listen on {}", server.address)),
        "{}",
        second.output
    );
    assert!(second.output.contains("in use"), "{}", second.output);
    Ok(())
}

#[test]
fn an_address_that_is_none_is_said_so() -> Result {
    let listing = listing()?;
    for (program, argument, sentence) in [
        (SERVER, "nonsense", "Error: cannot listen on nonsense"),
        (
            CLIENT,
            "http://not a uri",
            "Error: \"http://not a uri\" is not a URI",
        ),
        (
            CLIENT,
            "127.0.0.1:50051",
            "Error: cannot reach 127.0.0.1:50051",
        ),
    ] {
        let end = listing.run(program, [argument])?;
        assert_eq!(end.code, 1, "{}", end.output);
        assert!(end.output.starts_with(sentence), "{}", end.output);
    }
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_said_so() -> Result {
    let client = listing()?.run(CLIENT, ["http://127.0.0.1:1"])?;
    assert_eq!(client.code, 1);
    assert!(
        client
            .output
            .starts_with("Error: cannot reach http://127.0.0.1:1"),
        "{}",
        client.output
    );
    assert!(
        client.output.contains("Connection refused"),
        "{}",
        client.output
    );
    Ok(())
}

#[test]
fn a_server_that_says_nothing_is_given_up() -> Result {
    // The kernel accepts for it; nobody ever reads.
    let silent = StdListener::bind("127.0.0.1:0")?;
    let client = listing()?.run(CLIENT, [format!("http://{}", silent.local_addr()?)])?;
    assert_eq!(client.code, 1);
    assert!(
        client.output.contains("Timeout expired"),
        "{}",
        client.output
    );
    Ok(())
}

/// Even if it comes right after the line that says that the server is ready.
#[test]
fn ctrl_c_and_sigterm_end_the_server_cleanly() -> Result {
    for stop in [Program::interrupt, Program::terminate] {
        let (_, mut server) = started()?;
        stop(&mut server.program)?;
        let end = server.program.end()?;
        assert_eq!(end.code, 0, "{}", end.output);
    }
    Ok(())
}

/// A call whose request is half sent when Ctrl-C comes is answered.
#[tokio::test]
async fn ctrl_c_cuts_no_call_off() -> Result {
    let (_, mut server) = started()?;
    let socket = TcpStream::connect(server.address).await?;
    let (mut client, mut connection) = h2::client::handshake(socket).await?;
    let mut ping = connection.ping_pong().context("there is one")?;
    let driver = tokio::spawn(connection);

    let (response, mut body) = client.send_request(say_hello(&server)?, false)?;
    // The answer to a ping comes after the headers have been read.
    ping.ping(h2::Ping::opaque()).await?;

    server.program.interrupt()?;
    // The server has noticed when it no longer listens.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }

    let message = SayHelloRequest {
        name: "Ferris".to_owned(),
    }
    .encode_to_vec();
    let prefix = [0, 0, 0, 0, u8::try_from(message.len())?];
    body.send_data(Bytes::from([&prefix[..], &message].concat()), true)?;

    let mut body = response.await?.into_body();
    let data = body.data().await.context("the server answers")??;
    assert_eq!(
        SayHelloResponse::decode(&data[5..])?.message,
        "Hello, Ferris!"
    );
    let trailers = body.trailers().await?.context("there are trailers")?;
    assert_eq!(trailers["grpc-status"], "0");

    driver.await??;
    assert_eq!(server.program.end()?.code, 0);
    Ok(())
}

/// Every call that the server took, it answered, however many come in as it ends.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_under_load_loses_no_answer() -> Result {
    let (_, mut server) = started()?;
    let (answered, mut enough) = watch::channel(0);
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let channel = channel(&server).await?;
        let answered = answered.clone();
        callers.spawn(async move {
            let mut client = GreeterServiceClient::new(channel);
            while client
                .say_hello(SayHelloRequest {
                    name: "Ferris".to_owned(),
                })
                .await
                .is_ok()
            {
                answered.send_modify(|count| *count += 1);
            }
        });
    }
    enough.wait_for(|&count| count >= 200).await?;
    server.program.interrupt()?;
    let end = server.program.end()?;
    callers.join_all().await;

    let taken = end
        .output
        .lines()
        .filter(|line| line.contains("greeting"))
        .count();
    assert_eq!((taken, end.code), (*answered.borrow(), 0));
    Ok(())
}

#[tokio::test]
async fn a_method_that_is_not_there_is_unimplemented() -> Result {
    let (_, server) = started()?;
    let mut grpc = Grpc::new(channel(&server).await?);
    grpc.ready().await?;
    let status: Status = grpc
        .unary::<_, SayHelloResponse, _>(
            Request::new(SayHelloRequest {
                name: "Ferris".to_owned(),
            }),
            http::uri::PathAndQuery::from_static("/hello.v1.GreeterService/SayGoodbye"),
            ProstCodec::<SayHelloRequest, SayHelloResponse>::default(),
        )
        .await
        .expect_err("nobody implements it");
    assert_eq!(status.code(), Code::Unimplemented);
    Ok(())
}

/// HTTP's status says nothing of the call's.
#[tokio::test]
async fn a_call_that_fails_has_the_http_status_200() -> Result {
    let (_, server) = started()?;
    let (mut client, connection) =
        h2::client::handshake(TcpStream::connect(server.address).await?).await?;
    tokio::spawn(connection);
    let (response, mut body) = client.send_request(say_hello(&server)?, false)?;
    body.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), true)?; // no name

    let response = response.await?;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "3"); // INVALID_ARGUMENT
    Ok(())
}

#[tokio::test]
async fn a_message_over_4_mb_is_refused() -> Result {
    let (_, server) = started()?;
    let channel = channel(&server).await?;
    let name = "a".repeat(5_000_000);
    let status = GreeterServiceClient::new(channel)
        .say_hello(SayHelloRequest { name })
        .await
        .expect_err("it is too large");
    assert_eq!(status.code(), Code::OutOfRange);
    Ok(())
}

/// `connect` fails where nobody listens; `connect_lazy` leaves it to the call.
#[tokio::test]
async fn connecting_is_eager_unless_it_is_lazy() -> Result {
    let nobody = Endpoint::from_static("http://127.0.0.1:1");
    assert!(nobody.connect().await.is_err());
    let status = GreeterServiceClient::new(nobody.connect_lazy())
        .say_hello(SayHelloRequest::default())
        .await
        .expect_err("nobody listens");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(Endpoint::from_shared("dns:///localhost:50051").is_err());
    Ok(())
}

/// The picture of the message shows the bytes that a run sent.
#[test]
fn the_picture_shows_the_bytes_of_the_run() -> Result {
    let wire = read(&workspace().listing("hello-world").join("output/wire.txt"))?;
    let sent = wire
        .lines()
        .find(|line| line.starts_with("  00 00"))
        .context("the run sent a message")?;
    let sent: Vec<&str> = sent.split_whitespace().take(13).collect();

    let picture = read(&workspace().src().join("hello-world/message.svg"))?;
    let drawn: Vec<&str> = picture
        .split("class=\"byte\">")
        .skip(1)
        .filter_map(|text| text.split('<').next())
        .collect();
    ensure!(
        drawn == sent,
        "src/hello-world/message.svg draws {drawn:?}, and the run sent {sent:?}"
    );
    Ok(())
}

async fn channel(server: &Server) -> Result<Channel> {
    Ok(Endpoint::from_shared(server.uri())?.connect().await?)
}

/// A call's opening, as HTTP.
fn say_hello(server: &Server) -> Result<http::Request<()>> {
    let uri = format!("{}/hello.v1.GreeterService/SayHello", server.uri());
    let request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    Ok(request.body(())?)
}

fn started() -> Result<(Listing, Server)> {
    let listing = listing()?;
    let server = listing.server(SERVER)?;
    Ok((listing, server))
}

//! The chapter `hello-world`, as its reader runs it: real programs, real sockets.

use std::{net::TcpListener as StdListener, time::Duration};

use anyhow::{Context, ensure};
use book::workspace::read;
use bytes::Bytes;
use harness::{Listing, Result, Server, start_server, workspace};
use hello_world::pb::{
    SayHelloRequest, SayHelloResponse, greeter_service_client::GreeterServiceClient,
    greeter_service_server::GreeterServiceServer,
};
use prost::Message;
use stage::process::Process;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::JoinSet,
    time,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{self, Channel, Endpoint, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

const SLUG: &str = "hello-world";
const CLIENT: &str = "hello-world-client";
const SERVER: &str = "hello-world-server";

#[harness::test]
fn client_prints_the_greeting() -> Result {
    let (listing, server) = start_server(SLUG)?;
    for (name, greeting) in [("Ferris", "Hello, Ferris!\n"), ("世界", "Hello, 世界!\n")] {
        let client = listing.run(CLIENT, [&server.uri(), name])?;
        assert_eq!((client.text.as_str(), client.code), (greeting, 0));
    }
    let client = listing.run(CLIENT, [server.uri()])?;
    assert_eq!(client.text, "Hello, Ferris!\n");
    Ok(())
}

#[harness::test]
fn invalid_name_is_rejected() -> Result {
    let (listing, server) = start_server(SLUG)?;
    let long = "界".repeat(65);
    for (name, message) in [
        ("", "name is empty: say whom to greet"),
        (" ", "name is empty: say whom to greet"),
        (&long, "name has 65 characters: send at most 64"),
    ] {
        let client = listing.run(CLIENT, [&server.uri(), name])?;
        assert_eq!(client.code, 1, "{}", client.text);
        assert!(
            client.text.contains("invalid argument") && client.text.contains(message),
            "{}",
            client.text
        );
    }
    Ok(())
}

#[harness::test]
fn line_break_in_a_name_cannot_forge_a_log_line() -> Result {
    let (listing, server) = start_server(SLUG)?;
    listing.run(CLIENT, [&server.uri(), "Ferris\n2026 INFO all is well"])?;
    let log = server.stop()?.text;
    assert!(
        log.contains(r#"name="Ferris\n2026 INFO all is well""#),
        "{log}"
    );
    assert_eq!(log.lines().count(), 2, "{log}"); // `listening on …` and the call.
    Ok(())
}

#[harness::test]
fn address_in_use_is_reported() -> Result {
    let (listing, server) = start_server(SLUG)?;
    let second = listing.run(SERVER, [server.address.to_string()])?;
    assert_eq!(second.code, 1);
    assert!(
        second
            .text
            .starts_with(&format!("Error: cannot listen on {}", server.address)),
        "{}",
        second.text
    );
    assert!(second.text.contains("in use"), "{}", second.text);
    Ok(())
}

#[harness::test]
fn invalid_address_is_reported() -> Result {
    let listing = Listing::build(SLUG)?;
    for (program, argument, message) in [
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
        let output = listing.run(program, [argument])?;
        assert_eq!(output.code, 1, "{}", output.text);
        assert!(output.text.starts_with(message), "{}", output.text);
    }
    Ok(())
}

#[harness::test]
fn unreachable_server_is_reported() -> Result {
    let client = Listing::build(SLUG)?.run(CLIENT, ["http://127.0.0.1:1"])?;
    assert_eq!(client.code, 1);
    assert!(
        client
            .text
            .starts_with("Error: cannot reach http://127.0.0.1:1"),
        "{}",
        client.text
    );
    assert!(
        client.text.contains("Connection refused"),
        "{}",
        client.text
    );
    Ok(())
}

#[harness::test]
fn silent_server_times_out() -> Result {
    // The kernel accepts the connection, and no program reads from it.
    let silent = StdListener::bind("127.0.0.1:0")?;
    let client = Listing::build(SLUG)?.run(CLIENT, [format!("http://{}", silent.local_addr()?)])?;
    assert_eq!(client.code, 1);
    let late = "the call was not over after 5s";
    assert!(client.text.contains(late), "{}", client.text);
    Ok(())
}

/// The signal may come right after `listening on`, so its handler has to be installed before.
#[harness::test]
fn ctrl_c_and_sigterm_stop_the_server() -> Result {
    for stop in [Process::interrupt, Process::terminate] {
        let (_, mut server) = start_server(SLUG)?;
        stop(&mut server.process)?;
        let output = server.process.wait()?;
        assert_eq!(output.code, 0, "{}", output.text);
    }
    Ok(())
}

/// The headers of the request arrive before Ctrl-C, and its message after it.
#[harness::test]
async fn shutdown_answers_a_half_sent_request() -> Result {
    let (_, mut server) = start_server(SLUG)?;
    let socket = TcpStream::connect(server.address).await?;
    let (mut client, mut connection) = h2::client::handshake(socket).await?;
    let mut ping = connection.ping_pong().context("no `PingPong`")?;
    let driver = tokio::spawn(connection);

    let (response, mut body) = client.send_request(say_hello(&server)?, false)?;
    // The server answers the ping after it has read the headers.
    ping.ping(h2::Ping::opaque()).await?;

    server.process.interrupt()?;
    // The server has handled the signal once it no longer listens.
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
    let data = body.data().await.context("no message")??;
    assert_eq!(
        SayHelloResponse::decode(&data[5..])?.message,
        "Hello, Ferris!"
    );
    let trailers = body.trailers().await?.context("no trailers")?;
    assert_eq!(trailers["grpc-status"], "0");

    driver.await??;
    assert_eq!(server.process.wait()?.code, 0);
    Ok(())
}

/// The server answers every call that it logs, although calls keep coming while it shuts down.
#[harness::test]
async fn shutdown_under_load_loses_no_response() -> Result {
    let (_, mut server) = start_server(SLUG)?;
    let (answered, mut watch_answered) = watch::channel(0);
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
    watch_answered.wait_for(|&count| count >= 200).await?;
    server.process.interrupt()?;
    let output = server.process.wait()?;
    callers.join_all().await;

    let logged = output
        .text
        .lines()
        .filter(|line| line.contains("greeting"))
        .count();
    assert_eq!((logged, output.code), (*answered.borrow(), 0));
    Ok(())
}

#[harness::test]
async fn unknown_method_is_unimplemented() -> Result {
    let (_, server) = start_server(SLUG)?;
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
        .expect_err("the method does not exist");
    assert_eq!(status.code(), Code::Unimplemented);
    Ok(())
}

/// The status of the call is in `grpc-status`, and HTTP's is 200 even when the call fails.
#[harness::test]
async fn failed_call_has_http_status_200() -> Result {
    let (_, server) = start_server(SLUG)?;
    let (mut client, connection) =
        h2::client::handshake(TcpStream::connect(server.address).await?).await?;
    tokio::spawn(connection);
    let (response, mut body) = client.send_request(say_hello(&server)?, false)?;
    body.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), true)?; // An empty name.

    let response = response.await?;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "3"); // INVALID_ARGUMENT
    Ok(())
}

#[harness::test]
async fn message_over_4_mb_is_rejected() -> Result {
    let (_, server) = start_server(SLUG)?;
    let channel = channel(&server).await?;
    let name = "a".repeat(5_000_000);
    let status = GreeterServiceClient::new(channel)
        .say_hello(SayHelloRequest { name })
        .await
        .expect_err("the message is too large");
    assert_eq!(status.code(), Code::OutOfRange);
    Ok(())
}

/// Where no server listens, `connect` fails itself; after `connect_lazy`, the first call does.
#[harness::test]
async fn connect_is_eager_and_connect_lazy_is_not() -> Result {
    let unreachable = Endpoint::from_static("http://127.0.0.1:1");
    assert!(unreachable.connect().await.is_err());
    let status = GreeterServiceClient::new(unreachable.connect_lazy())
        .say_hello(SayHelloRequest::default())
        .await
        .expect_err("no server listens");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(Endpoint::from_shared("dns:///localhost:50051").is_err());
    Ok(())
}

/// The figure of the message is drawn by hand, and has to agree with the recorded session.
#[harness::test]
fn figure_shows_the_recorded_bytes() -> Result {
    let wire = read(&workspace().listing("hello-world").join("output/wire.txt"))?;
    let sent = wire
        .lines()
        .find(|line| line.starts_with("  00 00"))
        .context("no message is recorded")?;
    let sent: Vec<&str> = sent.split_whitespace().take(13).collect();

    let figure = read(&workspace().src().join("hello-world/message.svg"))?;
    let drawn: Vec<&str> = figure
        .split("class=\"byte\">")
        .skip(1)
        .filter_map(|rest| rest.split('<').next())
        .collect();
    ensure!(
        drawn == sent,
        "src/hello-world/message.svg draws {drawn:?}, but the session sent {sent:?}"
    );
    Ok(())
}

#[harness::test]
fn path_of_the_uri_and_proxies_of_the_environment_are_ignored() -> Result {
    let (listing, server) = start_server(SLUG)?;
    let output = listing
        .command(CLIENT)?
        .arg(format!("{}/prefix", server.uri()))
        .env("http_proxy", "http://127.0.0.1:1")
        .env("https_proxy", "http://127.0.0.1:1")
        .output()?;
    assert_eq!(String::from_utf8(output.stdout)?, "Hello, Ferris!\n");
    Ok(())
}

/// tonic does not look at either. This test fails once it does: the chapter on transport security says
/// what that means.
#[harness::test]
async fn any_method_and_content_type_is_carried_out() -> Result {
    let (_, server) = start_server(SLUG)?;
    for (method, content_type) in [("GET", "application/grpc"), ("POST", "text/plain")] {
        let socket = TcpStream::connect(server.address).await?;
        let (mut client, connection) = h2::client::handshake(socket).await?;
        tokio::spawn(connection);
        let mut request = say_hello(&server)?;
        *request.method_mut() = method.parse()?;
        request
            .headers_mut()
            .insert("content-type", content_type.parse()?);
        let (response, mut body) = client.send_request(request, false)?;
        body.send_data(Bytes::from_static(b"\0\0\0\0\x06\x0a\x04Jack"), true)?;
        let mut body = response.await?.into_body();
        let data = body.data().await.context("no message")??;
        assert_eq!(
            SayHelloResponse::decode(&data[5..])?.message,
            "Hello, Jack!"
        );
    }
    Ok(())
}

async fn channel(server: &Server) -> Result<Channel> {
    Ok(Endpoint::from_shared(server.uri())?.connect().await?)
}

/// The HTTP request of a call, without its body.
fn say_hello(server: &Server) -> Result<http::Request<()>> {
    let uri = format!("{}/hello.v1.GreeterService/SayHello", server.uri());
    let request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    Ok(request.body(())?)
}

/// tonic 0.14.9. When this test fails, a limit on the drain may no longer be needed.
#[harness::test(paused)]
async fn tonic_waits_for_a_silent_connection_for_ever() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = transport::Server::builder()
        .add_service(GreeterServiceServer::new(hello_world::Greeter))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
            stopped.await.ok();
        });
    let mut server = tokio::spawn(server);

    let silent = TcpStream::connect(address).await?;
    // Connections are accepted in turn, so the silent one has been.
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    GreeterServiceClient::new(channel)
        .say_hello(SayHelloRequest {
            name: "李雷".to_owned(),
        })
        .await?;

    stop.send(()).ok();
    let day = Duration::from_secs(24 * 60 * 60);
    ensure!(time::timeout(day, &mut server).await.is_err());
    // The socket's end takes real time to arrive.
    time::resume();
    drop(silent);
    time::timeout(Duration::from_secs(60), server).await???;
    Ok(())
}

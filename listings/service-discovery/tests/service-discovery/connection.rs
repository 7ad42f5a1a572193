//! When a connection is ready, and when it has ended. Both ends are in this process, and
//! the clock stands still until everybody waits for it.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Result;
use service_discovery::{
    address::Address,
    connection::{Connection, PREFACE},
    pb::{SayHelloRequest, SayHelloResponse, greeter_service_client::GreeterServiceClient},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{self, Instant, timeout},
};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    client::Grpc,
    codegen::{
        Service,
        http::{self, HeaderValue, uri::PathAndQuery},
    },
    server::NamedService,
    transport::{Endpoint, Server},
};

/// Of a server: its preface, that it has read ours, and that it ends.
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
const ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0";

fn endpoint() -> Result<Endpoint> {
    let address = Address::Tcp(([127, 0, 0, 1], 1).into());
    Ok(address.endpoint()?)
}

/// A connection, and the server's end of it, which has sent this.
async fn connected(first: &[u8]) -> Result<(Connection, DuplexStream)> {
    let (client, mut server) = duplex(64 * 1024);
    server.write_all(first).await?;
    match Connection::open(&endpoint()?, client).await {
        Ok(connection) => Ok((connection, server)),
        Err(error) => anyhow::bail!("{error}"),
    }
}

async fn refused(first: &[u8]) -> String {
    connected(first).await.unwrap_err().to_string()
}

/// A call, for so long.
async fn call(connection: &Connection, time: Duration) -> Option<Result<(), Status>> {
    let request = http::Request::post("http://localhost/hello.v1.GreeterService/SayHello")
        .body(Body::empty())
        .expect("it is one");
    match timeout(time, connection.call(request)).await {
        Err(_) => None,
        Ok(Ok(_)) => Some(Ok(())),
        Ok(Err(error)) => Some(Err(Status::from_error(error.into()))),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let began = Instant::now();
    assert_eq!(refused(b"").await, "no HTTP/2 after 5s");
    assert!(began.elapsed() < PREFACE + Duration::from_secs(1));
    // A part of its preface is not enough.
    for part in [1, 8, 9, 14] {
        assert_eq!(refused(&SETTINGS[..part]).await, "no HTTP/2 after 5s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_begins_with_another_frame_is_no_http2() {
    let other = "the server does not speak HTTP/2";
    assert_eq!(refused(b"HTTP/1.1 400 Bad Request\r\n\r\n").await, other);
    assert_eq!(refused(b"SSH-2.0-OpenSSH_9.2\r\n").await, other);
    // A ping is HTTP/2, and no server may begin with it.
    assert_eq!(refused(b"\0\0\x08\x06\0\0\0\0\0worldwor").await, other);
    assert_eq!(
        refused(GOAWAY).await,
        "the server takes no more calls on this connection"
    );
}

#[tokio::test(start_paused = true)]
async fn the_preface_may_come_in_pieces() -> Result<()> {
    let (client, mut server) = duplex(64 * 1024);
    let trickle = tokio::spawn(async move {
        for byte in SETTINGS {
            server.write_all(&[*byte]).await?;
            time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(server)
    });
    let connection = Connection::open(&endpoint()?, client).await;
    assert_eq!(connection.expect("it has spoken").ended(), None);
    trickle.await??;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn that_the_server_closes_is_known_without_a_call() -> Result<()> {
    let (connection, server) = connected(SETTINGS).await?;
    drop(server);
    connection.end().await;
    let ended = connection.ended();
    assert_eq!(ended.as_deref(), Some("the server closed the connection"));
    // Nothing connects again.
    let status = call(&connection, PREFACE).await.expect("it fails");
    assert!(status.is_err());
    Ok(())
}

/// A call in progress ends as it would have, and there is no other one.
#[tokio::test(start_paused = true)]
async fn after_a_goaway_there_is_no_new_call_and_the_old_ones_end_well() -> Result<()> {
    let (client, server) = duplex(64 * 1024);
    let (called, was_called) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut server = h2::server::handshake(server).await?;
        let (_, mut respond) = server.accept().await.expect("a call")?;
        server.graceful_shutdown();
        called.send(()).ok();
        tokio::spawn(async move {
            time::sleep(Duration::from_secs(1)).await;
            let ok = http::Response::builder().header("grpc-status", "0");
            respond.send_response(ok.body(()).expect("it is one"), true)
        });
        while server.accept().await.is_some() {}
        anyhow::Ok(())
    });
    let connection = Connection::open(&endpoint()?, client).await;
    let connection = connection.expect("it speaks");
    let old = tokio::spawn({
        let connection = connection.clone();
        async move { call(&connection, PREFACE).await }
    });
    was_called.await?;
    connection.end().await;
    let why = "the server takes no more calls on this connection";
    assert_eq!(connection.ended().as_deref(), Some(why));
    old.await?.expect("it ends")?;
    Ok(())
}

/// Its kernel is well, and so is the connection as TCP sees it.
#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_under_calls_is_given_up() -> Result<()> {
    let (connection, mut server) = connected(&[SETTINGS, ACK].concat()).await?;
    let second = Duration::from_secs(1);
    // Those that are cancelled soon say nothing, however many.
    for _ in 0..10 {
        assert!(call(&connection, second / 10).await.is_none());
    }
    for _ in 0..2 {
        assert!(call(&connection, second).await.is_none());
    }
    // A byte of it, and one begins to count again: this is a ping.
    server.write_all(b"\0\0\x08\x06\0\0\0\0\0worldwor").await?;
    time::sleep(second).await;
    for _ in 0..2 {
        assert!(call(&connection, second).await.is_none());
    }
    assert_eq!(connection.ended(), None);
    assert!(call(&connection, second).await.is_none());
    assert!(connection.ended().is_some());
    Ok(())
}

/// When the frames of this kind come that the client sends, until it ends.
async fn sent(kind: u8, mut server: DuplexStream) -> Vec<Instant> {
    let mut seen = Vec::new();
    let (mut preface, mut header) = ([0; 24], [0; 9]);
    server.read_exact(&mut preface).await.expect("a preface");
    while server.read_exact(&mut header).await.is_ok() {
        let [a, b, c, this, ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        server.read_exact(&mut payload).await.expect("a payload");
        if this == kind {
            seen.push(Instant::now());
            // Its answer is the same, but for the flag.
            let answer = [b"\0\0\x08\x06\x01\0\0\0\0", &payload[..]].concat();
            server.write_all(&answer).await.ok();
        }
    }
    seen
}

/// As a server of grpc-go, as it is by default, wants it: no ping while nothing is
/// called, and at least five minutes between two of them.
#[tokio::test(start_paused = true)]
async fn pings_are_few_enough_for_grpc_go() -> Result<()> {
    let (connection, server) = connected(&[SETTINGS, ACK].concat()).await?;
    let pings = tokio::spawn(sent(6, server));
    time::sleep(Duration::from_secs(60 * 60)).await;
    let called = Instant::now();
    // A stream, for example, on which nothing comes.
    assert!(
        call(&connection, Duration::from_secs(60 * 60))
            .await
            .is_none()
    );
    drop(connection);
    let pings = pings.await?;
    assert!(pings.first().is_some_and(|first| *first >= called));
    let five_minutes = Duration::from_secs(5 * 60);
    assert!(pings.windows(2).all(|two| two[1] - two[0] > five_minutes));
    Ok(())
}

/// A unary call goes through as it does through tonic's own channel.
#[tokio::test(start_paused = true)]
async fn what_is_sent_arrives() -> Result<()> {
    use service_discovery::{greeter::Greeter, pb::greeter_service_server::GreeterServiceServer};
    let (client, server) = duplex(64 * 1024);
    let here = "世界".to_owned();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(GreeterServiceServer::new(Greeter { here }))
            .serve_with_incoming(tokio_stream::once(std::io::Result::Ok(server))),
    );
    let connection = Connection::open(&endpoint()?, client).await;
    let mut grpc = Grpc::new(connection.expect("it speaks").channel());
    grpc.ready().await?;
    let name = "李雷".to_owned();
    let path = PathAndQuery::from_static("/hello.v1.GreeterService/SayHello");
    let response: Response<SayHelloResponse> = grpc
        .unary(
            Request::new(SayHelloRequest { name }),
            path,
            tonic_prost::ProstCodec::default(),
        )
        .await?;
    assert_eq!(response.into_inner().message, "Hello, 李雷! This is 世界.");
    Ok(())
}

/// Ends each call with details that are not base64.
#[derive(Clone)]
struct Malformed;

impl NamedService for Malformed {
    const NAME: &'static str = "hello.v1.GreeterService";
}

impl Service<http::Request<Body>> for Malformed {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let mut response = Status::not_found("nobody here").into_http();
        let details = HeaderValue::from_static("!!!");
        let headers = response.headers_mut();
        headers.insert("grpc-status-details-bin", details);
        ready(Ok(response))
    }
}

/// Without `malformed`, tonic 0.14.9 panics at them.
#[tokio::test]
async fn malformed_details_do_not_panic() -> Result<()> {
    let (client, server) = duplex(64 * 1024);
    let incoming = tokio_stream::once(io::Result::Ok(server));
    tokio::spawn(
        Server::builder()
            .add_service(Malformed)
            .serve_with_incoming(incoming),
    );
    let connection = Connection::open(&endpoint()?, client).await;
    let connection = connection.expect("it speaks HTTP/2");
    let mut greeter = GreeterServiceClient::new(connection.channel());
    let request = SayHelloRequest {
        name: "Jack".to_owned(),
    };
    let status = greeter.say_hello(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "nobody here")
    );
    Ok(())
}

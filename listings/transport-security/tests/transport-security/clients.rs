//! The programs of the clients, with servers that are not as they should be.

use std::{fs, future, process::Output, time::Duration};

use http_body_util::{BodyExt, Full};
use tokio::{net::TcpListener, process::Command, time::timeout};
use tonic::{
    Code,
    body::Body,
    codegen::{
        Bytes,
        http::{HeaderMap, HeaderValue, Response},
    },
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use tower::util::MapResponseLayer;
use transport_security::{
    greeter::Greeter,
    limit::within,
    pb::{
        SayHelloRequest, greeter_service_client::GreeterServiceClient,
        greeter_service_server::GreeterServiceServer,
    },
};

use crate::{Pki, Result};

/// No program needs as long.
const LONG: Duration = Duration::from_secs(60);

type Change = fn(Response<Body>) -> Response<Body>;

/// A server whose responses are what `change` makes of them: its URI.
async fn server(pki: Option<&Pki>, change: Change) -> Result<String> {
    let mut server = Server::builder();
    if let Some(pki) = pki {
        let identity = Identity::from_pem(
            fs::read(pki.file("server.pem"))?,
            fs::read(pki.file("server.key"))?,
        );
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let server = server
        .layer(MapResponseLayer::new(change))
        .add_service(GreeterServiceServer::new(Greeter));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let scheme = pki.map_or("http", |_| "https");
    Ok(format!("{scheme}://{address}"))
}

/// Runs the client until it ends.
async fn run(pki: &Pki, uri: &str) -> Result<(Output, String)> {
    let mut client = Command::new(env!("CARGO_BIN_EXE_transport-security-client"));
    client.arg(uri).arg(pki.file("ca.pem"));
    output(client).await
}

async fn output(mut program: Command) -> Result<(Output, String)> {
    let output = timeout(LONG, program.kill_on_drop(true).output()).await??;
    let printed = String::from_utf8(output.stdout.clone())?;
    Ok((output, printed))
}

/// A response that begins with `bytes`, and goes on with trailers that never come.
fn endless(mut response: Response<Body>, bytes: &'static [u8]) -> Response<Body> {
    // A response that has a status in its headers has ended.
    response.headers_mut().remove("grpc-status");
    let body = Full::new(Bytes::from_static(bytes)).with_trailers(future::pending());
    response.map(|_| Body::new(body))
}

#[tokio::test]
async fn a_call_has_a_limit_that_does_not_end_with_the_headers() -> Result {
    let pki = Pki::new()?;
    let changes: [Change; 3] = [
        |response| endless(response, b""),
        |response| endless(response, b"\0\0\0\0\x03\x0a"),
        |response| endless(response, b"\0\0\0\0\x03\x0a\x01!"),
    ];
    for change in changes {
        let uri = server(Some(&pki), change).await?;
        let channel = pki.files().endpoint(&uri).await?.connect().await?;
        let mut client = GreeterServiceClient::new(channel);
        let name = "李雷".to_owned();
        let call = client.say_hello(SayHelloRequest { name });
        let status = timeout(LONG, within(Duration::from_millis(100), call)).await?;
        let status = status.expect_err("it does not end");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    }
    // And the programs have one.
    let (output, printed) = run(&pki, &server(Some(&pki), changes[0]).await?).await?;
    assert!(printed.contains("because: DeadlineExceeded"), "{output:?}");
    let (output, _) = careless(&pki, &server(None, changes[0]).await?).await?;
    assert!(!output.status.success(), "{output:?}");
    Ok(())
}

async fn careless(pki: &Pki, uri: &str) -> Result<(Output, String)> {
    let mut client = Command::new(env!("CARGO_BIN_EXE_transport-security-careless-client"));
    client.arg(uri).arg(pki.path());
    output(client).await
}

/// What tonic 0.14 panics at, with a message that a terminal would obey.
fn failed(headers: &mut HeaderMap) {
    for (name, value) in [
        ("grpc-status", "5"),
        ("grpc-message", "gone%0AHello, you!%1B[2J"),
        ("grpc-status-details-bin", "no base64!"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[tokio::test]
async fn a_status_is_printed_whatever_is_in_it() -> Result {
    let pki = Pki::new()?;
    let changes: [Change; 2] = [
        // In the headers of the response, and in its trailers.
        |mut response| {
            failed(response.headers_mut());
            response
        },
        |mut response| {
            response.headers_mut().remove("grpc-status");
            let mut trailers = HeaderMap::new();
            failed(&mut trailers);
            let body = Full::new(Bytes::new()).with_trailers(future::ready(Some(Ok(trailers))));
            response.map(|_| Body::new(body))
        },
    ];
    for change in changes {
        let (output, printed) = run(&pki, &server(Some(&pki), change).await?).await?;
        let expected = "connected\nthe call failed\n  \
                        because: NotFound: gone\\nHello, you!\\u{1b}[2J\n";
        assert_eq!(printed, expected, "{output:?}");
        let (output, _) = careless(&pki, &server(None, change).await?).await?;
        let error = String::from_utf8(output.stderr)?;
        assert!(error.contains("gone") && !error.contains('\x1b'), "{error}");
        assert!(!error.contains("panicked"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_greeting_is_printed_whatever_is_in_it() -> Result {
    let pki = Pki::new()?;
    let change: Change = |mut response| {
        response.headers_mut().remove("grpc-status");
        let greeting = Bytes::from_static(b"\0\0\0\0\x07\x0a\x05\n\x1b[2J");
        let trailers = HeaderMap::from_iter([(
            "grpc-status".parse().expect("it is a name"),
            HeaderValue::from_static("0"),
        )]);
        let body = Full::new(greeting).with_trailers(future::ready(Some(Ok(trailers))));
        response.map(|_| Body::new(body))
    };
    let (_, printed) = run(&pki, &server(Some(&pki), change).await?).await?;
    assert_eq!(printed, "connected\n\\n\\u{1b}[2J\n");
    let (_, printed) = careless(&pki, &server(None, change).await?).await?;
    assert_eq!(printed, "\\n\\u{1b}[2J\n");
    Ok(())
}

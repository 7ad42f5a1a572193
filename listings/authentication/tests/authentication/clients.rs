//! The programs of the clients, with peers that are not as they should be.

use std::{fs, process::Output, time::Duration};

use authentication::{
    accounts::Accounts,
    certificates, channel,
    discovery::{Discovery, http_client},
    limit::within,
    pb::{GetBalanceRequest, account_service_server::AccountServiceServer},
    tokens::Tokens,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command, time::timeout};
use tokio_stream::StreamExt;
use tonic::{
    Code,
    body::Body,
    transport::{Server, ServerTlsConfig, server::TcpIncoming},
};
use tower::util::MapResponseLayer;

use crate::support::{EAGER, Result, SECRET, real_issuer, server_of, teller};

const HOUR: Duration = Duration::from_secs(3600);

/// No program needs as long.
const LONG: Duration = Duration::from_secs(60);

/// A folder with what the programs read, and the URI of a server whose responses are
/// what `change` makes of them.
async fn server(change: fn(Response<Body>) -> Response<Body>) -> Result<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    certificates::make(folder.path())?;
    fs::write(folder.path().join("teller.secret"), SECRET)?;
    let tls = ServerTlsConfig::new().identity(certificates::identity(folder.path())?);
    let server = Server::builder()
        .tls_config(tls)?
        .layer(MapResponseLayer::new(change))
        .add_service(AccountServiceServer::new(Accounts::new([])));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("https://{}", listener.local_addr()?);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok((folder, uri))
}

/// Runs `authentication-client` until it ends.
async fn run(folder: &TempDir, uri: &str, issuer: &str) -> Result<(Output, String)> {
    let mut client = Command::new(env!("CARGO_BIN_EXE_authentication-client"));
    client.args([uri, issuer]).arg(folder.path());
    output(client).await
}

async fn output(mut program: Command) -> Result<(Output, String)> {
    let output = timeout(LONG, program.kill_on_drop(true).output()).await??;
    let printed = String::from_utf8(output.stdout.clone())?;
    Ok((output, printed))
}

/// The body goes on with `frames`, and does not end.
fn endless(response: Response<Body>, frames: Vec<Frame<Bytes>>) -> Response<Body> {
    let frames = tokio_stream::iter(frames).map(Ok::<_, tonic::Status>);
    let body = StreamBody::new(frames.chain(tokio_stream::pending()));
    let mut headers = response.headers().clone();
    // A response that has a status here has ended.
    headers.remove("grpc-status");
    let mut response = Response::new(Body::new(body));
    *response.headers_mut() = headers;
    response
}

#[tokio::test]
async fn a_call_has_a_limit_that_does_not_end_with_the_headers() -> Result {
    let (_issuer, issuer) = real_issuer(HOUR, HOUR).await?;
    let changes: [fn(Response<Body>) -> Response<Body>; 3] = [
        |response| endless(response, Vec::new()),
        |response| {
            let half = Bytes::from_static(b"\0\0\0\0\x02\x08");
            endless(response, vec![Frame::data(half)])
        },
        |response| {
            let whole = Bytes::from_static(b"\0\0\0\0\x02\x08\x07");
            endless(response, vec![Frame::data(whole)])
        },
    ];
    for change in changes {
        let (folder, uri) = server(change).await?;
        let http = http_client()?;
        let discovery = Discovery::of(&http, &issuer).await?;
        let tokens = Tokens::fetch(http, discovery, teller("accounts.read")).await?;
        let authority = certificates::authority(folder.path())?;
        let mut client = channel::connect(&uri, authority, &tokens).await?;
        let call = client.get_balance(GetBalanceRequest {});
        let status = timeout(LONG, within(Duration::from_millis(100), call)).await?;
        let status = status.expect_err("it does not end");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    }
    // And the program has one for each call.
    let (folder, uri) = server(changes[0]).await?;
    let (_, printed) = run(&folder, &uri, &issuer).await?;
    assert_eq!(printed.matches("DeadlineExceeded").count(), 3, "{printed}");
    Ok(())
}

/// What tonic 0.14 panics at, with a message that a terminal would obey.
fn failed(headers: &mut HeaderMap) {
    for (name, value) in [
        ("grpc-status", "5"),
        ("grpc-message", "gone%0Abalance: 1%1B[2J"),
        ("grpc-status-details-bin", "no base64!"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[tokio::test]
async fn a_status_is_printed_whatever_is_in_it() -> Result {
    let (_issuer, issuer) = real_issuer(HOUR, HOUR).await?;
    let changes: [fn(Response<Body>) -> Response<Body>; 2] = [
        // In the headers of the response, and in its trailers.
        |mut response| {
            failed(response.headers_mut());
            response
        },
        |response| {
            let mut trailers = HeaderMap::new();
            failed(&mut trailers);
            endless(response, vec![Frame::trailers(trailers)])
        },
    ];
    for change in changes {
        let (folder, uri) = server(change).await?;
        let (output, printed) = run(&folder, &uri, &issuer).await?;
        let expected = ["balance", "transfer", "close"]
            .map(|call| format!("{call}: NotFound, gone\\nbalance: 1\\u{{1b}}[2J\n"));
        assert_eq!(printed, expected.concat(), "{output:?}");
    }
    Ok(())
}

/// A port that a machine of your own listens on is not for the proxy of your company.
#[tokio::test]
async fn no_secret_goes_to_a_proxy() -> Result {
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let (_issuer, issuer) = real_issuer(HOUR, HOUR).await?;
    let server = server_of(&issuer, EAGER).await?;
    let folder = server.folder();
    fs::write(folder.join("teller.secret"), SECRET)?;
    let mut client = Command::new(env!("CARGO_BIN_EXE_authentication-client"));
    client.args([&server.uri, &issuer]).arg(folder);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        let proxy = format!("http://{}", proxy.local_addr()?);
        client.env(name, &proxy).env(name.to_uppercase(), proxy);
    }
    client.env_remove("no_proxy").env_remove("NO_PROXY");
    // If it comes to the proxy, it waits there.
    tokio::select! {
        biased;
        _ = proxy.accept() => Err("a client came to the proxy".into()),
        ended = output(client) => {
            let (_, printed) = ended?;
            assert!(printed.contains("balance: 5000 cents"), "{printed}");
            Ok(())
        }
    }
}

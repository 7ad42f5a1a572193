//! The behaviour of tonic that the chapter `transport-security` describes.

use std::{fs, path::Path, time::Duration};

use anyhow::ensure;
use harness::{CapturedLog, Listing, Pki, Result, spawn_in_process};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tracing::Level;
use transport_security::{
    authority::Authority, causes::causes, pb::greeter_service_client::GreeterServiceClient,
};

use super::{CANCELLED_MESSAGES, SERVER, SIMPLE, run_client, say_hello};

#[harness::test]
async fn http_uri_is_plain_text_in_spite_of_a_tls_config() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server("transport-security-careless-server")?;
    let folder = pki.folder().to_owned();
    let output = listing.run(
        "transport-security-careless-client",
        [&server.uri(), &folder],
    )?;
    assert_eq!(output.text, "Hello, secret!\n");
    // A server with TLS rejects it, but the status does not mention TLS.
    let server = listing.server_with_args(SERVER, &[pki.folder()])?;
    let endpoint = Channel::from_shared(server.uri())?.timeout(Duration::from_secs(5));
    for _ in 0..20 {
        let status = say_hello(endpoint.connect().await?).await;
        let status = status.expect_err("the server accepts the call");
        let message = status.message();
        match status.code() {
            Code::Internal => assert_eq!(message, "h2 protocol error: http2 error"),
            Code::Cancelled => assert!(CANCELLED_MESSAGES.contains(&message), "{message}"),
            code => panic!("{code:?}"),
        }
    }
    Ok(())
}

/// A client has to name the authorities that it trusts.
#[harness::test]
async fn no_authority_is_trusted_by_default() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server_with_args(SERVER, &[pki.folder()])?;
    let uri = server.https_uri();
    let root_cause = |error: &(dyn std::error::Error + 'static)| {
        causes(error)
            .last()
            .map(ToString::to_string)
            .unwrap_or_default()
    };

    // Without any TLS configuration.
    let error = Endpoint::from_shared(uri.clone())?.connect().await;
    let error = error.expect_err("TLS is not configured");
    assert_eq!(
        root_cause(&error),
        "Connecting to HTTPS without TLS enabled"
    );

    // With TLS, but without a root certificate. `with_enabled_roots` adds none, since no feature of
    // tonic's for roots is enabled. The generated `connect` adds none either.
    for tls in [
        ClientTlsConfig::new(),
        ClientTlsConfig::new().with_enabled_roots(),
    ] {
        let endpoint = Endpoint::from_shared(uri.clone())?.tls_config(tls)?;
        let error = endpoint
            .connect()
            .await
            .expect_err("no authority is trusted");
        assert_eq!(
            root_cause(&error),
            "invalid peer certificate: UnknownIssuer"
        );
    }
    let error = GreeterServiceClient::connect(uri).await;
    let error = error.expect_err("no authority is trusted");
    assert_eq!(
        root_cause(&error),
        "invalid peer certificate: UnknownIssuer"
    );
    Ok(())
}

/// The certificate is checked against the host of the URI, unless `domain_name` is set.
#[harness::test]
async fn domain_name_overrides_the_name_in_the_uri() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    pki.issue(&listing, &["30", "greeter.example.org"])?;
    let server = listing.server_with_args(SERVER, &[pki.folder()])?;
    let (uri, ca) = (server.https_uri(), fs::read(pki.file("ca.pem"))?);
    let identity = Identity::from_pem(
        fs::read(pki.file("client.pem"))?,
        fs::read(pki.file("client.key"))?,
    );
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .identity(identity)
        .domain_name("greeter.example.org");
    let channel = Endpoint::from_shared(uri)?
        .tls_config(tls)?
        .connect()
        .await?;
    assert_eq!(say_hello(channel).await?, "Hello, 李雷! You are jack.");
    Ok(())
}

/// `connect_timeout` covers only TCP, so without `ClientTlsConfig::timeout` a client waits for a silent
/// server indefinitely.
#[harness::test]
async fn tls_handshake_has_its_own_timeout() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_client("spiffe://example.org/jack", 1)?;
    let ca = Certificate::from_pem(fs::read(folder.path().join("ca.pem"))?);
    // The kernel accepts connections, and no program reads from them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("https://{}", silent.local_addr()?);
    let limit = Duration::from_secs(1);
    let endpoint = |tls: ClientTlsConfig| {
        let endpoint = Endpoint::from_shared(uri.clone())?;
        endpoint.connect_timeout(limit).tls_config(tls)
    };
    let tls = ClientTlsConfig::new().ca_certificate(ca);
    let without_timeout = endpoint(tls.clone())?;
    let result = tokio::time::timeout(limit * 4, without_timeout.connect()).await;
    ensure!(result.is_err(), "{result:?}");
    let with_timeout = endpoint(tls.timeout(limit))?;
    let result = tokio::time::timeout(limit * 60, with_timeout.connect()).await?;
    ensure!(result.is_err());
    Ok(())
}

/// The client accepts only the first certificate: the second is for another name.
#[harness::test]
fn tonic_server_does_not_reload_its_certificate() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server_with_args(SIMPLE, &[pki.folder()])?;
    pki.issue(&listing, &["30", "greeter.example.org"])?;
    let output = run_client(&listing, &pki, &server)?;
    assert_eq!(output.text, "connected\nHello, 李雷! You are jack.\n");
    Ok(())
}

/// Whether tonic's own server, with `timeout`, closes a connection that is silent for `silence`. The
/// connection is in memory, so that the clock can be paused.
async fn closes_silent_connection(
    folder: &Path,
    timeout: Option<Duration>,
    silence: Duration,
) -> Result<bool> {
    let read = |name| fs::read(folder.join(name));
    let mut tls = tonic::transport::ServerTlsConfig::new()
        .identity(Identity::from_pem(read("server.pem")?, read("server.key")?));
    if let Some(timeout) = timeout {
        tls = tls.timeout(timeout);
    }
    let server = tonic::transport::Server::builder()
        .tls_config(tls)?
        .add_routes(tonic::service::Routes::default());
    let (mut client, connection) = tokio::io::duplex(1024);
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(connection));
    // Without a next connection to wait for, the server would stop.
    let incoming = tokio_stream::StreamExt::chain(incoming, tokio_stream::pending());
    tokio::spawn(server.serve_with_incoming(incoming));
    let mut received = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut client, &mut received);
    Ok(tokio::time::timeout(silence, closed).await.is_ok())
}

#[harness::test(paused)]
async fn tonic_server_has_no_handshake_timeout_by_default() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_server(&["localhost".to_owned()], 1)?;
    let limit = Duration::from_secs(5);
    assert!(!closes_silent_connection(folder.path(), None, limit * 1000).await?);
    assert!(closes_silent_connection(folder.path(), Some(limit), limit * 2).await?);
    Ok(())
}

#[harness::test(current_thread)]
async fn tonic_server_logs_handshake_errors_at_debug_level() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_server(&["localhost".to_owned()], 1)?;
    let read = |name| fs::read(folder.path().join(name));
    let tls = tonic::transport::ServerTlsConfig::new()
        .identity(Identity::from_pem(read("server.pem")?, read("server.key")?));
    let server = tonic::transport::Server::builder()
        .tls_config(tls)?
        .add_routes(tonic::service::Routes::default());
    let mut log = CapturedLog::start(Level::DEBUG);
    let address = spawn_in_process(server).await?;
    let mut connection = tokio::net::TcpStream::connect(address).await?;
    tokio::io::AsyncWriteExt::write_all(&mut connection, "李雷".as_bytes()).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut connection).await?;
    let line = log.wait_for_text("tls accept error").await?;
    ensure!(line.contains("DEBUG"), "{line}");
    Ok(())
}

/// If a process has no file descriptor left, which is error 24, tonic accepts again immediately.
#[harness::test(paused)]
async fn tonic_server_does_not_back_off_when_accepting_fails() -> Result {
    let out_of_files = || Err::<tokio::io::DuplexStream, _>(std::io::Error::from_raw_os_error(24));
    let incoming = tokio_stream::iter((0..1000).map(|_| out_of_files()));
    let began = Instant::now();
    let server = tonic::transport::Server::builder().add_routes(tonic::service::Routes::default());
    server.serve_with_incoming(incoming).await?;
    ensure!(began.elapsed().is_zero());
    Ok(())
}

/// Of tonic's types for TLS, two show the key in `Debug`.
#[harness::test]
fn debug_of_an_identity_shows_its_key() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_client("spiffe://example.org/jack", 1)?;
    let key = fs::read(folder.path().join("client.key"))?;
    let identity = Identity::from_pem(fs::read(folder.path().join("client.pem"))?, &key);
    let key_text = format!("{key:?}");
    ensure!(format!("{identity:?}").contains(&key_text));
    let tls = ClientTlsConfig::new().identity(identity.clone());
    ensure!(format!("{tls:?}").contains(&key_text));
    // The other types do not.
    let server = tonic::transport::ServerTlsConfig::new().identity(identity);
    ensure!(!format!("{server:?}").contains(&key_text));
    let endpoint = Endpoint::from_static("https://127.0.0.1:1").tls_config(tls)?;
    ensure!(!format!("{endpoint:?}").contains(&key_text));
    Ok(())
}

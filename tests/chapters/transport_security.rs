//! A greeter that knows whom it talks to, as its reader runs it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use harness::{Listing, Result, workspace};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use transport_security::{
    authority::Authority,
    causes::causes,
    connect::Files,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
};
use xtask::{
    bench::Measured,
    program::{Ended, Keyboard, Program},
};

const SERVER: &str = "transport-security-server";
const SIMPLE: &str = "transport-security-simple-server";
const CLIENT: &str = "transport-security-client";
const AUTHORITY: &str = "transport-security-authority";

/// What is said of a call whose connection ends as it begins. The second: the request
/// was handed over just then, and nobody had it any more (hyper's issue 4122).
const CANCELLED: [&str; 2] = ["operation was canceled", "Timeout expired"];

/// A folder with what the authority of the listing has issued.
pub struct Pki(pub TempDir);

impl Pki {
    pub fn new(listing: &Listing) -> Result<Self> {
        let pki = Self(TempDir::new()?);
        pki.issue(listing, &[])?;
        Ok(pki)
    }

    fn issue(&self, listing: &Listing, arguments: &[&str]) -> Result {
        let end = listing.run(AUTHORITY, [&[self.folder()], arguments].concat())?;
        ensure!(end.code == 0, "{}", end.output);
        Ok(())
    }

    pub fn folder(&self) -> &str {
        self.0.path().to_str().unwrap_or_default()
    }

    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder())
    }

    /// Runs the client of the listing, with its own files.
    fn client(&self, listing: &Listing, server: &harness::Server) -> Result<Ended> {
        let [ca, certificate, key] =
            ["ca.pem", "client.pem", "client.key"].map(|name| self.file(name));
        listing.run(CLIENT, [https(server), ca, certificate, key])
    }

    fn files(&self) -> Files {
        Files {
            ca: self.file("ca.pem").into(),
            identity: Some((
                self.file("client.pem").into(),
                self.file("client.key").into(),
            )),
        }
    }
}

fn https(server: &harness::Server) -> String {
    server.uri().replace("http://", "https://")
}

async fn hello(channel: Channel) -> Result<String, Status> {
    let name = "李雷".to_owned();
    let response = GreeterServiceClient::new(channel)
        .say_hello(SayHelloRequest { name })
        .await?;
    Ok(response.into_inner().message)
}

/// What the client and the log of the server say of each that is refused.
#[test]
fn each_refusal_is_told_to_both() -> Result {
    let listing = Listing::build("transport-security")?;
    let (pki, other, expired) = (
        Pki::new(&listing)?,
        Pki::new(&listing)?,
        Pki::new(&listing)?,
    );
    // The same authority, and certificates that have expired.
    for name in ["ca.pem", "ca.key"] {
        fs::copy(pki.file(name), expired.file(name))?;
    }
    expired.issue(&listing, &["-1"])?;
    let ours = (pki.file("client.pem"), pki.file("client.key"));
    for (ca, identity, client_says, log_says) in [
        (
            &pki,
            None,
            "CertificateRequired",
            "peer sent no certificates",
        ),
        (
            &pki,
            Some(&other),
            "UnknownCA",
            "certificate: UnknownIssuer",
        ),
        (
            &pki,
            Some(&expired),
            "CertificateExpired",
            "certificate expired",
        ),
        (
            &other,
            Some(&pki),
            "certificate: UnknownIssuer",
            "fatal alert: UnknownCA",
        ),
    ] {
        let mut server = listing.server_with(SERVER, &[pki.folder()])?;
        let mut arguments = vec![https(&server), ca.file("ca.pem")];
        if let Some(identity) = identity {
            arguments.push(identity.file("client.pem"));
            arguments.push(identity.file("client.key"));
        }
        let end = listing.run(CLIENT, &arguments)?;
        ensure!(
            end.code == 1 && end.output.contains(client_says),
            "{}",
            end.output
        );
        server.program.wait_for_text(log_says)?;
        let log = server.stop()?.output;
        ensure!(!log.contains("greeting"), "{log}");
    }
    // A server that the client does not trust. Of what is wrong with its name or its
    // time, it hears that its certificate is bad.
    for (folder, says, alert) in [
        (&expired, "has expired", "CertificateExpired"),
        (&pki, "for another name", "BadCertificate"),
    ] {
        if alert == "BadCertificate" {
            pki.issue(&listing, &["30", "greeter.example.org"])?;
        }
        let server = listing.server_with(SIMPLE, &[folder.folder()])?;
        let arguments = [&https(&server), &pki.file("ca.pem"), &ours.0, &ours.1];
        let end = listing.run(CLIENT, arguments)?;
        ensure!(end.code == 1 && end.output.contains(says), "{}", end.output);
        let log = server.stop()?.output;
        // tonic's own server has nothing to say of it at INFO.
        ensure!(!log.contains("greeting") && !log.contains(alert), "{log}");
    }
    Ok(())
}

/// With TLS 1.3, and with tonic's own server too: the refusal comes with the first
/// call, in one of three forms, and only one of them has the cause, as text.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_the_first_call_fails_in_one_of_three_ways() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    for server in [SERVER, SIMPLE] {
        let server = listing.server_with(server, &[pki.folder()])?;
        let nobody = Files {
            identity: None,
            ..pki.files()
        };
        let endpoint = nobody.endpoint(&https(&server)).await?;
        for _ in 0..30 {
            // This succeeds.
            let channel = endpoint.connect().await?;
            let status = hello(channel).await.expect_err("it was let in");
            let all: Vec<_> = causes(&status).map(ToString::to_string).collect();
            let all = all.join(", ");
            match status.code() {
                Code::Unknown => assert_eq!(status.message(), "transport error", "{all}"),
                Code::Cancelled => {
                    ensure!(CANCELLED.contains(&status.message()), "{all}");
                    ensure!(!all.contains("alert"), "{all}");
                }
                other => panic!("{other:?}: {all}"),
            }
            // In neither is there an error of rustls.
            ensure!(
                !causes(&status).any(|cause| cause.is::<rustls::Error>()),
                "{all}"
            );
        }
        let Err(error) = nobody.check(endpoint.uri()).await else {
            panic!("it was let in");
        };
        ensure!(
            causes(error.as_ref()).any(|cause| cause.is::<rustls::Error>()),
            "{error:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn http_with_tls_is_plain_text() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server("transport-security-careless-server")?;
    let folder = pki.folder().to_owned();
    let end = listing.run(
        "transport-security-careless-client",
        [&server.uri(), &folder],
    )?;
    assert_eq!(end.output, "Hello, secret!\n");
    // On a port with TLS it fails, and nothing is said of TLS.
    let server = listing.server_with(SERVER, &[pki.folder()])?;
    let endpoint = Channel::from_shared(server.uri())?.timeout(Duration::from_secs(5));
    for _ in 0..20 {
        let status = hello(endpoint.connect().await?).await;
        let status = status.expect_err("it was let in");
        let message = status.message();
        match status.code() {
            Code::Internal => assert_eq!(message, "h2 protocol error: http2 error"),
            Code::Cancelled => assert!(CANCELLED.contains(&message), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// Whom a client trusts: nobody, unless it is told.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_trusted_by_default() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server_with(SERVER, &[pki.folder()])?;
    let uri = https(&server);
    let said = |error: &(dyn std::error::Error + 'static)| {
        causes(error)
            .last()
            .map(ToString::to_string)
            .unwrap_or_default()
    };

    // No TLS is configured at all.
    let error = Endpoint::from_shared(uri.clone())?.connect().await;
    let error = error.expect_err("it is not configured");
    assert_eq!(said(&error), "Connecting to HTTPS without TLS enabled");

    // It is, and no root is named; nor does the generated `connect` know one. (With no
    // feature for roots, `with_enabled_roots` enables none.)
    for tls in [
        ClientTlsConfig::new(),
        ClientTlsConfig::new().with_enabled_roots(),
    ] {
        let endpoint = Endpoint::from_shared(uri.clone())?.tls_config(tls)?;
        let error = endpoint.connect().await.expect_err("nobody is trusted");
        assert_eq!(said(&error), "invalid peer certificate: UnknownIssuer");
    }
    let error = GreeterServiceClient::connect(uri).await;
    let error = error.expect_err("nobody is trusted");
    assert_eq!(said(&error), "invalid peer certificate: UnknownIssuer");
    Ok(())
}

/// The name that is checked is the URI's, unless another one is given.
#[tokio::test(flavor = "multi_thread")]
async fn another_name_can_be_asked_for() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    pki.issue(&listing, &["30", "greeter.example.org"])?;
    let server = listing.server_with(SERVER, &[pki.folder()])?;
    let (uri, ca) = (https(&server), fs::read(pki.file("ca.pem"))?);
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
    assert_eq!(hello(channel).await?, "Hello, 李雷! You are jack.");
    Ok(())
}

/// `connect_timeout` is over when TCP has connected: a server that says nothing is
/// waited for.
#[tokio::test]
async fn the_handshake_has_a_limit_of_its_own() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_client("spiffe://example.org/jack", 1)?;
    let ca = Certificate::from_pem(fs::read(folder.path().join("ca.pem"))?);
    // It accepts no connection: the kernel does.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("https://{}", silent.local_addr()?);
    let limit = Duration::from_secs(1);
    let endpoint = |tls: ClientTlsConfig| {
        let endpoint = Endpoint::from_shared(uri.clone())?;
        endpoint.connect_timeout(limit).tls_config(tls)
    };
    let tls = ClientTlsConfig::new().ca_certificate(ca);
    let without = endpoint(tls.clone())?;
    let waiting = tokio::time::timeout(limit * 4, without.connect()).await;
    ensure!(waiting.is_err(), "{waiting:?}");
    let with = endpoint(tls.timeout(limit))?;
    let ended = tokio::time::timeout(limit * 60, with.connect()).await?;
    ensure!(ended.is_err());
    Ok(())
}

/// It goes on with the old certificate, which is for this address; the new one is not.
#[test]
fn tonic_s_own_server_reads_its_certificate_once() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server_with(SIMPLE, &[pki.folder()])?;
    pki.issue(&listing, &["30", "greeter.example.org"])?;
    let end = pki.client(&listing, &server)?;
    assert_eq!(end.output, "connected\nHello, 李雷! You are jack.\n");
    Ok(())
}

/// tonic's own server, in memory, and with a paused clock.
async fn simple(folder: &Path, timeout: Option<Duration>, silence: Duration) -> Result<bool> {
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
    // It would end with its last connection, if it had no more to come.
    let incoming = tokio_stream::StreamExt::chain(incoming, tokio_stream::pending());
    tokio::spawn(server.serve_with_incoming(incoming));
    let mut nothing = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut client, &mut nothing);
    Ok(tokio::time::timeout(silence, closed).await.is_ok())
}

#[tokio::test(start_paused = true)]
async fn tonic_s_own_server_waits_for_ever_unless_it_is_told() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_server(&["localhost".to_owned()], 1)?;
    let limit = Duration::from_secs(5);
    assert!(!simple(folder.path(), None, limit * 1000).await?);
    assert!(simple(folder.path(), Some(limit), limit * 2).await?);
    Ok(())
}

/// What it says of those it refuses.
#[tokio::test]
async fn tonic_s_own_server_tells_of_refusals_at_debug_alone() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_server(&["localhost".to_owned()], 1)?;
    let read = |name| fs::read(folder.path().join(name));
    let tls = tonic::transport::ServerTlsConfig::new()
        .identity(Identity::from_pem(read("server.pem")?, read("server.key")?));
    let server = tonic::transport::Server::builder()
        .tls_config(tls)?
        .add_routes(tonic::service::Routes::default());
    let (tell, mut lines) = tokio::sync::mpsc::channel(1000);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(move || Lines(tell.clone()))
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let address = crate::serving(server).await?;
    let mut connection = tokio::net::TcpStream::connect(address).await?;
    tokio::io::AsyncWriteExt::write_all(&mut connection, "李雷".as_bytes()).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut connection).await?;
    let error = loop {
        let line = lines.recv().await.context("nobody logs")?;
        if line.contains("tls accept error") {
            break line;
        }
    };
    ensure!(error.contains("DEBUG"), "{error}");
    Ok(())
}

/// Where a log goes.
struct Lines(tokio::sync::mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line).into_owned();
        self.0.try_send(text).map_err(std::io::Error::other)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// When a process has no file left, which is error 24, it goes on, and asks again at
/// once.
#[tokio::test(start_paused = true)]
async fn tonic_s_server_does_not_pause_when_accepting_fails() -> Result {
    let no_file_left = || Err::<tokio::io::DuplexStream, _>(std::io::Error::from_raw_os_error(24));
    let incoming = tokio_stream::iter((0..1000).map(|_| no_file_left()));
    let began = Instant::now();
    let server = tonic::transport::Server::builder().add_routes(tonic::service::Routes::default());
    server.serve_with_incoming(incoming).await?;
    ensure!(began.elapsed().is_zero());
    Ok(())
}

/// tonic's types: two of them show the key that is in them.
#[test]
fn a_debug_of_an_identity_is_its_key() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_client("spiffe://example.org/jack", 1)?;
    let key = fs::read(folder.path().join("client.key"))?;
    let identity = Identity::from_pem(fs::read(folder.path().join("client.pem"))?, &key);
    let shown = format!("{key:?}");
    ensure!(format!("{identity:?}").contains(&shown));
    let tls = ClientTlsConfig::new().identity(identity.clone());
    ensure!(format!("{tls:?}").contains(&shown));
    // The others do not.
    let server = tonic::transport::ServerTlsConfig::new().identity(identity);
    ensure!(!format!("{server:?}").contains(&shown));
    let endpoint = Endpoint::from_static("https://127.0.0.1:1").tls_config(tls)?;
    ensure!(!format!("{endpoint:?}").contains(&shown));
    Ok(())
}

/// Neither in what the programs print, nor when a key is no key.
#[test]
fn no_program_prints_a_key() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let mut server = listing.server_with(SERVER, &[pki.folder()])?;
    let key = fs::read_to_string(pki.file("server.key"))?;
    let mut printed = listing.run(AUTHORITY, [pki.folder()])?.output;
    server.program.hang_up()?;
    server.program.wait_for_text("new certificate")?;
    let newer = fs::read_to_string(pki.file("server.key"))?;
    fs::write(pki.file("server.key"), &newer[..newer.len() - 60])?;
    server.program.hang_up()?;
    server.program.wait_for_text("the old certificate stays")?;
    printed += &server.stop()?.output;
    printed += &listing.run(SERVER, ["127.0.0.1:0", pki.folder()])?.output;
    let (ca, half) = (pki.file("ca.pem"), pki.file("server.key"));
    let arguments = ["https://127.0.0.1:1", &ca, &pki.file("client.pem"), &half];
    printed += &listing.run(CLIENT, arguments)?.output;
    let ca_key = fs::read_to_string(pki.file("ca.key"))?;
    for line in [key, newer, ca_key].iter().flat_map(|key| key.lines()) {
        ensure!(
            line.starts_with('-') || !printed.contains(line),
            "{printed}"
        );
    }
    Ok(())
}

#[test]
fn the_programs_say_what_they_take() -> Result {
    let listing = Listing::build("transport-security")?;
    let empty = TempDir::new()?;
    let nowhere = empty.path().join("pki");
    let nowhere = nowhere.to_str().context("its name is text")?;
    for (name, arguments, says) in [
        (SERVER, &["127.0.0.1:0", nowhere][..], "cannot read"),
        (CLIENT, &["https://127.0.0.1:1", nowhere], "cannot read"),
        (CLIENT, &["http://127.0.0.1:1", nowhere], "is not https://"),
        (CLIENT, &["a", "b", "c"], "say URI CA CERTIFICATE KEY"),
        (AUTHORITY, &[nowhere, "soon"], "is no number of days"),
        (AUTHORITY, &[nowhere, "10000"], "say 365 at most"),
    ] {
        let end = listing.run(name, arguments)?;
        ensure!(end.code == 1 && end.output.contains(says), "{}", end.output);
    }
    Ok(())
}

/// The ports of a server that a hundred silent ones have come to, and that is asked to
/// end while they are there.
#[test]
fn silent_ones_hold_up_neither_a_call_nor_the_end() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server_with(SERVER, &[pki.folder()])?;
    let silent: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(server.address))
        .collect::<Result<_, _>>()?;
    let end = pki.client(&listing, &server)?;
    assert_eq!(end.output, "connected\nHello, 李雷! You are jack.\n");
    let mut program = server.program;
    program.terminate()?;
    assert_eq!(program.end()?.code, 0);
    drop(silent);
    Ok(())
}

/// The certificate of the server that listens at `address` has to be this one.
fn written(pki: &Pki) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(pki.file("server.pem"))?)
}

/// Renews the certificate of a running server.
fn renew(listing: &Listing, pki: &Pki, server: &mut Program, keyboard: &mut Keyboard) -> Result {
    let before = written(pki)?;
    pki.issue(listing, &[])?;
    ensure!(written(pki)? != before, "it is the same");
    server.hang_up()?;
    keyboard.wait_for("new certificate")
}

/// Calls on one connection, and calls each on a connection of its own, for so long:
/// how many there were, and what failed.
async fn load(
    files: Files,
    uri: String,
    callers: usize,
    done: Arc<AtomicBool>,
) -> Result<(u64, u64)> {
    let endpoint = files.endpoint(&uri).await?;
    let channel = endpoint.connect().await?;
    let mut all = JoinSet::new();
    for number in 0..callers {
        let (endpoint, channel, done) = (endpoint.clone(), channel.clone(), Arc::clone(&done));
        let own = number % 2 == 0;
        all.spawn(async move {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                let channel = if own {
                    endpoint.connect().await?
                } else {
                    channel.clone()
                };
                let message = hello(channel).await?;
                ensure!(message == "Hello, 李雷! You are jack.", "{message}");
                calls += 1;
            }
            Ok((own, calls))
        });
    }
    let mut counts = (0, 0);
    while let Some(caller) = all.join_next().await {
        let (own, calls) = caller??;
        if own {
            counts.0 += calls;
        } else {
            counts.1 += calls;
        }
    }
    Ok(counts)
}

/// Renews so often, at most for so long, while calls go on; none of them may fail.
async fn renewals(renewals: usize, time: Duration) -> Result<(usize, (u64, u64))> {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    // A copy: the client's own files are not what is renewed here.
    let client = TempDir::new()?;
    for name in ["ca.pem", "client.pem", "client.key"] {
        fs::copy(pki.file(name), client.path().join(name))?;
    }
    let file = |name: &str| client.path().join(name);
    let files = Files {
        ca: file("ca.pem"),
        identity: Some((file("client.pem"), file("client.key"))),
    };
    let arguments = ["127.0.0.1:0", pki.folder()];
    let (mut program, mut keyboard) = listing.start_with_keyboard(SERVER, arguments)?;
    let line = program.wait_for("listening on ")?;
    keyboard.wait_for("listening on ")?;
    let address: SocketAddr = line.trim_start_matches("listening on ").parse()?;
    let uri = format!("https://{address}");
    let done = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(files, uri, 8, Arc::clone(&done)));
    let (renewing, over) = (Arc::clone(&done), std::time::Instant::now() + time);
    let renewed = tokio::task::spawn_blocking(move || {
        let mut renewed = 0;
        let result = loop {
            if renewed == renewals || std::time::Instant::now() > over {
                break Ok(());
            }
            if let Err(error) = renew(&listing, &pki, &mut program, &mut keyboard) {
                break Err(error);
            }
            renewed += 1;
        };
        // Whatever comes of it, the callers end.
        renewing.store(true, Ordering::Relaxed);
        // The server comes back: calls are still under way to it.
        (result.map(|()| renewed), program)
    });
    let (renewed, _server) = renewed.await?;
    Ok((renewed?, load.await??))
}

#[tokio::test(flavor = "multi_thread")]
async fn renewing_fails_no_call() -> Result {
    let (renewed, (connections, calls)) = renewals(5, Duration::from_secs(60)).await?;
    assert_eq!(renewed, 5);
    ensure!(connections > 0 && calls > 0, "{connections} and {calls}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a minute: certificates are renewed under load"]
async fn no_call_fails_while_certificates_are_renewed_under_load() -> Result {
    let minute = Duration::from_secs(60);
    let (renewed, (connections, calls)) = renewals(usize::MAX, minute).await?;
    println!("{renewed} renewals, {connections} connections, {calls} calls on one, none failed");
    ensure!(renewed > 10 && connections > 100 && calls > 100);
    Ok(())
}

/// A bad pair, SIGHUP after SIGHUP: the server goes on with the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_pair_changes_nothing() -> Result {
    let listing = Listing::build("transport-security")?;
    let (pki, other) = (Pki::new(&listing)?, Pki::new(&listing)?);
    let mut server = listing.server_with(SERVER, &[pki.folder()])?;
    let endpoint = pki.files().endpoint(&https(&server)).await?;
    fs::copy(other.file("server.key"), pki.file("server.key"))?;
    server.program.hang_up()?;
    server.program.wait_for_text("are no pair")?;
    hello(endpoint.connect().await?).await?;
    let log = server.stop()?.output;
    ensure!(log.contains("the old certificate stays") && !log.contains("new certificate"));
    Ok(())
}

/// What stands on the page is what the bytes of the alert are.
#[test]
fn tls_1_1_gets_an_alert() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let mut server = listing.server_with(SERVER, &[pki.folder()])?;
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, one cipher, no compression, and signature_algorithms.
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 1]);
    let length = u8::try_from(hello.len())?;
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut connection = TcpStream::connect(server.address)?;
    connection.write_all(&record)?;
    connection.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    // An alert; fatal, protocol_version.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]));
    server.program.wait_for_text("Tls12NotOffered")?;
    Ok(())
}

/// What the page says of the figures.
#[test]
fn tls_costs_what_the_page_says() -> Result {
    let measured = Measured::read(&workspace(), "transport-security")?;
    let measured = measured.context("it was measured")?;
    for calls in ["calls by 1", "calls by 10", "calls by 100"] {
        for (column, most) in [("TLS / plain text", 1.1), ("mutual TLS / plain text", 1.25)] {
            let ratio = measured.number(&[calls], column)?;
            ensure!((0.95..most).contains(&ratio), "{calls}, {column}: {ratio}");
        }
    }
    let tls = measured.number(&["a connection"], "TLS / plain text")?;
    let mutual = measured.number(&["a connection"], "mutual TLS / plain text")?;
    ensure!(
        (2.0..4.0).contains(&tls) && (3.0..6.0).contains(&mutual),
        "{tls} {mutual}"
    );
    ensure!(measured.number(&["mutual TLS"], "connections/s")? > 1000.0);
    Ok(())
}

/// Nothing that is secret is in the book.
#[test]
fn no_key_is_in_the_listing() -> Result {
    let listing = workspace().listing("transport-security");
    let files = xtask::export::sources(&workspace(), "transport-security")?;
    for file in files {
        ensure!(
            !file.text.contains("BEGIN PRIVATE KEY"),
            "{}",
            file.book.display()
        );
    }
    ensure!(Path::new(&listing).exists(), anyhow!("there is no listing"));
    Ok(())
}

//! The chapter `transport-security`, as its reader runs it.

mod facts;
mod renewal;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, anyhow, ensure};
use harness::{Listing, Pki, Result, Server, workspace};
use stage::{bench::Results, process::Output};
use tempfile::TempDir;
use tonic::{Code, Status, transport::Channel};
use transport_security::{
    causes::causes,
    connect::Files,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
};

const SERVER: &str = "transport-security-server";
const SIMPLE: &str = "transport-security-simple-server";
const CLIENT: &str = "transport-security-client";
const AUTHORITY: &str = "transport-security-authority";

/// The status messages of a call whose connection closes as the call begins. It times out if hyper
/// loses the request in the closing connection (hyper's issue 4122).
const CANCELLED_MESSAGES: [&str; 2] = ["operation was canceled", "Timeout expired"];

/// Runs the client of the listing with the client's files of `pki`.
fn run_client(listing: &Listing, pki: &Pki, server: &Server) -> Result<Output> {
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| pki.file(name));
    listing.run(CLIENT, [server.https_uri(), ca, certificate, key])
}

/// The files of a client, for the listing's own way of connecting.
fn client_files(pki: &Pki) -> Files {
    Files {
        ca: pki.file("ca.pem").into(),
        identity: Some((pki.file("client.pem").into(), pki.file("client.key").into())),
    }
}

async fn say_hello(channel: Channel) -> Result<String, Status> {
    let name = "李雷".to_owned();
    let response = GreeterServiceClient::new(channel)
        .say_hello(SayHelloRequest { name })
        .await?;
    Ok(response.into_inner().message)
}

/// The client prints a cause, and the server logs one.
#[harness::test]
fn rejected_handshakes_are_reported_by_both_sides() -> Result {
    let listing = Listing::build("transport-security")?;
    let (pki, foreign, expired) = (
        Pki::new(&listing)?,
        Pki::new(&listing)?,
        Pki::new(&listing)?,
    );
    // Expired certificates of the same authority.
    for name in ["ca.pem", "ca.key"] {
        fs::copy(pki.file(name), expired.file(name))?;
    }
    expired.issue(&listing, &["-1"])?;
    let identity_files = (pki.file("client.pem"), pki.file("client.key"));
    for (ca, identity, client_message, log_message) in [
        (
            &pki,
            None,
            "CertificateRequired",
            "peer sent no certificates",
        ),
        (
            &pki,
            Some(&foreign),
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
            &foreign,
            Some(&pki),
            "certificate: UnknownIssuer",
            "fatal alert: UnknownCA",
        ),
    ] {
        let mut server = listing.server_with_args(SERVER, &[pki.folder()])?;
        let mut arguments = vec![server.https_uri(), ca.file("ca.pem")];
        if let Some(identity) = identity {
            arguments.push(identity.file("client.pem"));
            arguments.push(identity.file("client.key"));
        }
        let output = listing.run(CLIENT, &arguments)?;
        ensure!(
            output.code == 1 && output.text.contains(client_message),
            "{}",
            output.text
        );
        server.process.wait_for_text(log_message)?;
        let log = server.stop()?.text;
        ensure!(!log.contains("greeting"), "{log}");
    }
    // A server that the client does not trust, because its certificate has expired or is for another
    // name.
    for (server_pki, message, alert) in [
        (&expired, "has expired", "CertificateExpired"),
        (&pki, "for another name", "BadCertificate"),
    ] {
        if alert == "BadCertificate" {
            pki.issue(&listing, &["30", "greeter.example.org"])?;
        }
        let server = listing.server_with_args(SIMPLE, &[server_pki.folder()])?;
        let arguments = [
            &server.https_uri(),
            &pki.file("ca.pem"),
            &identity_files.0,
            &identity_files.1,
        ];
        let output = listing.run(CLIENT, arguments)?;
        ensure!(
            output.code == 1 && output.text.contains(message),
            "{}",
            output.text
        );
        let log = server.stop()?.text;
        // tonic's own server logs nothing of it at INFO.
        ensure!(!log.contains("greeting") && !log.contains(alert), "{log}");
    }
    Ok(())
}

/// With TLS 1.3, the client learns of the rejection only in its first call, in one of three forms,
/// and only one of them contains the cause, as text. The same holds for tonic's own server.
#[harness::test]
async fn first_call_without_a_certificate_fails_in_three_ways() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    for server in [SERVER, SIMPLE] {
        let server = listing.server_with_args(server, &[pki.folder()])?;
        let anonymous = Files {
            identity: None,
            ..client_files(&pki)
        };
        let endpoint = anonymous.endpoint(&server.https_uri()).await?;
        for _ in 0..30 {
            // The handshake succeeds.
            let channel = endpoint.connect().await?;
            let status = say_hello(channel)
                .await
                .expect_err("the server accepts the call");
            let chain: Vec<_> = causes(&status).map(ToString::to_string).collect();
            let chain = chain.join(", ");
            match status.code() {
                Code::Unknown => assert_eq!(status.message(), "transport error", "{chain}"),
                Code::Cancelled => {
                    ensure!(CANCELLED_MESSAGES.contains(&status.message()), "{chain}");
                    ensure!(!chain.contains("alert"), "{chain}");
                }
                code => panic!("{code:?}: {chain}"),
            }
            // None of the forms has an error of rustls as a cause.
            ensure!(
                !causes(&status).any(|cause| cause.is::<rustls::Error>()),
                "{chain}"
            );
        }
        let Err(error) = anonymous.check(endpoint.uri()).await else {
            panic!("the server accepts the connection");
        };
        ensure!(
            causes(error.as_ref()).any(|cause| cause.is::<rustls::Error>()),
            "{error:?}"
        );
    }
    Ok(())
}

/// Not even when a key file is broken.
#[harness::test]
fn keys_are_never_printed() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let mut server = listing.server_with_args(SERVER, &[pki.folder()])?;
    let key = fs::read_to_string(pki.file("server.key"))?;
    let mut printed = listing.run(AUTHORITY, [pki.folder()])?.text;
    server.process.hang_up()?;
    server.process.wait_for_text("new certificate")?;
    let new_key = fs::read_to_string(pki.file("server.key"))?;
    fs::write(pki.file("server.key"), &new_key[..new_key.len() - 60])?;
    server.process.hang_up()?;
    server.process.wait_for_text("the old certificate stays")?;
    printed += &server.stop()?.text;
    printed += &listing.run(SERVER, ["127.0.0.1:0", pki.folder()])?.text;
    let (ca, broken_key) = (pki.file("ca.pem"), pki.file("server.key"));
    let arguments = [
        "https://127.0.0.1:1",
        &ca,
        &pki.file("client.pem"),
        &broken_key,
    ];
    printed += &listing.run(CLIENT, arguments)?.text;
    let ca_key = fs::read_to_string(pki.file("ca.key"))?;
    for line in [key, new_key, ca_key].iter().flat_map(|key| key.lines()) {
        ensure!(
            line.starts_with('-') || !printed.contains(line),
            "{printed}"
        );
    }
    Ok(())
}

#[harness::test]
fn invalid_arguments_are_reported() -> Result {
    let listing = Listing::build("transport-security")?;
    let empty = TempDir::new()?;
    let missing = empty.path().join("pki");
    let missing = missing.to_str().context("the path is not UTF-8")?;
    for (name, arguments, message) in [
        (SERVER, &["127.0.0.1:0", missing][..], "cannot read"),
        (CLIENT, &["https://127.0.0.1:1", missing], "cannot read"),
        (CLIENT, &["http://127.0.0.1:1", missing], "is not https://"),
        (CLIENT, &["a", "b", "c"], "say URI CA CERTIFICATE KEY"),
        (AUTHORITY, &[missing, "soon"], "is no number of days"),
        (AUTHORITY, &[missing, "10000"], "say 365 at most"),
    ] {
        let output = listing.run(name, arguments)?;
        ensure!(
            output.code == 1 && output.text.contains(message),
            "{}",
            output.text
        );
    }
    Ok(())
}

/// A hundred connections send nothing, and stay open while the server is stopped.
#[harness::test]
fn idle_connections_do_not_block_calls_or_shutdown() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let server = listing.server_with_args(SERVER, &[pki.folder()])?;
    let connections: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(server.address))
        .collect::<Result<_, _>>()?;
    let output = run_client(&listing, &pki, &server)?;
    assert_eq!(output.text, "connected\nHello, 李雷! You are jack.\n");
    let mut process = server.process;
    process.terminate()?;
    assert_eq!(process.wait()?.code, 0);
    drop(connections);
    Ok(())
}

/// The page names the alert.
#[harness::test]
fn tls_1_1_client_gets_an_alert() -> Result {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    let mut server = listing.server_with_args(SERVER, &[pki.folder()])?;
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, one cipher suite, no compression, and the extension signature_algorithms.
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 1]);
    let length = u8::try_from(hello.len())?;
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut connection = TcpStream::connect(server.address)?;
    connection.write_all(&record)?;
    connection.shutdown(std::net::Shutdown::Write)?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response)?;
    // An alert record with the alert `protocol_version`, which is fatal.
    assert_eq!((response[0], &response[5..]), (21, &[2, 70][..]));
    server.process.wait_for_text("Tls12NotOffered")?;
    Ok(())
}

/// The statements of the page hold for the recorded results.
#[harness::test]
fn page_agrees_with_the_benchmark() -> Result {
    let results = Results::read(&workspace(), "transport-security")?;
    let results = results.context("there are no results")?;
    for calls in ["calls by 1", "calls by 10", "calls by 100"] {
        for (column, limit) in [("TLS / plain text", 1.1), ("mutual TLS / plain text", 1.25)] {
            let ratio = results.number(&[calls], column)?;
            ensure!((0.95..limit).contains(&ratio), "{calls}, {column}: {ratio}");
        }
    }
    let tls = results.number(&["a connection"], "TLS / plain text")?;
    let mutual = results.number(&["a connection"], "mutual TLS / plain text")?;
    ensure!(
        (2.0..4.0).contains(&tls) && (3.0..6.0).contains(&mutual),
        "{tls} {mutual}"
    );
    ensure!(results.number(&["mutual TLS"], "connections/s")? > 1000.0);
    Ok(())
}

/// A committed key would be exported into the reader's project.
#[harness::test]
fn listing_contains_no_private_key() -> Result {
    let listing = workspace().listing("transport-security");
    let files = book::listing::sources(&workspace(), "transport-security")?;
    for file in files {
        ensure!(
            !file.text.contains("BEGIN PRIVATE KEY"),
            "{}",
            file.book.display()
        );
    }
    ensure!(listing.exists(), anyhow!("the listing does not exist"));
    Ok(())
}

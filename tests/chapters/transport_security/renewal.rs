//! Certificates that are renewed while the server runs.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use harness::{Listing, Pki, Result};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use stage::process::{Process, Stdin};
use tempfile::TempDir;
use tokio::task::JoinSet;
use transport_security::connect::Files;

use super::{SERVER, client_files, say_hello};

/// The certificate that the authority has issued for the server.
fn server_certificate(pki: &Pki) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(pki.file("server.pem"))?)
}

/// Renews the certificate of a running server.
fn renew(listing: &Listing, pki: &Pki, server: &mut Process, stdin: &mut Stdin) -> Result {
    let before = server_certificate(pki)?;
    pki.issue(listing, &[])?;
    ensure!(
        server_certificate(pki)? != before,
        "the certificate is the same"
    );
    server.hang_up()?;
    stdin.wait_for("new certificate")
}

/// Calls until `done`: half of the callers share a connection, and half open one for each call. Returns
/// the number of connections, and of calls on the shared one.
async fn generate_load(
    files: Files,
    uri: String,
    callers: usize,
    done: Arc<AtomicBool>,
) -> Result<(u64, u64)> {
    let endpoint = files.endpoint(&uri).await?;
    let channel = endpoint.connect().await?;
    let mut tasks = JoinSet::new();
    for number in 0..callers {
        let (endpoint, channel, done) = (endpoint.clone(), channel.clone(), Arc::clone(&done));
        let opens_connections = number % 2 == 0;
        tasks.spawn(async move {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                let channel = if opens_connections {
                    endpoint.connect().await?
                } else {
                    channel.clone()
                };
                let message = say_hello(channel).await?;
                ensure!(message == "Hello, 李雷! You are jack.", "{message}");
                calls += 1;
            }
            Ok((opens_connections, calls))
        });
    }
    let mut counts = (0, 0);
    while let Some(caller) = tasks.join_next().await {
        let (opens_connections, calls) = caller??;
        if opens_connections {
            counts.0 += calls;
        } else {
            counts.1 += calls;
        }
    }
    Ok(counts)
}

/// Renews certificates up to `max_renewals` times in `time`, under load. Fails if a call does.
async fn renew_under_load(max_renewals: usize, time: Duration) -> Result<(usize, (u64, u64))> {
    let listing = Listing::build("transport-security")?;
    let pki = Pki::new(&listing)?;
    // A copy: the client's files must not change during the test.
    let client_dir = TempDir::new()?;
    for name in ["ca.pem", "client.pem", "client.key"] {
        fs::copy(pki.file(name), client_dir.path().join(name))?;
    }
    let file = |name: &str| client_dir.path().join(name);
    let files = Files {
        ca: file("ca.pem"),
        identity: Some((file("client.pem"), file("client.key"))),
    };
    let arguments = ["127.0.0.1:0", pki.folder()];
    let (mut process, mut stdin) = listing.start_with_stdin(SERVER, arguments)?;
    let line = process.wait_for("listening on ")?;
    stdin.wait_for("listening on ")?;
    let address: SocketAddr = line.trim_start_matches("listening on ").parse()?;
    let uri = format!("https://{address}");
    let done = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(generate_load(files, uri, 8, Arc::clone(&done)));
    let (stop_load, deadline) = (Arc::clone(&done), Instant::now() + time);
    let renewed = tokio::task::spawn_blocking(move || {
        let mut renewed = 0;
        let result = loop {
            if renewed == max_renewals || Instant::now() > deadline {
                break Ok(());
            }
            if let Err(error) = renew(&listing, &pki, &mut process, &mut stdin) {
                break Err(error);
            }
            renewed += 1;
        };
        // Stop the callers even if renewing has failed.
        stop_load.store(true, Ordering::Relaxed);
        // Keep the server running: calls are still in progress.
        (result.map(|()| renewed), process)
    });
    let (renewed, _server) = renewed.await?;
    Ok((renewed?, load.await??))
}

#[harness::test]
async fn renewing_certificates_fails_no_calls() -> Result {
    let (renewed, (connections, calls)) = renew_under_load(5, Duration::from_secs(60)).await?;
    assert_eq!(renewed, 5);
    ensure!(connections > 0 && calls > 0, "{connections} and {calls}");
    Ok(())
}

#[harness::test(needs = "a minute", exclusive)]
async fn renewing_certificates_for_a_minute_fails_no_calls() -> Result {
    let minute = Duration::from_secs(60);
    let (renewed, (connections, calls)) = renew_under_load(usize::MAX, minute).await?;
    println!("{renewed} renewals, {connections} connections, {calls} calls on one, none failed");
    ensure!(renewed > 10 && connections > 100 && calls > 100);
    Ok(())
}

/// After SIGHUP, the server keeps its certificate if the new key does not belong to the new one.
#[harness::test]
async fn mismatched_key_leaves_the_certificate_in_use() -> Result {
    let listing = Listing::build("transport-security")?;
    let (pki, foreign) = (Pki::new(&listing)?, Pki::new(&listing)?);
    let mut server = listing.server_with_args(SERVER, &[pki.folder()])?;
    let endpoint = client_files(&pki).endpoint(&server.https_uri()).await?;
    fs::copy(foreign.file("server.key"), pki.file("server.key"))?;
    server.process.hang_up()?;
    server.process.wait_for_text("are no pair")?;
    say_hello(endpoint.connect().await?).await?;
    let log = server.stop()?.text;
    ensure!(log.contains("the old certificate stays") && !log.contains("new certificate"));
    Ok(())
}

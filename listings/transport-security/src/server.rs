//! `transport-security-server [ADDRESS [FOLDER]]` serves the greeter until Ctrl-C,
//! with the certificate in FOLDER, which it reads again at SIGHUP.

use std::env;

use anyhow::Context;
use tokio::net::TcpListener;
use transport_security::{DRAIN_TIMEOUT, program, shutdown, tls::Tls};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = args.first().unwrap_or(&"127.0.0.1:50051");
    let folder = args.get(1).unwrap_or(&"pki");

    let tls = Tls::open(folder)
        .await
        .with_context(|| format!("cannot use the certificate in {folder}"))?;
    let config = tls.config();
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    let reloading = program::reloading(tls).context("cannot wait for SIGHUP")?;

    // A program that reads this line may connect at once, or send a signal: the socket is
    // bound, and the kernel queues the connections that come before `serve`.
    println!("listening on {}", listener.local_addr()?);

    tokio::select! {
        result = transport_security::serve(listener, config, shutdown) => result?,
        never = reloading => match never {},
    }
    Ok(())
}

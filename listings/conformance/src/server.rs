//! `conformance-server [ADDRESS]` serves gRPC's test service until Ctrl-C.

use std::env;

use anyhow::Context;
use conformance::{DRAIN_TIMEOUT, shutdown};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt::init();

    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:50051");
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {}", listener.local_addr()?);

    conformance::serve(listener, shutdown).await?;
    Ok(())
}

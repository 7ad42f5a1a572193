//! `untold [ADDRESS]` is a server that does not tell its open calls of a
//! shutdown.

use std::env;

use anyhow::Context;
use streaming::{DRAIN_TIMEOUT, Till, pb::till_service_server::TillServiceServer, shutdown};
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt::init();

    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:50051");
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);

    // The token of this till is never cancelled.
    let till = TillServiceServer::new(Till::default());
    let server = Server::builder().add_service(till);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(TcpIncoming::from(listener), stop)
    })
    .await?;
    Ok(())
}

//! `hello-world-server [ADDRESS]` serves the greeter until Ctrl-C.

use std::{env, io};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

// ANCHOR: main
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt::init();

    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:50051");
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown().context("cannot wait for Ctrl-C")?;

    // Whoever reads this line may connect at once, or press Ctrl-C: the socket
    // is bound, and the kernel queues the connections that come before `serve`.
    println!("listening on {}", listener.local_addr()?);

    hello_world::serve(listener, shutdown).await?;
    Ok(())
}
// ANCHOR_END: main

// ANCHOR: shutdown
/// Resolves at Ctrl-C, or when the system asks the process to end.
///
/// The call itself installs the handlers, and not the first poll of what it
/// returns: a signal that came in between would kill the process.
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
// ANCHOR_END: shutdown

//! `one-way-streams-server [ADDRESS [IDLE [MESSAGES]]]` serves mailboxes until
//! Ctrl-C. A receiver's stream is closed after IDLE seconds without a message;
//! a mailbox holds so many MESSAGES.

use std::{env, io, time::Duration};

use anyhow::Context;
use one_way_streams::mailboxes::Limits;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

// ANCHOR: main
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt::init();

    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:50051".to_owned());
    let mut limits = Limits::default();
    if let Some(idle) = args.next() {
        let seconds = idle.parse();
        let seconds = seconds.with_context(|| format!("{idle:?} is no number of seconds"))?;
        limits.idle = Duration::from_secs(seconds);
    }
    if let Some(messages) = args.next() {
        let number = messages.parse();
        limits.messages = number.with_context(|| format!("{messages:?} is no number"))?;
    }

    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown().context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);

    one_way_streams::serve(listener, limits, shutdown).await?;
    Ok(())
}
// ANCHOR_END: main

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

//! `one-way-streams-server [ADDRESS [IDLE [MESSAGES]]]` serves mailboxes until
//! Ctrl-C. A receiver's stream is closed after IDLE seconds without a message;
//! a mailbox holds so many MESSAGES.

use std::{env, time::Duration};

use anyhow::Context;
use one_way_streams::{mailboxes::Limits, shutdown};
use tokio::net::TcpListener;

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
    let shutdown = shutdown::signals().context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);

    one_way_streams::serve(listener, limits, shutdown).await?;
    Ok(())
}
// ANCHOR_END: main

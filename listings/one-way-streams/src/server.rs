//! `one-way-streams-server [ADDRESS [IDLE [MESSAGES]]]` serves mailboxes until Ctrl-C. A
//! receiver's stream ends after IDLE seconds without a message. A mailbox holds up to
//! MESSAGES messages.

use std::{env, time::Duration};

use anyhow::Context;
use one_way_streams::{
    DRAIN_TIMEOUT,
    mailboxes::{Limits, MAX_IDLE, MAX_MESSAGES},
    shutdown,
};
use tokio::net::TcpListener;

// ANCHOR: main
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt::init();

    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:50051".to_owned());
    let mut limits = Limits::default();
    if let Some(idle) = args.next() {
        limits.idle = Duration::from_secs(number(&idle, "seconds", MAX_IDLE.as_secs())?);
    }
    if let Some(messages) = args.next() {
        limits.messages = number(&messages, "messages", MAX_MESSAGES as u64)? as usize;
    }

    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);

    one_way_streams::serve(listener, limits, shutdown).await?;
    Ok(())
}
// ANCHOR_END: main

/// The argument as a number of `what`, from 1 to `most`.
fn number(argument: &str, what: &str, most: u64) -> anyhow::Result<u64> {
    let number = argument.parse().ok();
    number
        .filter(|number| (1..=most).contains(number))
        .with_context(|| format!("{argument:?} is not a number of {what} from 1 to {most}"))
}

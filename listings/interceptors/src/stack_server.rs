//! `interceptors-stack-server [ADDRESS [LEVEL [KEYS]]]` serves the registry until
//! Ctrl-C, and logs what is worth LEVEL, to those who are in the file KEYS.

use std::{env, fs};

use anyhow::Context;
use interceptors::{DRAIN_TIMEOUT, callers::Callers, program, shutdown};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = args.first().unwrap_or(&"127.0.0.1:50051");
    let level = args.get(1).unwrap_or(&"info");
    let keys = args.get(2).unwrap_or(&"keys.txt");

    program::log(level)?;

    // They are read again for each call. A mistake in them is found now.
    let callers = fs::read_to_string(keys).with_context(|| format!("cannot read {keys}"))?;
    callers
        .parse::<Callers>()
        .with_context(|| format!("cannot understand {keys}"))?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {}", listener.local_addr()?);

    interceptors::stack::serve(listener, keys.into(), shutdown).await?;
    Ok(())
}

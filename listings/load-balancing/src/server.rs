//! `load-balancing-server [ADDRESS [MILLISECONDS]]` serves the greeter until Ctrl-C,
//! and takes so long for each greeting.

use std::{env, time::Duration};

use anyhow::Context;
use load_balancing::{DRAIN_TIMEOUT, FAREWELL, greeter::Greeter, program, shutdown};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = args.first().unwrap_or(&"127.0.0.1:50051");
    let milliseconds = args.get(1).unwrap_or(&"0");
    let milliseconds = milliseconds
        .parse()
        .with_context(|| format!("{milliseconds:?} is no number of milliseconds"))?;

    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(FAREWELL + DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    let here = listener.local_addr()?.to_string();

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {here}");

    let takes = Duration::from_millis(milliseconds);
    load_balancing::serve(listener, Greeter { here, takes }, shutdown).await?;
    Ok(())
}

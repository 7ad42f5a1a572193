//! `errors-server [ADDRESS [FOLDER]]` serves the people in FOLDER until Ctrl-C.

use std::env;

use anyhow::Context;
use errors::{DRAIN_TIMEOUT, people::People, program, shutdown};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log();
    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:50051".to_owned());
    let folder = args.next().unwrap_or("people".to_owned());

    let people = People::open(folder.into()).await?;
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {}", listener.local_addr()?);

    errors::serve(listener, people, shutdown).await?;
    Ok(())
}

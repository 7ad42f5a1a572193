//! `deadlines-server [NAME [ADDRESS [MILLISECONDS [NEXT]]]]` takes orders until
//! Ctrl-C: it works so long for each, and then asks the service at the URI NEXT.

use std::{env, time::Duration};

use anyhow::Context;
use deadlines::{link::Link, pb::order_service_client::OrderServiceClient, program, shutdown};
use tokio::net::TcpListener;
use tonic::transport::Endpoint;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let name = args.first().unwrap_or(&"carrier");
    let address = args.get(1).unwrap_or(&"127.0.0.1:50051");
    let milliseconds = args.get(2).unwrap_or(&"200");
    let milliseconds = milliseconds
        .parse()
        .with_context(|| format!("{milliseconds:?} is no number of milliseconds"))?;

    // ANCHOR: next
    let next = match args.get(3) {
        Some(uri) => {
            let endpoint = Endpoint::from_shared(uri.to_string())
                .with_context(|| format!("{uri:?} is not a URI"))?
                .connect_timeout(Duration::from_secs(1));
            // It need not be there yet: each call connects if it has to.
            Some(OrderServiceClient::new(endpoint.connect_lazy()))
        }
        None => None,
    };
    // ANCHOR_END: next
    let link = Link {
        name: name.to_string(),
        work: Duration::from_millis(milliseconds),
        next,
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals().context("cannot wait for Ctrl-C")?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {}", listener.local_addr()?);

    deadlines::serve(listener, link, shutdown).await?;
    Ok(())
}

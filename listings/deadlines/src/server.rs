//! `deadlines-server [NAME [ADDRESS [MILLISECONDS [NEXT]]]]` takes orders until
//! Ctrl-C: it works so long for each, and then asks the service at the URI NEXT.

use std::{env, time::Duration};

use anyhow::Context;
use deadlines::{
    DRAIN_TIMEOUT, link::Link, malformed::repaired, pb::order_service_client::OrderServiceClient,
    program, shutdown,
};
use tokio::net::TcpListener;
use tonic::transport::Endpoint;

/// How often the next service is asked whether it is there, while calls are open. A
/// grpc-go server closes a connection with more than one ping in 5 minutes, or with
/// pings while there is no call. The ten seconds are for pings that are delayed on
/// the way.
const PING_INTERVAL: Duration = Duration::from_secs(5 * 60 + 10);

/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

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
                .connect_timeout(Duration::from_secs(1))
                // Without it a path that has gone silent would be used for as long
                // as the kernel tries, and every call would run out of time.
                .http2_keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT);
            // It need not be there yet: each call connects if it has to.
            Some(OrderServiceClient::new(repaired(endpoint.connect_lazy())))
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
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {}", listener.local_addr()?);

    deadlines::serve(listener, link, shutdown).await?;
    Ok(())
}

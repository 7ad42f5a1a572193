//! `service-discovery-server [ADDRESS [REGISTRY [ANNOUNCED]]]` serves the greeter
//! until Ctrl-C, at an address or at `unix:PATH`. With a REGISTRY, as in
//! `etcd://127.0.0.1:2379/greeter`, it is registered there, at the address ANNOUNCED.

use std::{env, net::SocketAddr, path::Path};

use anyhow::{Context, Error, bail};
use service_discovery::{
    DRAIN_TIMEOUT, FAREWELL,
    greeter::Greeter,
    listen, program,
    registry::LEASE,
    registry::Registration,
    resolve, shutdown,
    target::{Target, announced},
};
use tokio::{net::TcpListener, time};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::TcpIncoming;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = args.first().unwrap_or(&"127.0.0.1:50051");
    if let Some(path) = address.strip_prefix("unix:") {
        return serve_unix(path).await;
    }

    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown =
        shutdown::signals(LEASE + FAREWELL + DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    let bound = listener.local_addr()?;
    let here = announced(bound, args.get(2).copied()).map_err(Error::msg)?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {bound}");

    // ANCHOR: registered
    let registration = match args.get(1) {
        Some(registry) => Some(register(registry, here)?),
        None => None,
    };
    let stop = async {
        shutdown.await;
        if let Some(registration) = registration {
            registration.end().await;
            time::sleep(FAREWELL).await;
        }
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let here = here.to_string();
    service_discovery::serve(incoming, Greeter { here }, stop).await?;
    // ANCHOR_END: registered
    Ok(())
}

fn register(registry: &str, here: SocketAddr) -> anyhow::Result<Registration> {
    let Target::Registry {
        kind,
        server,
        service,
    } = registry.parse()?
    else {
        bail!("`{registry}` is no registry: say etcd://127.0.0.1:2379/greeter, or consul://…");
    };
    let registry = resolve::registry(kind, server)?;
    Ok(Registration::new(registry, &service, here))
}

async fn serve_unix(path: &str) -> anyhow::Result<()> {
    let (listener, _socket) =
        listen::unix(Path::new(path)).with_context(|| format!("cannot listen at {path}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    println!("listening on unix:{path}");

    let here = format!("unix:{path}");
    let incoming = UnixListenerStream::new(listener);
    service_discovery::serve(incoming, Greeter { here }, shutdown).await?;
    Ok(())
}

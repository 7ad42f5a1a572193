//! `transport-security-simple-server [ADDRESS [FOLDER]]` serves the greeter with what
//! tonic has for TLS.

use std::{env, path::Path, time::Duration};

use anyhow::Context;
use tokio::{fs, net::TcpListener};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming};
use transport_security::{
    DRAIN_TIMEOUT, greeter::Greeter, identity::identify, incoming,
    pb::greeter_service_server::GreeterServiceServer, program, shutdown,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log();
    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:50051".to_owned());
    let folder = args.next().unwrap_or("pki".to_owned());
    let read = async |name| {
        let file = Path::new(&folder).join(name);
        let bytes = fs::read(&file).await;
        bytes.with_context(|| format!("cannot read {}", file.display()))
    };

    // ANCHOR: simple
    let identity = Identity::from_pem(read("server.pem").await?, read("server.key").await?);
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(read("ca.pem").await?))
        .timeout(Duration::from_secs(5));
    let greeter = GreeterServiceServer::with_interceptor(Greeter, identify);
    let server = Server::builder().tls_config(tls)?.add_service(greeter);
    // ANCHOR_END: simple

    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await?;
    Ok(())
}

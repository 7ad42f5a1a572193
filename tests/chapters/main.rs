//! What each chapter's programs do, as its reader runs them.

mod authentication;
mod bidirectional_streams;
mod buf;
mod conformance;
mod deadlines;
mod errors;
mod hello_world;
mod interceptors;
mod load_balancing;
mod manual_service;
mod metadata;
mod one_way_streams;
mod other_languages;
mod service_discovery;
mod setup;
mod streaming;
mod transport_security;

use std::net::SocketAddr;

use harness::Result;
use tokio::net::TcpListener;
use tonic::transport::{server::Router, server::TcpIncoming};

/// Serves in this process on a free port, until the runtime ends.
async fn serving(router: Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    Ok(address)
}

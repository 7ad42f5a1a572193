//! Servers of this process, for the tests of what tonic does.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tonic::transport::server::{Router, TcpIncoming};

use crate::Result;

/// Serves on a free port until the runtime ends, and returns the address.
///
/// # Errors
///
/// Fails if no port can be bound.
pub async fn spawn_in_process(router: Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    Ok(address)
}

//! Where a server can be called.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{net::UnixStream, time};
use tonic::transport::{self, Endpoint};

use crate::connection::{self, Connection, NoConnection};

/// How long it may take to connect.
pub const CONNECT: Duration = Duration::from_secs(1);

// ANCHOR: address
/// Where a server can be called. Each connection to it is made from scratch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A port of a machine.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// How tonic connects to it.
    ///
    /// # Errors
    ///
    /// Fails if the path is not one that tonic can call.
    pub fn endpoint(&self) -> Result<Endpoint, transport::Error> {
        let uri = match self {
            Self::Tcp(address) => format!("http://{address}"),
            Self::Unix(_) => self.to_string(),
        };
        let endpoint = Endpoint::from_shared(uri)?.connect_timeout(CONNECT);
        Ok(connection::with_keepalive(endpoint))
    }

    /// Whether it is one of IPv6.
    pub fn is_v6(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.is_ipv6())
    }

    /// Connects to it, and waits until the server has spoken HTTP/2.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached, or speaks something else or nothing.
    pub async fn connect(&self) -> Result<Connection, NoConnection> {
        let endpoint = self.endpoint()?;
        match self {
            Self::Tcp(_) => Connection::open(&endpoint, connection::tcp(&endpoint).await?).await,
            Self::Unix(path) => {
                // It can wait too: for a place in the queue of the one who listens.
                let stream = time::timeout(CONNECT, UnixStream::connect(path)).await??;
                Connection::open(&endpoint, stream).await
            }
        }
    }
}
// ANCHOR_END: address

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

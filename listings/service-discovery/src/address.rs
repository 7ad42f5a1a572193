//! Where a server can be called.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use tonic::transport::{self, Endpoint};

/// How long it may take to connect.
pub const CONNECT: Duration = Duration::from_secs(1);

/// How often an idle connection is asked whether the other end is still there, and
/// how long it may take to say so. A server may refuse to be asked more often than
/// each five minutes: ours does not.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

// ANCHOR: address
/// Where a server can be called. What connects to it does so anew each time.
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
    /// Fails if the path is none that tonic can call.
    pub fn endpoint(&self) -> Result<Endpoint, transport::Error> {
        let uri = match self {
            Self::Tcp(address) => format!("http://{address}"),
            Self::Unix(_) => self.to_string(),
        };
        Ok(Endpoint::from_shared(uri)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
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

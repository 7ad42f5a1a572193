//! Connections over a pipe in memory, for tests whose clock is paused or that speak HTTP/2 by hand.

use std::io;

use harness::Result;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint, server::Router};

/// The only connection of a server.
pub fn incoming(pipe: DuplexStream) -> impl Stream<Item = io::Result<DuplexStream>> {
    tokio_stream::iter([Ok(pipe)])
}

/// Serves one connection, over a pipe that holds so many bytes, and returns its other end.
pub fn serve(router: Router, bytes: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(bytes);
    tokio::spawn(router.serve_with_incoming(incoming(theirs)));
    ours
}

/// A channel that sets nothing, and whose only connection is `pipe`.
pub async fn channel(pipe: DuplexStream) -> Result<Channel> {
    let mut pipe = Some(pipe);
    let connector = tower::service_fn(move |_| {
        let pipe = pipe.take().ok_or(io::ErrorKind::NotConnected);
        async { Ok::<_, io::Error>(TokioIo::new(pipe?)) }
    });
    let endpoint = Endpoint::from_static("http://in-memory");
    Ok(endpoint.connect_with_connector(connector).await?)
}

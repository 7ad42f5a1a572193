//! Accounts that are open to those who show who they are, over TLS: the server, its
//! clients, and an issuer of tokens for development.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::{self, Identity, Server, ServerTlsConfig, server::TcpIncoming};

use crate::{
    layer::AuthLayer,
    pb::account_service_server::{AccountService, AccountServiceServer},
    policy::{METHODS, Policy},
    token::Verifier,
};

pub mod accounts;
pub mod certificates;
pub mod channel;
pub mod discovery;
pub mod es256;
pub mod escape;
pub mod expiry;
pub mod grant;
pub mod health;
pub mod incoming;
pub mod issuer;
pub mod jwks;
pub mod layer;
pub mod limit;
pub mod login;
pub mod malformed;
pub mod policy;
pub mod program;
pub mod secrets;
pub mod shutdown;
pub mod token;
pub mod tokens;

/// What the build script generated from `account/v1/account.proto`.
pub mod pb {
    tonic::include_proto!("account.v1");
}

/// The audience of this service's tokens: its name, not where it listens.
pub const AUDIENCE: &str = "https://accounts.example.com";

/// The largest request, in bytes. tonic's own limit is 4 MiB.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many calls may be open on one connection. Further ones wait in the client.
/// Together with `MAX_REQUEST_BYTES`, and the 16 KiB that hyper allows a call's
/// headers, this limits the memory that one connection can take. By default the
/// number of calls is not limited.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take for the handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: serve
/// Serves `accounts` on `listener` to those whose tokens `verifier` takes, and its
/// health to everybody, over TLS, until `shutdown` resolves and the calls that are
/// in progress have ended, after [`DRAIN_TIMEOUT`] at most.
///
/// # Errors
///
/// Fails if the certificate or its key cannot be used, or the transport fails.
pub async fn serve<A: AccountService>(
    listener: TcpListener,
    identity: Identity,
    verifier: Verifier,
    accounts: A,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<AccountServiceServer<A>>().await;
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .timeout(HANDSHAKE_TIMEOUT);
    let server = Server::builder()
        .tls_config(tls)?
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // In front of every service, those too that somebody adds next year.
        .layer(AuthLayer::new(verifier, Policy::new(METHODS)))
        .add_service(health.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(
            AccountServiceServer::new(accounts).max_decoding_message_size(MAX_REQUEST_BYTES),
        );
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let shutdown = async {
        shutdown.await;
        health::report_shutdown::<AccountServiceServer<A>>(reporter, Duration::ZERO).await;
    };
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

//! Accounts that are open to those who show who they are, over TLS: the server, its
//! clients, and an issuer of tokens for development.

use std::time::Duration;

use tokio::{net::TcpListener, sync::oneshot, time};
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
pub mod expiry;
pub mod grant;
pub mod issuer;
pub mod jwks;
pub mod layer;
pub mod login;
pub mod policy;
pub mod program;
pub mod secrets;
pub mod token;
pub mod tokens;

/// What the build script generated from `account/v1/account.proto`.
pub mod pb {
    tonic::include_proto!("account.v1");
}

/// Whom the tokens of this service are for: its name, and not where it listens.
pub const AUDIENCE: &str = "https://accounts.example.com";

/// How long the calls that are under way get to end once the server is told to.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: serve
/// Serves `accounts` on `listener` to those whose tokens `verifier` takes, and its
/// health to everybody, over TLS, until `shutdown` resolves and the calls that are
/// under way have ended, after [`DRAIN`] at most.
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
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // In front of every service, those too that somebody adds next year.
        .layer(AuthLayer::new(verifier, Policy::new(METHODS)))
        .add_service(health)
        .add_service(AccountServiceServer::new(accounts));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    drained(shutdown, |stop| {
        server.serve_with_incoming_shutdown(incoming, async {
            stop.await.ok();
        })
    })
    .await
}
// ANCHOR_END: serve

/// Runs a server that stops when it is told to, and waits for what is under way for
/// [`DRAIN`] at most.
async fn drained<S, E>(
    shutdown: impl Future<Output = ()>,
    server: impl FnOnce(oneshot::Receiver<()>) -> S,
) -> Result<(), E>
where
    S: Future<Output = Result<(), E>>,
{
    let (tell, told) = oneshot::channel();
    let late = async {
        shutdown.await;
        // The other end is in the server below: it is gone only if that is.
        tell.send(()).ok();
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server(told) => result,
        () = late => Ok(()),
    }
}

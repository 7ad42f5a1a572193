//! The way to the server, which no token takes unless it is safe.

use std::time::Duration;

use anyhow::{Context, ensure};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{
    malformed::{Repaired, repaired},
    pb::account_service_client::AccountServiceClient,
    tokens::{Bearer, Tokens},
};

/// How long TCP may take to connect, and then the TLS handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long a unary call may take, for [`within`](crate::limit::within).
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// A client that sends a token with each call.
pub type Client = AccountServiceClient<InterceptedService<Repaired, Bearer>>;

// ANCHOR: connect
/// Connects to a server whose certificate is of `authority`. The token of `tokens`
/// goes along with each call: this is the one place that hands it out, and it is
/// behind TLS.
///
/// # Errors
///
/// Fails if the URI is not one of `https`, or the server cannot be reached, or its
/// certificate is not good.
pub async fn connect(uri: &str, authority: Certificate, tokens: &Tokens) -> anyhow::Result<Client> {
    let endpoint =
        Endpoint::from_shared(uri.to_owned()).with_context(|| format!("{uri:?} is not a URI"))?;
    // To tonic, `http` with a TLS configuration is plain text.
    ensure!(
        endpoint.uri().scheme_str() == Some("https"),
        "{uri} is not safe for a token: use https"
    );
    let tls = ClientTlsConfig::new()
        .ca_certificate(authority)
        // For the handshake: `connect_timeout` is over when TCP has connected.
        .timeout(CONNECT_LIMIT);
    let channel = endpoint
        .tls_config(tls)?
        .connect_timeout(CONNECT_LIMIT)
        // Until the response headers: a stream may go on for hours.
        .timeout(CALL_LIMIT)
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    Ok(AccountServiceClient::with_interceptor(
        repaired(channel),
        tokens.bearer(),
    ))
}
// ANCHOR_END: connect

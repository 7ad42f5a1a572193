//! The way to the server, which no token takes unless it is safe.

use std::time::Duration;

use anyhow::{Context, ensure};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    pb::account_service_client::AccountServiceClient,
    tokens::{Bearer, Tokens},
};

/// A client that sends a token with each call.
pub type Client = AccountServiceClient<InterceptedService<Channel, Bearer>>;

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
    let channel = endpoint
        .tls_config(ClientTlsConfig::new().ca_certificate(authority))?
        .connect_timeout(Duration::from_secs(5))
        // Until a response begins.
        .timeout(Duration::from_secs(5))
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    Ok(AccountServiceClient::with_interceptor(
        channel,
        tokens.bearer(),
    ))
}
// ANCHOR_END: connect

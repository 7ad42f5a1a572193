//! Asks an issuer where it has what.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::redirect::Policy;
use serde::{Deserialize, de::DeserializeOwned};
use url::{Host, Url};

/// How long an issuer may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A longer answer is not read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What an issuer says of itself at `/.well-known/openid-configuration`.
#[derive(Clone, Debug, Deserialize)]
pub struct Discovery {
    /// Its name, which is in each of its tokens.
    pub issuer: String,
    /// Where it has the keys that check its tokens.
    pub jwks_uri: Url,
    /// Where it gives tokens.
    pub token_endpoint: Url,
    /// Where a person logs in.
    pub authorization_endpoint: Url,
}

// ANCHOR: discover
impl Discovery {
    /// Asks the issuer of this name.
    ///
    /// # Errors
    ///
    /// Fails if it gives no answer, or another issuer's, or names an address that
    /// somebody could listen to.
    pub async fn of(http: &reqwest::Client, issuer: &str) -> anyhow::Result<Self> {
        let well_known = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let well_known = Url::parse(&well_known)
            .with_context(|| format!("the issuer {issuer:?} is not a URL"))?;
        let found: Self = get(http, &well_known).await?;
        // Otherwise a token of one issuer would be checked with the keys of another.
        ensure!(
            found.issuer == issuer,
            "{well_known} is about the issuer {:?}, and not {issuer:?}",
            found.issuer
        );
        for url in [
            &found.jwks_uri,
            &found.token_endpoint,
            &found.authorization_endpoint,
        ] {
            check(url)?;
        }
        Ok(found)
    }
}
// ANCHOR_END: discover

// ANCHOR: check
/// Whether nobody between us and this address can read along: HTTPS, or an address
/// of this machine, for development. A name such as `localhost` will not do: who
/// says where it leads?
///
/// # Errors
///
/// Fails if somebody can.
pub fn check(url: &Url) -> anyhow::Result<()> {
    let here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    ensure!(
        url.scheme() == "https" || (url.scheme() == "http" && here),
        "{url} is not safe to ask: use https"
    );
    Ok(())
}
// ANCHOR_END: check

/// For questions to an issuer: it waits for so long and no longer, and goes nowhere
/// else, whether a redirect or a variable of the environment asks for it. A proxy
/// named in `http_proxy` would read the secrets that [`check`] allows in plain text to
/// this machine, and could answer with keys of its own.
///
/// # Errors
///
/// Fails if TLS cannot be set up.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build();
    client.context("cannot set up HTTP")
}

/// Gets a document of JSON.
///
/// # Errors
///
/// Fails if nobody answers, or not with that, or at length.
pub async fn get<T: DeserializeOwned>(http: &reqwest::Client, url: &Url) -> anyhow::Result<T> {
    check(url)?;
    let response = http.get(url.clone()).send().await;
    let mut response = response.and_then(reqwest::Response::error_for_status)?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        body.extend_from_slice(&part);
        ensure!(body.len() <= MAX_ANSWER, "the answer of {url} is too long");
    }
    serde_json::from_slice(&body).with_context(|| format!("cannot understand {url}"))
}

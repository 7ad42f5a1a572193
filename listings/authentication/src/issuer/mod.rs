//! An issuer of tokens, for development: an authorization server of OAuth 2.0, as
//! small as one can be that is not wrong.
//!
//! What it lacks to be one for real work: TLS, so it listens only on this machine;
//! keys, codes and refresh tokens that outlive it; a limit to how often a password
//! may be guessed, and passwords that are kept as hashes; a second factor; sessions
//! and logging out; asking a person whether they agree; revoking and looking up
//! tokens; clients that register; a log for auditors. Take one that somebody keeps.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{AUDIENCE, DRAIN_TIMEOUT, issuer::keys::SigningKeys, secrets, shutdown};

mod authorize;
mod grants;
mod keys;
mod token;

pub use token::CLIENT_OF_PEOPLE;

/// What the services may ask for.
const SCOPES: [&str; 2] = ["accounts.read", "accounts.write"];

/// The services that it makes tokens for: our service, and one more.
pub const SERVICES: [&str; 2] = [AUDIENCE, "https://mail.example.com"];

/// What an issuer knows from the start.
#[derive(Clone)]
pub struct Settings {
    /// Its name: where it listens.
    pub name: String,
    /// How long an access token lives.
    pub life: Duration,
    /// For how long a new key is published before anything is signed with it, so that
    /// everybody has fetched it by then.
    pub ahead: Duration,
    /// Services, and their secrets.
    pub services: Vec<(String, String)>,
    /// People, and their passwords.
    pub people: Vec<(String, String)>,
}

/// See the module.
pub struct Issuer {
    settings: Settings,
    keys: SigningKeys,
    grants: grants::Grants,
}

/// What is in an access token: RFC 9068.
#[derive(Serialize)]
struct AccessToken<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    scope: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
}

impl Issuer {
    /// With one key, which it signs with at once.
    ///
    /// # Errors
    ///
    /// Fails if no key can be made.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        Ok(Self {
            keys: SigningKeys::new(settings.ahead, settings.life)?,
            grants: grants::Grants::default(),
            settings,
        })
    }

    /// Publishes a new key, signs with it in a while, and takes the old one back when
    /// the last token that it has signed has expired.
    ///
    /// # Errors
    ///
    /// Fails if no key can be made.
    pub fn rotate(&self) -> anyhow::Result<()> {
        self.keys.rotate()?;
        let (ahead, keys) = (self.settings.ahead, self.keys.published().len());
        tracing::info!(?ahead, keys, "rotated: a new key is published");
        Ok(())
    }

    /// Takes all keys back, and signs with a new one: for when one has leaked.
    ///
    /// # Errors
    ///
    /// Fails if no key can be made.
    pub fn revoke(&self) -> anyhow::Result<()> {
        self.keys.revoke()?;
        tracing::info!("revoked: there is a new key, and no other");
        Ok(())
    }

    fn access_token(&self, grant: &grants::Grant) -> anyhow::Result<String> {
        let iat = jsonwebtoken::get_current_timestamp();
        self.keys.sign(&AccessToken {
            iss: &self.settings.name,
            aud: &grant.audience,
            sub: &grant.who,
            client_id: &grant.client,
            scope: &grant.scope,
            iat,
            exp: iat + self.settings.life.as_secs(),
            jti: secrets::secret()?,
        })
    }
}

/// Serves the issuer on `listener` until `shutdown` resolves, then finishes the
/// requests that are in progress, within [`DRAIN_TIMEOUT`].
///
/// # Errors
///
/// axum returns none: it waits and tries again when it cannot accept.
pub async fn serve(
    listener: TcpListener,
    issuer: Arc<Issuer>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize::page).post(authorize::log_in))
        .route("/token", post(token::token))
        .with_state(issuer);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        let server = axum::serve(listener, router);
        server.with_graceful_shutdown(stop).into_future()
    })
    .await
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let name = &issuer.settings.name;
    Json(json!({
        "issuer": name,
        "jwks_uri": format!("{name}/jwks"),
        "token_endpoint": format!("{name}/token"),
        "authorization_endpoint": format!("{name}/authorize"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "scopes_supported": SCOPES,
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(json!({ "keys": issuer.keys.published() }))
}

/// The scopes that were asked for, if there are no others among them.
fn scopes(asked: &str) -> Option<String> {
    let known = asked.split(' ').all(|scope| SCOPES.contains(&scope));
    known.then(|| asked.to_owned())
}

/// Whether two secrets are the same, in a time that does not tell how far they are.
fn same(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

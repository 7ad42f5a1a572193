//! Logs a person in who sits at a terminal, with their browser.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope,
    TokenUrl, basic::BasicClient,
};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use url::Url;

use crate::{AUDIENCE, discovery::Discovery, grant::explain, tokens::Tokens};

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

// ANCHOR: log_in
/// Shows the person where to log in, waits until they have, and has their tokens.
///
/// # Errors
///
/// Fails if they do not, or say no, or the issuer gives no token.
pub async fn log_in(
    http: reqwest::Client,
    issuer: Discovery,
    program: &str,
    scopes: &[&str],
    show: impl FnOnce(&Url),
) -> anyhow::Result<Tokens> {
    // On a port that is free, and where nobody from outside can come.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let here = format!("http://{}/callback", listener.local_addr()?);
    let id = ClientId::new(program.to_owned());
    let client = BasicClient::new(id.clone())
        .set_auth_uri(AuthUrl::from_url(issuer.authorization_endpoint.clone()))
        .set_token_uri(TokenUrl::from_url(issuer.token_endpoint.clone()))
        .set_redirect_uri(RedirectUrl::new(here)?);
    // An attacker who catches the code on its way through the browser does not know
    // the verifier, and the code is worth nothing without it.
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = client
        .authorize_url(CsrfToken::new_random)
        .add_scopes(scopes.iter().map(|scope| Scope::new((*scope).to_owned())))
        .add_extra_param("resource", AUDIENCE)
        .set_pkce_challenge(challenge)
        .url();
    show(&url);

    let code = time::timeout(PATIENCE, answer(listener, state, issuer.issuer.clone())).await;
    let code = code.context("nobody has logged in")??;
    let asked = Instant::now();
    let response = client
        .exchange_code(code)
        .set_pkce_verifier(verifier)
        .add_extra_param("resource", AUDIENCE)
        .request_async(&http)
        .await
        .map_err(explain)?;
    Tokens::of(id, &response, asked, http, issuer)
}
// ANCHOR_END: log_in

/// What the browser comes back with.
#[derive(Deserialize)]
struct Back {
    #[serde(default)]
    state: String,
    iss: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// The issuer that it has to come from.
struct Expected {
    state: CsrfToken,
    issuer: String,
    came: mpsc::Sender<Back>,
}

// ANCHOR: answer
/// Waits for the browser to come back with the code.
async fn answer(
    listener: TcpListener,
    state: CsrfToken,
    issuer: String,
) -> anyhow::Result<AuthorizationCode> {
    let (came, mut coming) = mpsc::channel(1);
    let expected = Expected {
        state,
        issuer,
        came,
    };
    let router = Router::new()
        .route("/callback", get(callback))
        .with_state(Arc::new(expected));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        stopped.await.ok();
    });
    let mut server = std::pin::pin!(server.into_future());
    let back = tokio::select! {
        back = coming.recv() => back,
        ended = &mut server => bail!("cannot wait for the browser: {ended:?}"),
    };
    // The browser is still to get its page.
    stop.send(()).ok();
    time::timeout(Duration::from_secs(2), server).await.ok();
    match back.context("the browser has not come back")? {
        Back {
            code: Some(code), ..
        } => Ok(AuthorizationCode::new(code)),
        Back { error, .. } => {
            let error = error.unwrap_or_default();
            // It is from the browser's address bar: anybody may have written it.
            let plain = error
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            ensure!(plain, "the issuer says no");
            bail!("the issuer says no: {error}")
        }
    }
}

/// Anybody can call a port of this machine, a page in the same browser too. What does
/// not know our state is sent away, and we go on waiting.
async fn callback(
    State(expected): State<Arc<Expected>>,
    Query(back): Query<Back>,
) -> (StatusCode, &'static str) {
    let ours = expected.state.secret().as_bytes();
    let same = bool::from(ours.ct_eq(back.state.as_bytes()));
    let from = back.iss.as_ref().is_none_or(|iss| *iss == expected.issuer);
    if !same || !from {
        return (
            StatusCode::BAD_REQUEST,
            "This is not the login that was begun.",
        );
    }
    match expected.came.try_send(back) {
        Ok(()) => (
            StatusCode::OK,
            "You can close this page, and go back to the terminal.",
        ),
        Err(_) => (StatusCode::CONFLICT, "This login has ended already."),
    }
}
// ANCHOR_END: answer

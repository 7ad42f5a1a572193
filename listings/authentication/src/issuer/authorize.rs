//! Where a person logs in.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use url::{Host, Url};

use super::{CLIENT_OF_PEOPLE, Issuer, SERVICES, grants::Grant, same, scopes};

/// What a program sends the browser here with.
#[derive(Deserialize)]
pub struct Asked {
    client_id: String,
    redirect_uri: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    response_type: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
}

#[derive(Deserialize)]
pub struct Person {
    username: String,
    password: String,
}

// ANCHOR: redirect
/// Where the answer goes. A program on the person's machine listens where it can, so
/// any port will do, and nothing else may differ: RFC 8252.
fn redirect_uri(asked: &Asked) -> Option<Url> {
    let uri = Url::parse(&asked.redirect_uri).ok()?;
    let good = asked.client_id == CLIENT_OF_PEOPLE
        && uri.scheme() == "http"
        && uri.host() == Some(Host::Ipv4([127, 0, 0, 1].into()))
        && uri.path() == "/callback"
        && uri.query().is_none()
        && uri.fragment().is_none()
        && uri.username().is_empty()
        && uri.password().is_none();
    good.then_some(uri)
}

/// What is wrong with the rest. The program is told, by way of the browser.
fn fault(asked: &Asked) -> Option<&'static str> {
    if asked.response_type != "code" {
        return Some("unsupported_response_type");
    }
    // Without it, an attacker who catches the code could collect the token.
    if asked.code_challenge_method != "S256" || asked.code_challenge.len() != 43 {
        return Some("invalid_request");
    }
    if scopes(&asked.scope).is_none() {
        return Some("invalid_scope");
    }
    if !SERVICES.contains(&asked.resource.as_str()) {
        return Some("invalid_target");
    }
    None
}
// ANCHOR_END: redirect

impl Issuer {
    /// Where the browser may be sent back to, if what it came with is all right;
    /// else the answer.
    #[expect(clippy::result_large_err, reason = "a response is what it is")]
    fn check(&self, asked: &Asked) -> Result<Url, Response> {
        // Nobody is sent to an address that is not the program's.
        let uri = redirect_uri(asked).ok_or_else(|| {
            let text = "This program, or where it wants the answer, is not known here.";
            (StatusCode::BAD_REQUEST, text).into_response()
        })?;
        match fault(asked) {
            Some(error) => Err(self.back(uri, asked, "error", error)),
            None => Ok(uri),
        }
    }

    fn back(&self, mut uri: Url, asked: &Asked, key: &str, value: &str) -> Response {
        let name = &self.settings.name;
        uri.query_pairs_mut()
            .append_pair(key, value)
            .append_pair("state", &asked.state)
            // RFC 9207: so that no other issuer's answer is taken for ours.
            .append_pair("iss", name);
        Redirect::to(uri.as_str()).into_response()
    }
}

/// The page. It sends what is filled in to its own address, with the same question
/// behind it, so nothing of the question has to be written into it.
const PAGE: &str = r#"<!doctype html>
<html lang="en"><title>Log in</title>
<form method="post">
<p><label>Name <input name="username" autocomplete="username" autofocus></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label></p>
<p><button>Log in</button></p>
</form></html>
"#;

fn form(status: StatusCode) -> Response {
    let mut headers = HeaderMap::new();
    let policy = "default-src 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    (status, headers, Html(PAGE)).into_response()
}

/// Shows the page.
pub async fn page(State(issuer): State<Arc<Issuer>>, Query(asked): Query<Asked>) -> Response {
    match issuer.check(&asked) {
        Ok(_) => form(StatusCode::OK),
        Err(answer) => answer,
    }
}

/// Takes what was filled in, and sends the browser back with a code.
pub async fn log_in(
    State(issuer): State<Arc<Issuer>>,
    Query(asked): Query<Asked>,
    Form(person): Form<Person>,
) -> Response {
    let uri = match issuer.check(&asked) {
        Ok(uri) => uri,
        Err(answer) => return answer,
    };
    let people = &issuer.settings.people;
    let known = people.iter().find(|(name, _)| *name == person.username);
    if !known.is_some_and(|(_, password)| same(password, &person.password)) {
        tracing::info!("a login fails");
        return form(StatusCode::UNAUTHORIZED);
    }
    let grant = Grant {
        who: person.username,
        client: asked.client_id.clone(),
        scope: asked.scope.clone(),
        audience: asked.resource.clone(),
    };
    tracing::info!(who = grant.who, client = grant.client, "logged in");
    let redirect_uri = asked.redirect_uri.clone();
    let challenge = asked.code_challenge.clone();
    match issuer.grants.code(grant, redirect_uri, challenge) {
        Ok(code) => issuer.back(uri, &asked, "code", &code),
        Err(_) => issuer.back(uri, &asked, "error", "temporarily_unavailable"),
    }
}

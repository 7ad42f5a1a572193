//! Where a program gets tokens.

use std::sync::Arc;

use axum::{
    Form, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::digest;
use serde::Deserialize;
use serde_json::json;

use super::{
    Issuer, SERVICES,
    grants::{Code, Grant},
    same, scopes,
};

/// The program that people log in with. It has no secret: everybody who has the
/// program would have it too.
pub const CLIENT_OF_PEOPLE: &str = "accounts-login";

/// What a program asks with. What is missing is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    grant_type: String,
    client_id: String,
    scope: String,
    resource: String,
    code: String,
    code_verifier: String,
    redirect_uri: String,
    refresh_token: String,
}

/// An error of OAuth.
type Refused = &'static str;

/// Gives a token, or says why not.
pub async fn token(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    Form(asked): Form<Asked>,
) -> Response {
    let granted = match asked.grant_type.as_str() {
        "client_credentials" => issuer
            .of_service(&headers, &asked)
            .map(|grant| (grant, None)),
        "authorization_code" => issuer.of_code(&asked),
        "refresh_token" => issuer.of_refresh(&asked),
        _ => Err("unsupported_grant_type"),
    };
    let answered = granted.and_then(|(grant, refresh)| {
        let token = issuer.access_token(&grant).map_err(|_| "server_error")?;
        tracing::info!(
            who = grant.who,
            kind = asked.grant_type,
            scope = grant.scope,
            "token"
        );
        let mut answer = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": issuer.settings.life.as_secs(),
            "scope": grant.scope,
        });
        if let Some(refresh) = refresh {
            answer["refresh_token"] = refresh.into();
        }
        Ok(answer)
    });
    let (status, answer) = match answered {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => {
            tracing::info!(error, "no token");
            let status = match error {
                "invalid_client" => StatusCode::UNAUTHORIZED,
                "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, json!({ "error": error }))
        }
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

impl Issuer {
    /// A service that acts for itself shows its secret.
    fn of_service(&self, headers: &HeaderMap, asked: &Asked) -> Result<Grant, Refused> {
        let (id, secret) = basic(headers).ok_or("invalid_client")?;
        let known = self.settings.services.iter().find(|(name, _)| *name == id);
        if !known.is_some_and(|(_, known)| same(known, &secret)) {
            return Err("invalid_client");
        }
        if !SERVICES.contains(&asked.resource.as_str()) {
            return Err("invalid_target");
        }
        Ok(Grant {
            who: id.clone(),
            client: id,
            scope: scopes(&asked.scope).ok_or("invalid_scope")?,
            audience: asked.resource.clone(),
        })
    }

    // ANCHOR: of_code
    /// A program that a person has logged in with shows that it is the one that sent
    /// them: it knows what the challenge was made of.
    fn of_code(&self, asked: &Asked) -> Result<(Grant, Option<String>), Refused> {
        let code = self.grants.take(&asked.code).ok_or("invalid_grant")?;
        let Code {
            grant,
            redirect_uri,
            challenge,
            ..
        } = code;
        let hash = digest::digest(&digest::SHA256, asked.code_verifier.as_bytes());
        let good = same(&challenge, &URL_SAFE_NO_PAD.encode(hash))
            && redirect_uri == asked.redirect_uri
            && grant.client == asked.client_id;
        if !good {
            return Err("invalid_grant");
        }
        let refresh = self.grants.family(grant.clone());
        Ok((grant, Some(refresh.map_err(|_| "server_error")?)))
    }
    // ANCHOR_END: of_code

    fn of_refresh(&self, asked: &Asked) -> Result<(Grant, Option<String>), Refused> {
        let refreshed = self.grants.refresh(&asked.refresh_token, &asked.client_id);
        let refreshed = refreshed.map_err(|_| "server_error")?;
        let (grant, next) = refreshed.ok_or("invalid_grant")?;
        Ok((grant, Some(next)))
    }
}

/// Name and secret, as HTTP sends them. Ours have no letters that would have to be
/// written in another way.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let basic = scheme.eq_ignore_ascii_case("basic");
    basic.then(|| (id.to_owned(), secret.to_owned()))
}

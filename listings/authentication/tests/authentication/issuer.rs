//! The issuer for development, and logging in: what it gives, and what it refuses.

use std::{sync::mpsc, time::Duration};

use authentication::{
    AUDIENCE, channel,
    discovery::{Discovery, http_client},
    issuer::CLIENT_OF_PEOPLE,
    login,
    pb::GetBalanceRequest,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use reqwest::{Client, Response, StatusCode, header::LOCATION};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use url::Url;

use crate::support::{EAGER, PASSWORD, Result, SECRET, real_issuer, server_of};

const HOUR: Duration = Duration::from_secs(3600);
const VERIFIER: &str = "what-only-the-program-knows-and-nobody-else";
const CALLBACK: &str = "http://127.0.0.1:1/callback";

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fn challenge() -> String {
    BASE64.encode(digest(&SHA256, VERIFIER.as_bytes()))
}

/// A question that is all right, but for one thing.
fn question<'a>(challenge: &'a str, but: (&'a str, &'a str)) -> Pairs<'a> {
    let all = [
        ("response_type", "code"),
        ("client_id", CLIENT_OF_PEOPLE),
        ("redirect_uri", CALLBACK),
        ("scope", "accounts.read"),
        ("resource", AUDIENCE),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("state", "the state"),
    ];
    all.map(|(key, value)| if key == but.0 { but } else { (key, value) })
        .into()
}

async fn log_in(
    http: &Client,
    name: &str,
    asked: &Pairs<'_>,
    who: &str,
    password: &str,
) -> Result<Response> {
    let url = Url::parse_with_params(&format!("{name}/authorize"), asked)?;
    let form = [("username", who), ("password", password)];
    Ok(http.post(url).form(&form).send().await?)
}

/// What the browser is sent back with.
fn sent_back(response: &Response, key: &str) -> Result<String> {
    let to = response
        .headers()
        .get(LOCATION)
        .ok_or("it is not sent back")?;
    let to = Url::parse(to.to_str()?)?;
    let found = to.query_pairs().find(|(name, _)| name == key);
    Ok(found.ok_or(format!("no {key} in {to}"))?.1.into_owned())
}

async fn code(http: &Client, name: &str) -> Result<String> {
    let challenge = challenge();
    let asked = question(&challenge, ("", ""));
    let response = log_in(http, name, &asked, "李雷", PASSWORD).await?;
    assert_eq!(sent_back(&response, "state")?, "the state");
    assert_eq!(sent_back(&response, "iss")?, name);
    sent_back(&response, "code")
}

/// Asks for a token: it, or the error.
async fn ask(http: &Client, name: &str, form: &Pairs<'_>) -> Result<Result<Value, String>> {
    let response = http.post(format!("{name}/token")).form(form).send().await?;
    let well = response.status() == StatusCode::OK;
    let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
    Ok(if well {
        Ok(answer)
    } else {
        Err(answer["error"].as_str().unwrap_or_default().to_owned())
    })
}

fn exchange<'a>(code: &'a str, but: (&'a str, &'a str)) -> Pairs<'a> {
    let all = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT_OF_PEOPLE),
        ("redirect_uri", CALLBACK),
        ("code", code),
        ("code_verifier", VERIFIER),
    ];
    all.map(|(key, value)| if key == but.0 { but } else { (key, value) })
        .into()
}

#[tokio::test]
async fn a_code_is_good_once_and_for_whoever_asked_for_it() -> Result {
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let http = http_client()?;
    let good = code(&http, &name).await?;
    let token = ask(&http, &name, &exchange(&good, ("", ""))).await??;
    assert_eq!(token["scope"], "accounts.read");
    let again = ask(&http, &name, &exchange(&good, ("", ""))).await?;
    assert_eq!(again, Err("invalid_grant".to_owned()));

    for but in [
        ("code_verifier", "a guess"),
        ("code_verifier", ""),
        ("redirect_uri", "http://127.0.0.1:2/callback"),
        ("client_id", "another"),
    ] {
        let good = code(&http, &name).await?;
        let refused = ask(&http, &name, &exchange(&good, but)).await?;
        assert_eq!(refused, Err("invalid_grant".to_owned()), "{but:?}");
        // The failed attempt has used it up.
        let late = ask(&http, &name, &exchange(&good, ("", ""))).await?;
        assert_eq!(late, Err("invalid_grant".to_owned()), "{but:?}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_is_sent_to_a_place_that_is_not_the_program_s() -> Result {
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let http = http_client()?;
    let challenge = challenge();
    for but in [
        ("client_id", "another"),
        ("redirect_uri", "http://localhost:1/callback"),
        ("redirect_uri", "https://127.0.0.1:1/callback"),
        ("redirect_uri", "http://127.0.0.1.example.com/callback"),
        ("redirect_uri", "http://127.0.0.1:1@example.com/callback"),
        ("redirect_uri", "http://user@127.0.0.1:1/callback"),
        ("redirect_uri", "http://127.0.0.1:1/callback/../other"),
        ("redirect_uri", "http://127.0.0.1:1/callback?next=1"),
        ("redirect_uri", "http://127.0.0.1:1/callback#here"),
        ("redirect_uri", "no address"),
    ] {
        let asked = question(&challenge, but);
        let response = log_in(&http, &name, &asked, "jack", PASSWORD).await?;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{but:?}");
        assert!(!response.headers().contains_key(LOCATION), "{but:?}");
    }
    for (but, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("scope", "accounts.read everything"), "invalid_scope"),
        (("resource", "https://example.org"), "invalid_target"),
    ] {
        let asked = question(&challenge, but);
        let response = log_in(&http, &name, &asked, "jack", PASSWORD).await?;
        assert_eq!(sent_back(&response, "error")?, error);
        assert_eq!(sent_back(&response, "state")?, "the state");
    }
    let asked = question(&challenge, ("", ""));
    for (who, password) in [("jack", "a guess"), ("nobody", PASSWORD), ("", "")] {
        let response = log_in(&http, &name, &asked, who, password).await?;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_that_was_used_before_ends_the_login() -> Result {
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let http = http_client()?;
    let good = code(&http, &name).await?;
    let first = ask(&http, &name, &exchange(&good, ("", ""))).await??;
    let first = first["refresh_token"].as_str().ok_or("none")?.to_owned();
    let refresh = async |token: &str| {
        let form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT_OF_PEOPLE),
            ("refresh_token", token),
        ];
        ask(&http, &name, &form).await
    };
    let second = refresh(&first).await??;
    let second = second["refresh_token"].as_str().ok_or("none")?.to_owned();
    assert_ne!(first, second);
    // A thief comes with the first, or the owner after a thief: nobody knows which.
    for token in [&first, &second] {
        assert_eq!(refresh(token).await?, Err("invalid_grant".to_owned()));
    }
    Ok(())
}

#[tokio::test]
async fn a_service_needs_its_secret() -> Result {
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let http = http_client()?;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "accounts.read"),
        ("resource", AUDIENCE),
    ];
    let url = format!("{name}/token");
    for (who, secret, status) in [
        ("teller", SECRET, StatusCode::OK),
        ("teller", "a guess", StatusCode::UNAUTHORIZED),
        ("jack", PASSWORD, StatusCode::UNAUTHORIZED),
    ] {
        let asked = http.post(&url).basic_auth(who, Some(secret)).form(&form);
        assert_eq!(asked.send().await?.status(), status);
    }
    let refused = ask(&http, &name, &form.to_vec()).await?;
    assert_eq!(refused, Err("invalid_client".to_owned()));
    Ok(())
}

/// What a browser does, and somebody else who would like to be it.
#[tokio::test]
async fn a_person_logs_in() -> Result {
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let server = server_of(&name, EAGER).await?;
    let http = http_client()?;
    let discovery = Discovery::of(&http, &name).await?;
    let (show, shown) = mpsc::channel();
    let login = tokio::spawn(async move {
        let http = http_client()?;
        let scopes = ["accounts.read"];
        login::log_in(http, discovery, CLIENT_OF_PEOPLE, &scopes, |url| {
            show.send(url.clone()).ok();
        })
        .await
    });
    let url = tokio::task::spawn_blocking(move || shown.recv()).await??;
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let find = |key: &str| {
        pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
    };
    let here = find("redirect_uri").ok_or("no address")?;

    // Somebody else's code, with a state that they do not know.
    for state in ["", "a guess"] {
        let url = Url::parse_with_params(&here, [("code", "evil"), ("state", state)])?;
        assert_eq!(
            http.get(url).send().await?.status(),
            StatusCode::BAD_REQUEST
        );
    }
    let state = find("state").ok_or("no state")?;
    let pairs = [
        ("code", "evil"),
        ("state", state.as_str()),
        ("iss", "https://example.org"),
    ];
    let other = Url::parse_with_params(&here, pairs)?;
    assert_eq!(
        http.get(other).send().await?.status(),
        StatusCode::BAD_REQUEST
    );

    let form = [("username", "李雷"), ("password", PASSWORD)];
    let response = http.post(url).form(&form).send().await?;
    let back = response.headers().get(LOCATION).ok_or("not sent back")?;
    let page = http.get(back.to_str()?).send().await?.text().await?;
    assert!(page.contains("close this page"), "{page}");

    let tokens = login.await??;
    let mut client = channel::connect(&server.uri, server.authority.clone(), &tokens).await?;
    let balance = client.get_balance(GetBalanceRequest {}).await?.into_inner();
    assert_eq!(balance.cents, 5_000);
    Ok(())
}

/// The token lives a second, and a refresh token is good once.
#[tokio::test]
async fn a_person_who_has_logged_in_stays_so() -> Result {
    let (_issuer, name) = real_issuer(Duration::from_secs(1), HOUR).await?;
    let discovery = Discovery::of(&http_client()?, &name).await?;
    let (show, shown) = mpsc::channel();
    let login = tokio::spawn(login_of(discovery, show));
    let url = tokio::task::spawn_blocking(move || shown.recv()).await??;
    let http = http_client()?;
    let form = [("username", "jack"), ("password", PASSWORD)];
    let response = http.post(url).form(&form).send().await?;
    let back = response.headers().get(LOCATION).ok_or("not sent back")?;
    http.get(back.to_str()?).send().await?;
    let mut tokens = login.await??;
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_secs(60), tokens.renewed()).await??;
    }
    Ok(())
}

async fn login_of(
    discovery: Discovery,
    show: mpsc::Sender<Url>,
) -> anyhow::Result<authentication::tokens::Tokens> {
    let http = http_client()?;
    login::log_in(
        http,
        discovery,
        CLIENT_OF_PEOPLE,
        &["accounts.read"],
        |url| {
            show.send(url.clone()).ok();
        },
    )
    .await
}

//! Tokens that are fetched beside the calls.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authentication::{
    channel,
    discovery::{Discovery, http_client},
    grant::Grant,
    pb::{GetBalanceRequest, TransferRequest},
    tokens::Tokens,
};
use axum::{
    Form, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::post,
};
use oauth2::{ClientId, RefreshToken};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tonic::{Code, Status, transport::Certificate};

use crate::support::{EAGER, Result, SECRET, real_issuer, server_of, teller};

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_service_calls_for_itself() -> Result {
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let server = server_of(&name, EAGER).await?;
    let http = http_client()?;
    let discovery = Discovery::of(&http, &name).await?;
    let tokens = Tokens::fetch(http.clone(), discovery.clone(), teller("accounts.read")).await?;
    let mut client = channel::connect(&server.uri, server.authority.clone(), &tokens).await?;
    let balance = client.get_balance(GetBalanceRequest {}).await?.into_inner();
    assert_eq!(balance.cents, 5_000);
    // It has not asked for more.
    let to = "李雷".to_owned();
    let status = client.transfer(TransferRequest { to, cents: 1 }).await;
    assert_eq!(status.expect_err("refused").code(), Code::PermissionDenied);

    let error = Tokens::fetch(http, discovery, teller("everything")).await;
    let error = error.expect_err("there is no such scope");
    assert_eq!(
        format!("{error:#}"),
        "the issuer gives no token: invalid_scope"
    );
    Ok(())
}

/// tonic would: `http` is plain text, whatever else is configured.
#[tokio::test]
async fn a_token_is_not_sent_over_plain_text() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let http = http_client()?;
    let discovery = Discovery::of(&http, &name).await?;
    let tokens = Tokens::fetch(http, discovery, teller("accounts.read")).await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let authority = Certificate::from_pem("");
    let error = channel::connect(&uri, authority, &tokens).await;
    let error = format!("{:#}", error.expect_err("it is refused"));
    assert!(error.ends_with("use https"), "{error}");
    // Nobody has even connected.
    tokio::select! {
        biased;
        _ = listener.accept() => Err("somebody came".into()),
        () = std::future::ready(()) => Ok(()),
    }
}

/// What an issuer answers, one after the other and the last one again and again, and the
/// refresh tokens that it was asked with.
#[derive(Clone)]
struct Answer {
    answers: Arc<Mutex<VecDeque<(StatusCode, String)>>>,
    asked: watch::Sender<Vec<String>>,
}

impl Answer {
    fn set(&self, status: StatusCode, body: Value) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers = [(status, body.to_string())].into();
    }

    fn next(&self) -> (StatusCode, String) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().expect("there is one"),
        }
    }
}

async fn answering(answer: Value) -> Result<(Answer, Discovery)> {
    answering_in_turn(vec![(StatusCode::OK, answer.to_string())]).await
}

async fn answering_in_turn(answers: Vec<(StatusCode, String)>) -> Result<(Answer, Discovery)> {
    let answer = Answer {
        answers: Arc::new(Mutex::new(answers.into())),
        asked: watch::Sender::default(),
    };
    let router = Router::new()
        .route(
            "/token",
            post(
                async |State(answer): State<Answer>, Form(form): Form<HashMap<String, String>>| {
                    let with = form.get("refresh_token").cloned().unwrap_or_default();
                    answer.asked.send_modify(|asked| asked.push(with));
                    let (status, body) = answer.next();
                    (status, [(CONTENT_TYPE, "application/json")], body)
                },
            ),
        )
        .with_state(answer.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let name = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, router).into_future());
    let discovery = Discovery {
        jwks_uri: name.parse()?,
        token_endpoint: format!("{name}/token").parse()?,
        authorization_endpoint: name.parse()?,
        issuer: name,
    };
    Ok((answer, discovery))
}

fn token(life: u64) -> Value {
    json!({ "access_token": "eyJ-the-token", "token_type": "Bearer", "expires_in": life })
}

#[tokio::test]
async fn the_next_token_comes_before_the_last_has_expired() -> Result {
    let (_answer, issuer) = answering(token(1)).await?;
    let mut tokens = Tokens::fetch(http_client()?, issuer, teller("")).await?;
    for _ in 0..3 {
        timeout(LONG, tokens.renewed()).await??;
    }
    Ok(())
}

/// As in a program that makes its client in a function.
#[tokio::test]
async fn tokens_are_renewed_as_long_as_a_client_exists() -> Result {
    let (answer, issuer) = answering(token(1)).await?;
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let server = server_of(&name, EAGER).await?;
    let client = {
        let tokens = Tokens::fetch(http_client()?, issuer, teller("")).await?;
        channel::connect(&server.uri, server.authority.clone(), &tokens).await?
    };
    let clone = client.clone();
    drop(client);
    let mut asked = answer.asked.subscribe();
    timeout(LONG, asked.wait_for(|asked| asked.len() > 3)).await??;
    drop(clone);
    Ok(())
}

/// Waits until there will be no further token.
async fn end_of(tokens: &mut Tokens) -> Result<Status> {
    loop {
        if let Err(status) = timeout(LONG, tokens.renewed()).await? {
            return Ok(status);
        }
    }
}

fn person() -> Grant {
    Grant::Refresh {
        id: ClientId::new("accounts-login".to_owned()),
        token: RefreshToken::new("r0".to_owned()),
    }
}

#[tokio::test]
async fn a_login_that_has_ended_is_not_renewed_and_the_caller_is_told() -> Result {
    // It has expired when it comes.
    let (answer, issuer) = answering(token(0)).await?;
    let mut tokens = Tokens::fetch(http_client()?, issuer, person()).await?;
    answer.set(
        StatusCode::BAD_REQUEST,
        json!({ "error": "invalid_grant", "error_description": "\u{1b}[2J" }),
    );
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let server = server_of(&name, EAGER).await?;
    let mut client = channel::connect(&server.uri, server.authority.clone(), &tokens).await?;
    let waiting = end_of(&mut tokens).await?;
    let calling = client.get_balance(GetBalanceRequest {}).await;
    for status in [waiting, calling.expect_err("there is no token")] {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(status.message().ends_with("log in again"), "{status}");
    }
    Ok(())
}

/// Whether the issuer got the question is unknown, so it gets it again. What it makes of
/// that is its own affair.
#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_once_more() -> Result {
    let first = json!({
        "access_token": "eyJ-the-token", "token_type": "Bearer", "expires_in": 0,
        "refresh_token": "r1",
    });
    let half = first.to_string()[..20].to_owned();
    let strict = json!({ "error": "invalid_grant" });
    for (status, next) in [
        (StatusCode::BAD_REQUEST, strict),
        (StatusCode::OK, token(3600)),
    ] {
        let (answer, issuer) = answering_in_turn(vec![
            (StatusCode::OK, first.to_string()),
            (StatusCode::OK, half.clone()),
            (status, next.to_string()),
        ])
        .await?;
        let mut tokens = Tokens::fetch(http_client()?, issuer, person()).await?;
        let ended = timeout(LONG, tokens.renewed()).await?;
        assert_eq!(ended.is_err(), status != StatusCode::OK);
        assert_eq!(*answer.asked.borrow(), ["r0", "r1", "r1"]);
    }
    Ok(())
}

#[tokio::test]
async fn an_issuer_that_is_down_is_asked_again() -> Result {
    // It has expired when it comes.
    let (answer, issuer) = answering(token(0)).await?;
    let mut tokens = Tokens::fetch(http_client()?, issuer, teller("")).await?;
    answer.set(
        StatusCode::SERVICE_UNAVAILABLE,
        json!({ "error": "temporarily_unavailable" }),
    );
    let (_issuer, name) = real_issuer(HOUR, HOUR).await?;
    let server = server_of(&name, EAGER).await?;
    let mut client = channel::connect(&server.uri, server.authority.clone(), &tokens).await?;
    let status = client.get_balance(GetBalanceRequest {}).await;
    let status = status.expect_err("nothing that is good can be sent");
    assert_eq!(status.code(), Code::Unavailable, "{status}");

    answer.set(StatusCode::OK, token(3600));
    // It may have had one more of the first.
    while timeout(LONG, tokens.renewed()).await?.is_ok() {
        let status = client.get_balance(GetBalanceRequest {}).await;
        if status.expect_err("it is no token of this issuer").code() == Code::Unauthenticated {
            return Ok(());
        }
    }
    Err("the good one was never sent".into())
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_without_being_shown() -> Result {
    let sensible = token(1);
    let mut no_life = sensible.clone();
    no_life
        .as_object_mut()
        .ok_or("it is an object")?
        .remove("expires_in");
    let mut odd = sensible.clone();
    odd["access_token"] = "eyJ-two\nlines".into();
    let half = json!({ "access_token": "eyJ-the-token" });
    let mut for_ever = sensible.clone();
    for_ever["expires_in"] = u64::MAX.into();
    for bad in [no_life, for_ever, odd, half] {
        let (_answer, issuer) = answering(bad).await?;
        let error = Tokens::fetch(http_client()?, issuer, teller("")).await;
        let error = error.expect_err("it is bad");
        let shown = format!("{error:#} {error:?}");
        assert!(!shown.contains("eyJ"), "{shown}");
    }
    let (_answer, issuer) = answering(sensible).await?;
    let grant = teller("accounts.read");
    let tokens = Tokens::fetch(http_client()?, issuer, grant.clone()).await?;
    let shown = format!("{tokens:?} {grant:?}");
    assert!(
        shown.contains("Tokens") && shown.contains("accounts.read"),
        "{shown}"
    );
    assert!(!shown.contains("eyJ") && !shown.contains(SECRET), "{shown}");
    Ok(())
}

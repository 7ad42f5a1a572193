//! What somebody may try who wants to be let in.

use std::sync::atomic::Ordering;

use authentication::pb::{GetBalanceRequest, GetBalanceResponse};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::uri::PathAndQuery;
use jsonwebtoken::get_current_timestamp;
use ring::hmac;
use serde_json::{Value, json};
use tonic::{
    Code, Request, Status, client::Grpc, metadata::AsciiMetadataValue, transport::Channel,
};
use tonic_prost::ProstCodec;

use super::{EAGER, FakeIssuer, Key, Result, Running, message};

const GET_BALANCE: &str = "/account.v1.AccountService/GetBalance";

/// One attempt.
pub struct Attack {
    pub what: &'static str,
    /// The values of `authorization`.
    headers: Vec<String>,
    method: &'static str,
    /// What it has to end with.
    pub expected: Code,
}

/// How it has ended.
pub struct Ended {
    pub attack: Attack,
    pub status: Status,
    pub reached_the_handler: bool,
}

/// Makes all attempts at one server. After each, `ended` is called.
pub async fn all(mut ended: impl FnMut(Ended)) -> Result {
    let (good, taken_back) = (Key::new("good"), Key::new("taken-back"));
    let issuer = FakeIssuer::start(&[&good, &taken_back]).await?;
    let server = Running::start(issuer.verifier(EAGER).await?).await?;
    let channel = server.channel().await?;

    // So that it is not refused for another reason.
    for key in [&good, &taken_back] {
        let headers = vec![format!("Bearer {}", key.sign(&issuer.claims()))];
        call(&channel, GET_BALANCE, &headers).await?;
    }
    issuer.publish(&[&good]);

    for attack in attacks(&issuer, &good, &taken_back) {
        let before = server.accounts.calls.load(Ordering::SeqCst);
        let result = call(&channel, attack.method, &attack.headers).await;
        ended(Ended {
            status: result.err().unwrap_or_else(|| Status::ok("")),
            reached_the_handler: server.accounts.calls.load(Ordering::SeqCst) > before,
            attack,
        });
    }
    Ok(())
}

fn attacks(issuer: &FakeIssuer, good: &Key, taken_back: &Key) -> Vec<Attack> {
    let now = get_current_timestamp();
    let but = |claim: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[claim] = value;
        good.sign(&claims)
    };
    let without = |claim: &str| {
        let mut claims = issuer.claims();
        claims.as_object_mut().expect("an object").remove(claim);
        good.sign(&claims)
    };
    let headed = |header: Value| good.sign_with(&header, &issuer.claims());
    let token = good.sign(&issuer.claims());

    let unsigned = message(
        &json!({ "alg": "none", "typ": "at+jwt", "kid": good.name }),
        &issuer.claims(),
    );
    let confused = message(
        &json!({ "alg": "HS256", "typ": "at+jwt", "kid": good.name }),
        &issuer.claims(),
    );
    let secret = hmac::Key::new(hmac::HMAC_SHA256, good.public());
    let tag = BASE64.encode(hmac::sign(&secret, confused.as_bytes()));
    let mut richer = issuer.claims();
    richer["sub"] = "jack".into();
    let richer = message(&good.header(), &richer);
    let (_, signature) = token.rsplit_once('.').expect("it is signed");
    let claims = issuer.claims();

    let mut attacks = Vec::new();
    let mut add = |what, method, expected, headers: Vec<String>| {
        attacks.push(Attack {
            what,
            headers,
            method,
            expected,
        });
    };
    for (what, headers) in [
        ("no token", vec![]),
        (
            "`Basic` instead of `Bearer`",
            vec![format!("Basic {token}")],
        ),
        (
            "two headers, one of them good",
            vec![format!("Bearer {token}"), "Bearer x".to_owned()],
        ),
    ] {
        add(what, GET_BALANCE, Code::Unauthenticated, headers);
    }
    for (what, token) in [
        ("garbage", "garbage.in.garbage".to_owned()),
        ("`alg: none`, and no signature", format!("{unsigned}.")),
        (
            "HS256, signed with the public key",
            format!("{confused}.{tag}"),
        ),
        (
            "another key under a known name",
            Key::new("good").sign(&claims),
        ),
        (
            "the claims of another, with this signature",
            format!("{richer}.{signature}"),
        ),
        ("a key that nobody knows", Key::new("unknown").sign(&claims)),
        ("a key that was taken back", taken_back.sign(&claims)),
        (
            "no name of a key",
            headed(json!({ "alg": "ES256", "typ": "at+jwt" })),
        ),
        (
            "an ID token",
            headed(json!({ "alg": "ES256", "typ": "JWT", "kid": good.name })),
        ),
        (
            "a header that says `crit`",
            headed(json!({ "alg": "ES256", "typ": "at+jwt", "kid": good.name, "crit": ["exp"] })),
        ),
        (
            "another issuer",
            but("iss", "https://login.example.org".into()),
        ),
        ("no issuer", without("iss")),
        (
            "a token for the mail service",
            but("aud", "https://mail.example.com".into()),
        ),
        (
            "an audience that is nearly ours",
            but("aud", "https://accounts.example.com/".into()),
        ),
        ("no audience", without("aud")),
        ("no subject", without("sub")),
        ("an empty subject", but("sub", "".into())),
        ("expired 31 seconds ago", but("exp", (now - 31).into())),
        ("no expiry", without("exp")),
        ("an expiry that is a string", but("exp", "tomorrow".into())),
        (
            "not valid for another minute",
            but("nbf", (now + 90).into()),
        ),
        ("9 kB of token", but("padding", "x".repeat(7 * 1024).into())),
        (
            "32 kB of token",
            but("padding", "x".repeat(24 * 1024).into()),
        ),
        (
            "64 kB of token",
            but("padding", "x".repeat(48 * 1024).into()),
        ),
    ] {
        let expected = match what {
            // HTTP/2 itself refuses these: a header has a limit.
            "32 kB of token" => Code::Unknown,
            "64 kB of token" => Code::ResourceExhausted,
            _ => Code::Unauthenticated,
        };
        add(what, GET_BALANCE, expected, vec![format!("Bearer {token}")]);
    }
    for (what, method, token) in [
        (
            "a scope that is not enough",
            "/account.v1.AccountService/Transfer",
            but("scope", "accounts.read".into()),
        ),
        (
            "a scope that only begins with it",
            GET_BALANCE,
            but("scope", "accounts.reader".into()),
        ),
        ("no scope", GET_BALANCE, without("scope")),
        (
            "a method that no rule names",
            "/account.v1.AccountService/CloseAccount",
            token.clone(),
        ),
        (
            "a service that is not there",
            "/account.v2.AccountService/GetBalance",
            token,
        ),
    ] {
        add(
            what,
            method,
            Code::PermissionDenied,
            vec![format!("Bearer {token}")],
        );
    }
    attacks
}

/// Any method of the server.
async fn call(channel: &Channel, method: &'static str, headers: &[String]) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(GetBalanceRequest {});
    for header in headers {
        let value: AsciiMetadataValue = header.parse().expect("a header is ASCII");
        request.metadata_mut().append("authorization", value);
    }
    let codec = ProstCodec::<GetBalanceRequest, GetBalanceResponse>::default();
    let path = PathAndQuery::from_static(method);
    client.unary(request, path, codec).await.map(drop)
}

//! What somebody may try, and what comes of it.

use authentication::{
    AUDIENCE, es256,
    pb::GetBalanceRequest,
    token::{AT_JWT, Rejection},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, get_current_timestamp};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{EAGER, FakeIssuer, Key, Result, Running, attacks, with};

#[tokio::test]
async fn nobody_gets_in_who_should_not() -> Result {
    let mut count = 0;
    attacks::all(|ended| {
        println!(
            "{}: {:?} {}",
            ended.attack.what,
            ended.status.code(),
            ended.status.message()
        );
        assert_eq!(
            ended.status.code(),
            ended.attack.expected,
            "{}",
            ended.attack.what
        );
        assert!(!ended.reached_the_handler, "{}", ended.attack.what);
        count += 1;
    })
    .await?;
    assert!(count > 25, "only {count}");
    Ok(())
}

/// What is unusual, and all right.
#[tokio::test]
async fn those_get_in_who_should() -> Result {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let server = Running::start(issuer.verifier(EAGER).await?).await?;
    let mut client = server.client().await?;
    let now = get_current_timestamp();
    let mut calls = 0;
    for (claim, value) in [
        ("sub", json!("李雷")),
        // Within the skew.
        ("exp", json!(now - 10)),
        ("nbf", json!(now + 10)),
        // RFC 7519 allows a fraction in each time.
        ("exp", json!(now as f64 + 60.5)),
        ("exp", json!(now as f64 - 10.5)),
        ("nbf", json!(now as f64 - 0.5)),
        ("iat", json!(now as f64 - 0.5)),
        (
            "aud",
            json!(["https://mail.example.com", "https://accounts.example.com"]),
        ),
        ("scope", json!("openid accounts.read")),
    ] {
        let mut claims = issuer.claims();
        claims[claim] = value;
        let request = with(GetBalanceRequest {}, &key.sign(&claims));
        let balance = client.get_balance(request).await?.into_inner();
        assert_eq!(balance.cents, 5_000);
        calls += 1;
    }
    assert_eq!(server.accounts.calls(), calls);

    // A fraction does not make an expired token good.
    for (claim, value) in [
        ("exp", json!(now as f64 - 31.5)),
        ("exp", json!(0.5)),
        ("exp", json!(-1.5)),
        ("exp", json!(1e300)),
        ("nbf", json!(now as f64 + 90.5)),
    ] {
        let mut claims = issuer.claims();
        claims[claim] = value;
        let request = with(GetBalanceRequest {}, &key.sign(&claims));
        let status = client.get_balance(request).await;
        let status = status.expect_err("it is not valid");
        assert_eq!(status.code(), Code::Unauthenticated, "{claims}");
    }

    let mut request = with(GetBalanceRequest {}, "");
    let value = format!("bearer {}", key.sign(&issuer.claims())).parse()?;
    request.metadata_mut().insert("authorization", value);
    client.get_balance(request).await?;
    Ok(())
}

/// Whether a token may be valid for so long is another question.
#[tokio::test]
async fn a_time_far_away_can_be_read() -> Result {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let verifier = issuer.verifier(EAGER).await?;
    for time in [json!(u64::MAX), json!(1e12)] {
        let mut claims = issuer.claims();
        claims["exp"] = time;
        let result = verifier.verify(&key.sign(&claims)).await;
        assert_ne!(result, Err(Rejection::Malformed), "{claims}");
    }
    Ok(())
}

/// Many issuers say `JWT`, and some say nothing.
#[tokio::test]
async fn the_type_of_a_token_is_the_one_that_the_issuer_uses() -> Result {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let standard = issuer.verifier(EAGER).await?;
    for (token_type, good, bad) in [
        (AT_JWT, json!("at+jwt"), json!("JWT")),
        (AT_JWT, json!("application/AT+JWT"), Value::Null),
        ("JWT", json!("JWT"), json!("at+jwt")),
        ("JWT", json!("jwt"), Value::Null),
        ("", Value::Null, json!("JWT")),
    ] {
        let verifier = standard.clone().with_token_type(token_type);
        let token = |typ: &Value| {
            let mut header = key.header();
            header["typ"] = typ.clone();
            key.sign_with(&header, &issuer.claims())
        };
        assert_eq!(verifier.verify(&token(&good)).await?.sub, "李雷");
        let rejection = verifier.verify(&token(&bad)).await;
        assert_eq!(rejection, Err(Rejection::Type), "{token_type}: {bad}");
    }
    Ok(())
}

/// What the library lets pass, unless it is told more.
#[tokio::test]
async fn the_library_compares_what_is_there_and_asks_for_an_expiry_alone() -> Result {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let public = DecodingKey::from_jwk(&serde_json::from_value(key.jwk())?)?;
    es256::install();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[&issuer.name]);
    validation.set_audience(&[AUDIENCE]);
    let soon = get_current_timestamp() + 300;
    let passes = |claims| decode::<Value>(key.sign(&claims), &public, &validation).is_ok();
    assert!(passes(json!({ "exp": soon })));
    assert!(passes(json!({ "exp": soon, "nbf": soon })));
    assert!(passes(
        json!({ "exp": soon, "iss": issuer.name, "aud": AUDIENCE })
    ));
    assert!(!passes(json!({})));
    assert!(!passes(
        json!({ "exp": soon, "aud": "https://mail.example.com" })
    ));
    Ok(())
}

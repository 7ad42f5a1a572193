//! What somebody may try, and what comes of it.

use authentication::{AUDIENCE, es256, pb::GetBalanceRequest};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, get_current_timestamp};
use serde_json::{Value, json};

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
        ("exp", json!(u64::MAX)),
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

    let mut request = with(GetBalanceRequest {}, "");
    let value = format!("bearer {}", key.sign(&issuer.claims())).parse()?;
    request.metadata_mut().insert("authorization", value);
    client.get_balance(request).await?;
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

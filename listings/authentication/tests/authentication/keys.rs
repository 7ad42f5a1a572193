//! Whose keys, and how fresh they are.

use std::time::Duration;

use authentication::{
    discovery::{Discovery, check, http_client},
    jwks::Freshness,
    token::{Rejection, Verifier},
};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};
use url::Url;

use crate::support::{EAGER, FakeIssuer, Key, Result};

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(60);

async fn verify(verifier: &Verifier, issuer: &FakeIssuer, key: &Key) -> Result<(), Rejection> {
    let token = key.sign(&issuer.claims());
    verifier.verify(&token).await.map(drop)
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_come_with_it() -> Result {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = FakeIssuer::start(&[&old]).await?;
    let verifier = issuer.verifier(EAGER).await?;
    issuer.publish(&[&old, &new]);
    let token = new.sign(&issuer.claims());
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (verifier.clone(), token.clone());
        calls.spawn(async move { verifier.verify(&token).await });
    }
    for verified in calls.join_all().await {
        verified?;
    }
    verify(&verifier, &issuer, &old).await?;
    assert_eq!(*issuer.fetches().borrow(), 2);
    Ok(())
}

/// Otherwise anybody could make us ask the issuer as often as they like.
#[tokio::test]
async fn unknown_keys_make_nobody_ask_the_issuer_again_and_again() -> Result {
    let good = Key::new("good");
    let issuer = FakeIssuer::start(&[&good]).await?;
    let cooldown = Duration::from_secs(3600);
    let verifier = issuer.verifier(Freshness { cooldown, ..EAGER }).await?;
    for name in ["a", "b", "c", "d", "e"] {
        let rejected = verify(&verifier, &issuer, &Key::new(name)).await;
        assert_eq!(rejected, Err(Rejection::Key));
    }
    assert_eq!(*issuer.fetches().borrow(), 1);
    Ok(())
}

/// Nobody has to come with an unknown key for it.
#[tokio::test]
async fn a_key_that_is_taken_back_is_forgotten_within_the_interval() -> Result {
    let (leaked, new) = (Key::new("leaked"), Key::new("new"));
    let issuer = FakeIssuer::start(&[&leaked]).await?;
    let refresh = Duration::from_millis(50);
    let verifier = issuer.verifier(Freshness { refresh, ..EAGER }).await?;
    verify(&verifier, &issuer, &leaked).await?;
    issuer.publish(&[&new]);
    // One may have been in flight; the next begins when the last has been taken note of.
    let mut fetches = issuer.fetches();
    let then = *fetches.borrow() + 3;
    timeout(LONG, fetches.wait_for(|fetches| *fetches >= then)).await??;
    let rejected = verify(&verifier, &issuer, &leaked).await;
    assert_eq!(rejected, Err(Rejection::Key));
    verify(&verifier, &issuer, &new).await?;
    Ok(())
}

#[tokio::test]
async fn an_issuer_that_is_down_leaves_the_last_keys_in_force_for_a_while() -> Result {
    let (good, other) = (Key::new("good"), Key::new("other"));
    let issuer = FakeIssuer::start(&[&good]).await?;
    let verifier = issuer.verifier(EAGER).await?;
    let stale = Duration::ZERO;
    let strict = issuer.verifier(Freshness { stale, ..EAGER }).await?;
    issuer.is_down(true);
    let rejected = verify(&verifier, &issuer, &other).await;
    assert_eq!(rejected, Err(Rejection::NoKeys), "it may be a good one");
    verify(&verifier, &issuer, &good).await?;
    let rejected = verify(&strict, &issuer, &good).await;
    assert_eq!(rejected, Err(Rejection::NoKeys));
    assert_eq!(Rejection::NoKeys.status().code(), tonic::Code::Unavailable);

    issuer.is_down(false);
    let rejected = verify(&verifier, &issuer, &other).await;
    assert_eq!(rejected, Err(Rejection::Key));
    Ok(())
}

/// What we do not know is passed over, and what is not for signatures is not used.
#[tokio::test]
async fn other_keys_do_no_harm() -> Result {
    let (good, secret) = (Key::new("good"), Key::new("for-secrets"));
    let issuer = FakeIssuer::start(&[&good]).await?;
    let mut for_secrets = secret.jwk();
    for_secrets["use"] = "enc".into();
    let mut of_another = secret.jwk();
    of_another["alg"] = "ES384".into();
    let mut short = secret.jwk();
    short["x"] = "AAAA".into();
    issuer.publish_all(vec![
        json!({ "kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "from next year" }),
        json!("no key at all"),
        for_secrets,
        of_another,
        short,
        good.jwk(),
    ]);
    let verifier = issuer.verifier(EAGER).await?;
    verify(&verifier, &issuer, &good).await?;
    let rejected = verify(&verifier, &issuer, &secret).await;
    assert_eq!(rejected, Err(Rejection::Key));
    Ok(())
}

#[tokio::test]
async fn the_issuer_is_who_it_says() -> Result {
    let issuer = FakeIssuer::start(&[]).await?;
    let http = http_client()?;
    // The same server under another name.
    let other = format!("{}/", issuer.name);
    let error = Discovery::of(&http, &other).await.expect_err("another");
    assert!(
        format!("{error:#}").contains("is about the issuer"),
        "{error:#}"
    );
    Ok(())
}

#[test]
fn nobody_is_asked_whom_others_could_answer_for() -> Result {
    for safe in [
        "https://login.example.com/",
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
    ] {
        check(&Url::parse(safe)?)?;
    }
    for other in [
        "http://login.example.com/",
        "http://localhost:1/",
        "file:///jwks",
        "http://10.0.0.1/",
    ] {
        let error = check(&Url::parse(other)?).expect_err(other);
        assert!(format!("{error}").ends_with("use https"), "{error}");
    }
    Ok(())
}

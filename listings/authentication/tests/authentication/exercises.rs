//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use authentication::pb::GetBalanceRequest;
use serde_json::Value;
use tonic::{Code, Status};

use crate::support::{EAGER, FakeIssuer, Key, Result, Running, with};

/// Gets a balance with a token that differs in one claim.
async fn call(claim: &str, value: Value) -> Result<(), Status> {
    try_to_call(claim, value).await.expect("there is a server")
}

async fn try_to_call(claim: &str, value: Value) -> Result<Result<(), Status>> {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let server = Running::start(issuer.verifier(EAGER).await?).await?;
    let mut claims = issuer.claims();
    claims[claim] = value;
    let request = with(GetBalanceRequest {}, &key.sign(&claims));
    let called = server.client().await?.get_balance(request).await;
    Ok(called.map(drop))
}

#[tokio::test]
#[should_panic(expected = "a token that lives for ever")]
async fn exercise_1_no_token_lives_longer_than_a_day() {
    let status = call("exp", u64::MAX.into())
        .await
        .expect_err("a token that lives for ever");
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
#[should_panic(expected = "a word for all of them")]
async fn exercise_2_one_scope_can_hold_others() {
    // `accounts` allows what `accounts.read` and `accounts.write` allow.
    call("scope", "accounts".into())
        .await
        .expect("a word for all of them");
}

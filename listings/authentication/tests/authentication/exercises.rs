//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use authentication::token::Claims;
use jsonwebtoken::get_current_timestamp;
use serde_json::json;

use crate::support::{EAGER, FakeIssuer, Key, Result};

/// Whether the verifier takes a token that expires then, in seconds since 1970.
async fn is_taken(exp: u64) -> Result<bool> {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let verifier = issuer.verifier(EAGER).await?;
    let mut claims = issuer.claims();
    claims["exp"] = exp.into();
    Ok(verifier.verify(&key.sign(&claims)).await.is_ok())
}

#[tokio::test]
#[should_panic(expected = "a token that lives longer than a day")]
async fn exercise_1_no_token_lives_longer_than_a_day() {
    let tomorrow = get_current_timestamp() + 24 * 60 * 60;
    for (exp, expected) in [
        (tomorrow - 60, true),
        (tomorrow + 60, false),
        (u64::MAX, false),
    ] {
        let taken = is_taken(exp).await.expect("the issuer runs");
        assert_eq!(taken, expected, "a token that lives longer than a day");
    }
}

#[test]
#[should_panic(expected = "`accounts` does not allow `accounts.read`")]
fn exercise_2_one_scope_can_contain_others() {
    for (scope, action, expected) in [
        ("accounts", "accounts.read", true),
        ("openid accounts", "accounts.write", true),
        ("accounts.read", "accounts.read", true),
        ("accounts.read", "accounts.write", false),
        ("accounts.read", "accounts", false),
        ("accounts-of-others", "accounts.read", false),
        ("account", "accounts.read", false),
        ("", "accounts.read", false),
    ] {
        let claims = json!({ "sub": "李雷", "exp": 0, "scope": scope });
        let claims: Claims = serde_json::from_value(claims).expect("claims");
        let verb = if expected { "does not allow" } else { "allows" };
        assert_eq!(
            claims.allow(action),
            expected,
            "`{scope}` {verb} `{action}`"
        );
    }
}

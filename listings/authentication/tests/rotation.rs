//! Keys are rotated while calls are made, and none fails.

mod support;

use std::time::{Duration, Instant};

use authentication::{
    channel,
    discovery::{Discovery, http_client},
    jwks::Freshness,
    pb::GetBalanceRequest,
    tokens::Tokens,
};
use serde_json::Value;
use support::{Result, real_issuer, server_of, teller};
use tokio::time;

/// The keys that the issuer publishes, by name.
async fn published(name: &str) -> Result<Vec<String>> {
    let keys = reqwest::get(format!("{name}/jwks")).await?.bytes().await?;
    let keys: Value = serde_json::from_slice(&keys)?;
    let keys = keys["keys"].as_array().ok_or("no keys")?;
    Ok(keys
        .iter()
        .map(|key| key["kid"].as_str().unwrap_or_default().to_owned())
        .collect())
}

/// The name of the key of a new token.
async fn signs(name: &str) -> Result<String> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "accounts.read"),
        ("resource", authentication::AUDIENCE),
    ];
    let asked = http_client()?.post(format!("{name}/token"));
    let asked = asked
        .basic_auth("teller", Some(support::SECRET))
        .form(&form);
    let token: Value = serde_json::from_slice(&asked.send().await?.bytes().await?)?;
    let token = token["access_token"].as_str().ok_or("no token")?;
    let header = token.split('.').next().unwrap_or_default();
    let header: Value = serde_json::from_slice(&BASE64.decode(header)?)?;
    Ok(header["kid"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs() -> Result {
    let hour = Duration::from_secs(3600);
    let (issuer, name) = real_issuer(hour, hour).await?;
    let old = signs(&name).await?;
    issuer.rotate()?;
    let keys = published(&name).await?;
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], old);
    assert_eq!(signs(&name).await?, old);

    issuer.revoke()?;
    let new = signs(&name).await?;
    assert!(!keys.contains(&new));
    assert_eq!(published(&name).await?, [new]);
    Ok(())
}

#[tokio::test]
async fn a_new_key_that_signs_leaves_the_old_one_in_force() -> Result {
    let (issuer, name) = real_issuer(Duration::from_secs(3600), Duration::ZERO).await?;
    let old = signs(&name).await?;
    issuer.rotate()?;
    let new = signs(&name).await?;
    assert_ne!(old, new);
    assert_eq!(published(&name).await?, [old, new]);
    Ok(())
}

/// Tokens live four seconds, and a new key is published each second.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_keys_are_rotated() -> Result {
    let life = Duration::from_secs(4);
    let ahead = Duration::from_secs(1);
    let (issuer, name) = real_issuer(life, ahead).await?;
    let freshness = Freshness {
        refresh: Duration::from_millis(200),
        cooldown: Duration::from_millis(100),
        ..Freshness::default()
    };
    let server = server_of(&name, freshness).await?;
    let http = http_client()?;
    let discovery = Discovery::of(&http, &name).await?;
    let tokens = Tokens::fetch(http, discovery, teller("accounts.read")).await?;
    let client = channel::connect(&server.uri, server.authority.clone(), &tokens).await?;

    let began = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = client.clone();
        callers.spawn(async move {
            while began.elapsed() < Duration::from_secs(6) {
                client.get_balance(GetBalanceRequest {}).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    let rotating = async {
        loop {
            time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = issuer.rotate() {
                break error;
            }
        }
    };
    tokio::select! {
        error = rotating => return Err(error.into()),
        called = callers.join_all() => {
            for caller in called {
                caller?;
            }
        }
    }
    assert!(published(&name).await?.len() > 4);
    Ok(())
}

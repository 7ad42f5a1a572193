//! Keys are rotated while calls are made, and none fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use authentication::{
    channel,
    discovery::{Discovery, http_client},
    jwks::Freshness,
    pb::GetBalanceRequest,
    tokens::Tokens,
};
use serde_json::Value;
use tokio::{task::JoinSet, time};

use crate::support::{Result, SECRET, real_issuer, server_of, teller};

/// The keys that the issuer publishes, by name.
async fn published(name: &str) -> Result<Vec<String>> {
    let keys = http_client()?.get(format!("{name}/jwks")).send().await?;
    let keys = keys.bytes().await?;
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
    let asked = asked.basic_auth("teller", Some(SECRET)).form(&form);
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

/// A new key is published each second, and signs a second later. One caller keeps the token
/// that it has got from the first key, and others come with new ones.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_keys_are_rotated() -> Result {
    let second = Duration::from_secs(1);
    let (issuer, name) = real_issuer(3600 * second, second).await?;
    let freshness = Freshness {
        refresh: second / 5,
        cooldown: second / 10,
        ..Freshness::default()
    };
    let server = Arc::new(server_of(&name, freshness).await?);
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for calls_with_a_token in [u32::MAX, 20, 20, 20] {
        let (server, name) = (Arc::clone(&server), name.clone());
        callers.spawn(async move {
            while began.elapsed() < 6 * second {
                let http = http_client()?;
                let discovery = Discovery::of(&http, &name).await?;
                let tokens = Tokens::fetch(http, discovery, teller("accounts.read")).await?;
                let authority = server.authority.clone();
                let mut client = channel::connect(&server.uri, authority, &tokens).await?;
                for _ in 0..calls_with_a_token {
                    client.get_balance(GetBalanceRequest {}).await?;
                    if began.elapsed() >= 6 * second {
                        break;
                    }
                }
            }
            anyhow::Ok(())
        });
    }
    let rotating = async {
        loop {
            time::sleep(second).await;
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

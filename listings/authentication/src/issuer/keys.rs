//! The keys that tokens are signed with, old and new.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::token::SKEW;

/// See the module.
pub struct SigningKeys {
    /// The oldest first; never empty.
    keys: Mutex<Vec<SigningKey>>,
    ahead: Duration,
    /// How long the last token of an old key is good.
    good: Duration,
}

struct SigningKey {
    pair: EcdsaKeyPair,
    /// Its name, and what is published of it.
    name: String,
    jwk: Value,
    /// From when it signs.
    from: Instant,
}

impl SigningKeys {
    pub fn new(ahead: Duration, life: Duration) -> anyhow::Result<Self> {
        let first = SigningKey::new(Instant::now())?;
        Ok(Self {
            keys: Mutex::new(vec![first]),
            ahead,
            // Two clocks may differ, and the checks are lenient.
            good: life + 2 * Duration::from_secs(SKEW),
        })
    }

    // ANCHOR: keys
    pub fn rotate(&self) -> anyhow::Result<()> {
        let new = SigningKey::new(Instant::now() + self.ahead)?;
        self.now().push(new);
        Ok(())
    }

    pub fn revoke(&self) -> anyhow::Result<()> {
        let new = SigningKey::new(Instant::now())?;
        *self.now() = vec![new];
        Ok(())
    }

    /// The keys as they are now, without those whose tokens have all expired.
    fn now(&self) -> MutexGuard<'_, Vec<SigningKey>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // A key is needed until its tokens are gone, and it makes them until the next
        // one signs.
        while keys.get(1).is_some_and(|next| next.from + self.good <= now) {
            keys.remove(0);
        }
        keys
    }

    /// What others need to check tokens.
    pub fn published(&self) -> Vec<Value> {
        self.now().iter().map(|key| key.jwk.clone()).collect()
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &impl Serialize) -> anyhow::Result<String> {
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let (keys, now) = (self.now(), Instant::now());
        let key = keys.iter().rev().find(|key| key.from <= now);
        let key = key.context("no key signs yet")?;
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": key.name });
        let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let signature = key.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = signature.map_err(|_| anyhow!("cannot sign"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
    // ANCHOR_END: keys
}

impl SigningKey {
    fn new(from: Instant) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| anyhow!("cannot make a key"))?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.as_ref(), &random)
                .map_err(|_| anyhow!("cannot use a key of our own"))?;
        // A byte that says that both coordinates follow, and 32 of each.
        let point = pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        // RFC 7638: the name is made of the key, so no two have the same.
        let thumb = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let name = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, thumb.as_bytes()));
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y,
            "use": "sig", "alg": "ES256", "kid": name,
        });
        Ok(Self {
            pair,
            name,
            jwk,
            from,
        })
    }
}

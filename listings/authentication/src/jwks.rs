//! The keys that an issuer signs with now, always at hand.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use url::Url;

use crate::discovery;

// ANCHOR: freshness
/// How old keys may be.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// They are fetched so often. A key that the issuer takes back is good here for
    /// this long at most.
    pub refresh: Duration,
    /// They are not fetched more often than this, however many tokens come with keys
    /// that nobody knows.
    pub cooldown: Duration,
    /// If the issuer is down, the last ones are good for this long.
    pub stale: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(60),
            cooldown: Duration::from_secs(10),
            stale: Duration::from_secs(3600),
        }
    }
}
// ANCHOR_END: freshness

/// The keys of one issuer. A clone shares them, and the last one that is dropped
/// ends the task that fetches them.
#[derive(Clone, Debug)]
pub struct Keys {
    known: watch::Receiver<Arc<Known>>,
    /// Somebody wants to know what the issuer says from then on.
    wanted: Arc<watch::Sender<Instant>>,
    freshness: Freshness,
    _keeper: Arc<JoinSet<()>>,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The issuer has none of this name.
    Unknown,
    /// The issuer cannot be asked.
    Unavailable,
}

/// What is known after an attempt to fetch the keys.
#[derive(Debug)]
struct Known {
    keys: Arc<HashMap<String, Arc<DecodingKey>>>,
    /// When they were fetched.
    fetched: Instant,
    /// When the issuer was last asked, and when that was over.
    asked: Instant,
    over: Instant,
    /// Whether it went well then.
    well: bool,
}

impl Keys {
    /// Fetches the keys, and goes on doing so.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be fetched now.
    pub async fn fetch(
        http: reqwest::Client,
        url: Url,
        freshness: Freshness,
    ) -> anyhow::Result<Self> {
        let asked = Instant::now();
        let keys = fetch(&http, &url)
            .await
            .with_context(|| format!("cannot fetch the keys at {url}"))?;
        let now = Instant::now();
        let (publish, known) = watch::channel(Arc::new(Known {
            keys: Arc::new(keys),
            fetched: now,
            asked,
            over: now,
            well: true,
        }));
        let wanted = Arc::new(watch::Sender::new(asked));
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(http, url, freshness, publish, wanted.subscribe()));
        Ok(Self {
            known,
            wanted,
            freshness,
            _keeper: Arc::new(keeper),
        })
    }

    // ANCHOR: find
    /// The key of this name. If there is none, the issuer is asked for it, unless it
    /// was a moment ago; other calls that wait for a key wait for the same answer.
    ///
    /// # Errors
    ///
    /// Says whether the issuer does not know it, or cannot be asked.
    pub async fn find(&self, name: &str) -> Result<Arc<DecodingKey>, NoKey> {
        let mut known = self.known.clone();
        let now = Arc::clone(&known.borrow());
        let found = now.find(name, self.freshness.stale);
        if found.is_ok() || now.over.elapsed() < self.freshness.cooldown {
            return found;
        }
        // A request in flight may have been answered before the key was there.
        let from = Instant::now();
        self.wanted
            .send_modify(|wanted| *wanted = from.max(*wanted));
        let newer = known.wait_for(|known| known.asked >= from).await;
        let newer = newer.map_err(|_| NoKey::Unavailable)?;
        newer.find(name, self.freshness.stale)
    }
    // ANCHOR_END: find
}

impl Known {
    fn find(&self, name: &str, stale: Duration) -> Result<Arc<DecodingKey>, NoKey> {
        if self.fetched.elapsed() > stale {
            return Err(NoKey::Unavailable);
        }
        match self.keys.get(name) {
            Some(key) => Ok(Arc::clone(key)),
            None if self.well => Err(NoKey::Unknown),
            None => Err(NoKey::Unavailable),
        }
    }
}

// ANCHOR: keep
/// Fetches the keys when it is time to, and when somebody asks for one that is not
/// there. It is one task, so they are never fetched twice at once.
async fn keep(
    http: reqwest::Client,
    url: Url,
    freshness: Freshness,
    publish: watch::Sender<Arc<Known>>,
    mut wanted: watch::Receiver<Instant>,
) {
    loop {
        let last = Arc::clone(&publish.borrow());
        let wait = if last.well {
            freshness.refresh
        } else {
            freshness.cooldown.min(freshness.refresh)
        };
        tokio::select! {
            () = time::sleep_until(last.over + wait) => {}
            wanted = wanted.wait_for(|wanted| *wanted > last.asked) => {
                if wanted.is_err() {
                    return; // nobody can ask any more
                }
            }
        }
        let asked = Instant::now();
        let fetched = fetch(&http, &url).await;
        let now = Instant::now();
        let known = Known {
            well: fetched.is_ok(),
            fetched: if fetched.is_ok() { now } else { last.fetched },
            keys: match fetched {
                Ok(keys) => Arc::new(keys),
                Err(error) => {
                    tracing::warn!(%url, error = format!("{error:#}"), "no keys");
                    Arc::clone(&last.keys)
                }
            },
            asked,
            over: now,
        };
        tracing::debug!(keys = known.keys.len(), "keys");
        publish.send_replace(Arc::new(known));
    }
}
// ANCHOR_END: keep

/// A JWK Set, with each key still to be understood: one that we do not know must not
/// make the others useless.
#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

async fn fetch(
    http: &reqwest::Client,
    url: &Url,
) -> anyhow::Result<HashMap<String, Arc<DecodingKey>>> {
    let set: Set = discovery::get(http, url).await?;
    let keys = set.keys.into_iter().filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        usable(&key)
    });
    Ok(keys.collect())
}

/// The name and the key, if it is one for ES256 signatures.
fn usable(key: &Jwk) -> Option<(String, Arc<DecodingKey>)> {
    let AlgorithmParameters::EllipticCurve(point) = &key.algorithm else {
        return None;
    };
    let common = &key.common;
    let for_es256 = point.curve == EllipticCurve::P256
        && matches!(common.key_algorithm, None | Some(KeyAlgorithm::ES256))
        && matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let name = common.key_id.clone().filter(|_| for_es256)?;
    let key = DecodingKey::from_jwk(key).ok()?;
    // A byte that says that both coordinates follow, and 32 of each.
    let whole = key.try_get_as_bytes().is_ok_and(|point| point.len() == 65);
    whole.then(|| (name, Arc::new(key)))
}

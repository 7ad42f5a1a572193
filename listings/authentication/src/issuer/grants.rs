//! What was granted and not yet collected: codes, and refresh tokens.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::same;
use crate::secrets;

/// How long a code may wait to be collected.
const CODE_LIFE: Duration = Duration::from_secs(60);

/// How long a person need not log in again.
const REFRESH_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// So many codes and so many logins are kept, and no more.
const MOST: usize = 1024;

/// That a client may act for somebody.
#[derive(Clone)]
pub struct Grant {
    pub who: String,
    pub client: String,
    pub scope: String,
    pub audience: String,
}

/// What a code stands for.
pub struct Code {
    pub grant: Grant,
    pub redirect_uri: String,
    /// The hash of what the client knows that has asked for it.
    pub challenge: String,
    expires: Instant,
}

/// A login. Its refresh token changes each time that it is used.
struct Family {
    grant: Grant,
    current: String,
    expires: Instant,
}

/// See the module.
#[derive(Default)]
pub struct Grants {
    codes: Mutex<HashMap<String, Code>>,
    families: Mutex<HashMap<String, Family>>,
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Grants {
    // ANCHOR: codes
    /// A new code for this.
    pub fn code(
        &self,
        grant: Grant,
        redirect_uri: String,
        challenge: String,
    ) -> anyhow::Result<String> {
        let now = Instant::now();
        let mut codes = lock(&self.codes);
        codes.retain(|_, code| code.expires > now);
        ensure!(codes.len() < MOST, "too many log in at once");
        let name = secrets::secret()?;
        let code = Code {
            grant,
            redirect_uri,
            challenge,
            expires: now + CODE_LIFE,
        };
        codes.insert(name.clone(), code);
        Ok(name)
    }

    /// What the code stands for. It is gone with that, no matter which program has sent it.
    pub fn take(&self, code: &str) -> Option<Code> {
        let code = lock(&self.codes).remove(code);
        code.filter(|code| code.expires > Instant::now())
    }
    // ANCHOR_END: codes

    // ANCHOR: families
    /// The first refresh token of a login.
    pub fn family(&self, grant: Grant) -> anyhow::Result<String> {
        let now = Instant::now();
        let mut families = lock(&self.families);
        families.retain(|_, family| family.expires > now);
        ensure!(families.len() < MOST, "too many are logged in");
        let (name, current) = (secrets::secret()?, secrets::secret()?);
        let token = format!("{name}.{current}");
        let family = Family {
            grant,
            current,
            expires: now + REFRESH_LIFE,
        };
        families.insert(name, family);
        Ok(token)
    }

    /// What the refresh token stands for, and the next one. One that was used before
    /// ends the login: either its owner or a thief has the other.
    pub fn refresh(&self, token: &str, client: &str) -> anyhow::Result<Option<(Grant, String)>> {
        let Some((name, current)) = token.split_once('.') else {
            return Ok(None);
        };
        let next = secrets::secret()?;
        let mut families = lock(&self.families);
        let Some(family) = families.get_mut(name) else {
            return Ok(None);
        };
        let good = same(&family.current, current)
            && family.grant.client == client
            && family.expires > Instant::now();
        if !good {
            families.remove(name);
            return Ok(None);
        }
        family.current.clone_from(&next);
        Ok(Some((family.grant.clone(), format!("{name}.{next}"))))
    }
    // ANCHOR_END: families
}

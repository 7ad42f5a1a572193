//! A token that is always fresh, fetched beside the calls and not in them.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use oauth2::{AccessToken, ClientId, TokenResponse, basic::BasicTokenResponse};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tonic::{Request, Status, metadata::AsciiMetadataValue, service::Interceptor};

use crate::{discovery::Discovery, grant::Grant, secrets};

/// How long we wait before we ask again an issuer that has given no token: at first,
/// and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// The token that calls go with, always a fresh one. A clone shares it, and the last
/// one that is dropped ends the task that fetches it.
#[derive(Clone)]
pub struct Tokens {
    current: watch::Receiver<Token>,
    _keeper: Arc<JoinSet<()>>,
}

/// One of them.
#[derive(Clone)]
struct Token {
    /// What is sent. It is marked as sensitive.
    header: AsciiMetadataValue,
    life: Duration,
    /// When it expires, by our own clock: that of the issuer may be wrong.
    expires: Instant,
}

/// Without the token.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Gets the first token, and goes on doing so.
    ///
    /// # Errors
    ///
    /// Fails if the issuer gives none now.
    pub async fn fetch(
        http: reqwest::Client,
        issuer: Discovery,
        mut grant: Grant,
    ) -> anyhow::Result<Self> {
        let token = Token::ask(&mut grant, &http, &issuer).await?;
        Ok(Self::keep(token, http, issuer, grant))
    }

    fn keep(first: Token, http: reqwest::Client, issuer: Discovery, grant: Grant) -> Self {
        let (publish, current) = watch::channel(first);
        let mut keeper = JoinSet::new();
        keeper.spawn(renew(http, issuer, grant, publish));
        Self {
            current,
            _keeper: Arc::new(keeper),
        }
    }

    /// With what somebody has got who has just logged in.
    ///
    /// # Errors
    ///
    /// Fails if the token cannot be sent, or its life is not told.
    pub fn of(
        id: ClientId,
        response: &BasicTokenResponse,
        asked: Instant,
        http: reqwest::Client,
        issuer: Discovery,
    ) -> anyhow::Result<Self> {
        let first = Token::new(response, asked)?;
        let token = response.refresh_token().cloned();
        let token = token.context("the issuer gives no token to refresh with")?;
        let grant = Grant::Refresh { id, token };
        Ok(Self::keep(first, http, issuer, grant))
    }

    /// Waits for the next token. A stream ends with the token that it was begun with:
    /// this is when to begin it anew.
    pub async fn renewed(&mut self) {
        // The other end lives as long as this one.
        self.current.changed().await.ok();
    }

    /// Puts it on each call. Only [`crate::channel`] may: it knows that it is TLS.
    pub(crate) fn bearer(&self) -> Bearer {
        Bearer {
            current: self.current.clone(),
        }
    }
}

// ANCHOR: renew
/// Gets the next token while the last one has half of its life before it. If the
/// issuer is down there is time to try again, and calls go on.
async fn renew(
    http: reqwest::Client,
    issuer: Discovery,
    mut grant: Grant,
    publish: watch::Sender<Token>,
) {
    let mut again = AGAIN.0;
    let mut at = publish.borrow().refresh_at();
    loop {
        time::sleep_until(at).await;
        match Token::ask(&mut grant, &http, &issuer).await {
            Ok(token) => {
                tracing::debug!(life = ?token.life, "a new token");
                again = AGAIN.0;
                at = token.refresh_at();
                publish.send_replace(token);
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), ?again, "no new token");
                at = Instant::now() + again;
                again = AGAIN.1.min(again * 2);
            }
        }
    }
}

impl Token {
    async fn ask(
        grant: &mut Grant,
        http: &reqwest::Client,
        issuer: &Discovery,
    ) -> anyhow::Result<Self> {
        let asked = Instant::now();
        let response = grant.ask(http, issuer).await?;
        Self::new(&response, asked)
    }

    fn new(response: &BasicTokenResponse, asked: Instant) -> anyhow::Result<Self> {
        let life = response.expires_in();
        let life = life.context("the issuer does not say how long its token lives")?;
        // From when we asked: its life has begun somewhere on the way.
        let expires = asked.checked_add(life);
        Ok(Self {
            header: header(response.access_token())?,
            life,
            expires: expires.context("the issuer's token lives for ever")?,
        })
    }

    /// At half of its life, or a little later: a thousand clients that were started
    /// together shall not come together each time.
    fn refresh_at(&self) -> Instant {
        let [chance] = secrets::random().unwrap_or_default();
        let left = self.life / 2 - self.life / 8 * u32::from(chance) / 256;
        // An issuer that gives nothing but short ones is not asked without a pause.
        (self.expires - left).max(Instant::now() + AGAIN.0)
    }
}
// ANCHOR_END: renew

fn header(token: &AccessToken) -> anyhow::Result<AsciiMetadataValue> {
    let header = format!("Bearer {}", token.secret()).parse();
    // The error would be about the token.
    let mut header: AsciiMetadataValue = header.map_err(|_| anyhow!("a token of odd letters"))?;
    header.set_sensitive(true);
    Ok(header)
}

// ANCHOR: bearer
/// Sends the current token along. It waits for nothing.
#[derive(Clone)]
pub struct Bearer {
    current: watch::Receiver<Token>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self.current.borrow();
        if token.expires <= Instant::now() {
            return Err(Status::unavailable(
                "there is no new token, and the last one has expired: try again later",
            ));
        }
        let metadata = request.metadata_mut();
        metadata.insert("authorization", token.header.clone());
        drop(token);
        Ok(request)
    }
}
// ANCHOR_END: bearer

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever prints a request prints no token.
    #[tokio::test]
    async fn the_token_is_marked() -> Result<(), Box<dyn std::error::Error>> {
        let (_keeper, current) = watch::channel(Token {
            header: header(&AccessToken::new("eyJ-the-token".to_owned()))?,
            life: Duration::from_secs(60),
            expires: Instant::now() + Duration::from_secs(60),
        });
        let request = Bearer { current }.call(Request::new(()))?;
        let sent = request.metadata().get("authorization");
        assert_eq!(sent.ok_or("nothing is sent")?, "Bearer eyJ-the-token");
        let shown = format!("{request:?}");
        assert!(
            shown.contains("Sensitive") && !shown.contains("eyJ"),
            "{shown}"
        );
        Ok(())
    }
}

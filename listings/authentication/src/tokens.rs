//! A token that is always fresh, fetched beside the calls and not in them.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context;
use oauth2::{
    AccessToken, ClientId, TokenResponse,
    basic::{BasicErrorResponseType, BasicTokenResponse},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tonic::{Request, Status, metadata::AsciiMetadataValue, service::Interceptor};

use crate::{
    discovery::Discovery,
    grant::{Grant, NoToken},
    secrets,
};

/// How long we wait before we ask again an issuer that has given no token: at first,
/// and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// The token that calls go with, always a fresh one. Clones share it, and so do the
/// clients of [`crate::channel`]. When the last of all these is dropped, the task that
/// fetches tokens ends.
#[derive(Clone)]
pub struct Tokens {
    /// Closed when there will be no further token: the issuer refuses for good.
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
    /// this is when to begin it again.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if there will be none until the user logs in again.
    pub async fn renewed(&mut self) -> Result<(), Status> {
        self.current.changed().await.map_err(|_| log_in_again())
    }

    /// Puts it on each call. Only [`crate::channel`] may: it knows that it is TLS.
    pub(crate) fn bearer(&self) -> Bearer {
        Bearer(self.clone())
    }
}

// ANCHOR: renew
/// Gets the next token while the last one has half of its life before it. If the
/// issuer is down there is time to try again, and calls go on.
///
/// Ends when the issuer says `invalid_grant`: what we ask with is no longer good, and
/// never will be. An answer that was lost on its way may lead there too. We ask again
/// with the old refresh token, because an issuer may allow that for some seconds. If
/// it does not, it takes us for a thief and ends the login; giving up without asking
/// would end it as well.
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
            Err(NoToken::Refused(BasicErrorResponseType::InvalidGrant)) => {
                tracing::error!("the login has ended: log in again");
                return; // which closes `publish`
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
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
    ) -> Result<Self, NoToken> {
        let asked = Instant::now();
        let response = grant.ask(http, issuer).await?;
        Self::new(&response, asked)
    }

    fn new(response: &BasicTokenResponse, asked: Instant) -> Result<Self, NoToken> {
        let life = response.expires_in();
        let life = life.ok_or(NoToken::Unusable("has no `expires_in`"))?;
        // From when we asked: its life has begun somewhere on the way.
        let expires = asked.checked_add(life);
        Ok(Self {
            header: header(response.access_token())?,
            life,
            expires: expires.ok_or(NoToken::Unusable("lives forever"))?,
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

fn header(token: &AccessToken) -> Result<AsciiMetadataValue, NoToken> {
    let header = format!("Bearer {}", token.secret()).parse();
    // The library's error would show the token.
    let unusable = NoToken::Unusable("has characters that a header cannot hold");
    let mut header: AsciiMetadataValue = header.map_err(|_| unusable)?;
    header.set_sensitive(true);
    Ok(header)
}

// ANCHOR: bearer
/// Sends the current token along. It waits for nothing.
///
/// It holds [`Tokens`] instead of only the token: otherwise the renewal would end with the
/// function that made the client, and each call would fail after one token's life.
#[derive(Clone)]
pub struct Bearer(Tokens);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let current = &self.0.current;
        let token = current.borrow();
        if token.expires <= Instant::now() {
            return Err(match current.has_changed() {
                Ok(_) => Status::unavailable(
                    "there is no new token, and the last one has expired: try again later",
                ),
                Err(_closed) => log_in_again(),
            });
        }
        let metadata = request.metadata_mut();
        metadata.insert("authorization", token.header.clone());
        drop(token);
        Ok(request)
    }
}

/// A caller that tries again would get the same answer, so this is not `UNAVAILABLE`.
fn log_in_again() -> Status {
    Status::unauthenticated("the issuer gives no further token: log in again")
}
// ANCHOR_END: bearer

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn token(life: Duration) -> Result<Token, NoToken> {
        Ok(Token {
            header: header(&AccessToken::new("eyJ-the-token".to_owned()))?,
            life,
            expires: Instant::now() + life,
        })
    }

    fn bearer(current: watch::Receiver<Token>) -> Bearer {
        let _keeper = Arc::default();
        Bearer(Tokens { current, _keeper })
    }

    /// The issuer has not taken it back, so it goes along until it expires.
    #[tokio::test(start_paused = true)]
    async fn the_last_token_is_used_up() -> Result<(), Box<dyn std::error::Error>> {
        let life = Duration::from_secs(60);
        let (publish, current) = watch::channel(token(life)?);
        let mut bearer = bearer(current);
        drop(publish);
        time::advance(life - Duration::from_secs(1)).await;
        bearer.call(Request::new(()))?;
        time::advance(Duration::from_secs(1)).await;
        let status = bearer.call(Request::new(())).expect_err("it has expired");
        assert_eq!(status.code(), Code::Unauthenticated);
        Ok(())
    }

    /// A request that is printed shows no token.
    #[tokio::test]
    async fn the_token_is_marked() -> Result<(), Box<dyn std::error::Error>> {
        let (_publish, current) = watch::channel(token(Duration::from_secs(60))?);
        let request = bearer(current).call(Request::new(()))?;
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

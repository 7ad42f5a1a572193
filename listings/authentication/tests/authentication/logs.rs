//! Nothing that opens a door is in any log.

use std::{cell::RefCell, io, sync::mpsc, time::Duration};

use authentication::{
    channel,
    discovery::{Discovery, http_client},
    issuer::CLIENT_OF_PEOPLE,
    login,
    pb::GetBalanceRequest,
    tokens::Tokens,
};
use reqwest::{Client, header::LOCATION};
use tracing::subscriber::set_global_default;
use tracing_log::LogTracer;
use tracing_subscriber::filter::LevelFilter;

use crate::support::{EAGER, PASSWORD, Result, SECRET, real_issuer, server_of, teller, with};

thread_local! {
    /// What is logged on this thread, if anybody wants to know.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes to the log of the thread. There is one subscriber for all tests, since tracing
/// remembers for the whole process which lines are wanted; and `tokio::test` runs all
/// tasks of a test on the test's own thread.
struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| {
            if let Some(log) = log {
                log.extend_from_slice(line);
            }
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What of it opens a door: what begins as a JWT does, JSON in base64; what is as long as
/// our codes and refresh tokens; and the secrets that are known.
fn secrets_in(log: &str, known: &[&str]) -> Vec<String> {
    let jwts = log
        .match_indices("eyJ")
        .map(|(at, _)| log[at..].chars().take(20).collect());
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = log.split(|c| !is_part(c));
    // The names of cipher suites are as long.
    let drawn = |word: &&str| word.len() == 43 && word.contains(|c: char| c.is_lowercase());
    let long = words.filter(drawn).map(str::to_owned);
    let known = known.iter().filter(|secret| log.contains(**secret));
    jwts.chain(long)
        .chain(known.map(|secret| (*secret).to_owned()))
        .collect()
}

/// The tokens of a service and of a person who has logged in, and the address that the
/// issuer sent the person's browser back to.
async fn tokens(http: &Client, discovery: &Discovery) -> Result<(Tokens, Tokens, String)> {
    let service = Tokens::fetch(http.clone(), discovery.clone(), teller("accounts.read")).await?;

    let (show, shown) = mpsc::channel();
    let theirs = discovery.clone();
    let login = tokio::spawn(async move {
        login::log_in(
            http_client()?,
            theirs,
            CLIENT_OF_PEOPLE,
            &["accounts.read"],
            |url| {
                show.send(url.clone()).ok();
            },
        )
        .await
    });
    let url = tokio::task::spawn_blocking(move || shown.recv()).await??;
    let form = [("username", "jack"), ("password", PASSWORD)];
    let response = http.post(url).form(&form).send().await?;
    let back = response
        .headers()
        .get(LOCATION)
        .ok_or("not sent back")?
        .to_str()?
        .to_owned();
    http.get(&back).send().await?;
    Ok((service, login.await??, back))
}

/// Everything of the server, the issuer and both clients, in one process, down to what
/// the libraries say for themselves.
#[tokio::test]
async fn no_log_has_a_token_in_it_or_a_secret() -> Result {
    LOG.set(Some(Vec::new()));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(|| Log)
        .finish();
    set_global_default(subscriber)?;
    LogTracer::init()?;

    // Tokens of one second are only renewed. A slow machine may find one expired, so the
    // calls below go with tokens of an hour.
    let http = http_client()?;
    let (_issuer, name) = real_issuer(Duration::from_secs(1), Duration::ZERO).await?;
    let (service, person, _) = tokens(&http, &Discovery::of(&http, &name).await?).await?;
    for mut tokens in [service, person] {
        tokio::time::timeout(Duration::from_secs(60), tokens.renewed()).await??;
    }

    let (issuer, name) = real_issuer(Duration::from_secs(3600), Duration::ZERO).await?;
    let server = server_of(&name, EAGER).await?;
    let discovery = Discovery::of(&http, &name).await?;
    let (service, person, back) = tokens(&http, &discovery).await?;
    for tokens in [&service, &person] {
        let mut client = channel::connect(&server.uri, server.authority.clone(), tokens).await?;
        client.get_balance(GetBalanceRequest {}).await?;
    }
    // And when it goes wrong.
    issuer.revoke()?;
    let mut client = channel::connect(&server.uri, server.authority.clone(), &service).await?;
    let mut bad = server.client().await?;
    bad.get_balance(with(GetBalanceRequest {}, "eyJ-bad"))
        .await
        .expect_err("bad");
    client.get_balance(GetBalanceRequest {}).await.ok();
    let error = Tokens::fetch(http, discovery, teller("everything")).await;
    tracing::error!(error = ?error.expect_err("no such scope"), "as somebody may log it");

    let logged = || {
        let log = LOG.with_borrow(|log| log.clone().unwrap_or_default());
        String::from_utf8_lossy(&log).into_owned()
    };
    let known = [SECRET, PASSWORD, "PRIVATE KEY"];
    let text = logged();
    for line in [
        "not let in",
        "a new token",
        "logged in",
        "kind=\"client_credentials\"",
        "reqwest",
        "h2",
    ] {
        assert!(text.contains(line), "there is no {line:?} in the log");
    }
    assert_eq!(secrets_in(&text, &known), Vec::<String>::new());

    // It would have been found: metadata that nobody has marked shows itself.
    let request = with(GetBalanceRequest {}, "eyJhbGciOiJFUzI1NiJ9.e30.c2ln");
    tracing::info!(?request, "careless");
    tracing::info!("{back}");
    tracing::info!("{SECRET}");
    assert_eq!(secrets_in(&logged(), &known).len(), 3);
    Ok(())
}

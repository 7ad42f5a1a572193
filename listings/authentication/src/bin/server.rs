//! `authentication-server [ADDRESS [ISSUER [SECRETS [SECONDS [LEVEL [TYP]]]]]]` serves
//! the accounts until Ctrl-C, with the certificate in the folder SECRETS, to those who
//! have a token of ISSUER. It fetches the issuer's keys every SECONDS. TYP is what the
//! header of an access token says: `at+jwt` unless it is given, and with many issuers
//! `JWT`.

use std::{env, path::Path, time::Duration};

use anyhow::Context;
use authentication::{
    AUDIENCE, DRAIN_TIMEOUT,
    accounts::Accounts,
    certificates,
    discovery::{Discovery, http_client},
    jwks::{Freshness, Keys},
    program, shutdown,
    token::{AT_JWT, Verifier},
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = args.first().unwrap_or(&"127.0.0.1:50051");
    let issuer = args.get(1).unwrap_or(&"http://127.0.0.1:50080");
    let secrets = Path::new(args.get(2).unwrap_or(&"secrets"));
    let seconds = args.get(3).unwrap_or(&"60");
    let refresh = seconds.parse().map(Duration::from_secs);
    let refresh = refresh.with_context(|| format!("{seconds:?} is no number of seconds"))?;
    program::log(args.get(4).unwrap_or(&"info"))?;
    let token_type = args.get(5).unwrap_or(&AT_JWT);

    // ANCHOR: verifier
    // Without them there is no server: no token goes over a line that is not safe.
    let identity = certificates::identity(secrets)?;
    let http = http_client()?;
    let discovery = Discovery::of(&http, issuer)
        .await
        .with_context(|| format!("cannot ask the issuer {issuer}"))?;
    let freshness = Freshness {
        refresh,
        cooldown: refresh.min(Freshness::default().cooldown),
        ..Freshness::default()
    };
    let keys = Keys::fetch(http, discovery.jwks_uri, freshness).await?;
    let verifier = Verifier::new(issuer, AUDIENCE, keys).with_token_type(token_type);
    // ANCHOR_END: verifier
    let accounts = Accounts::new([
        ("teller", 100_000),
        ("jack", 5_000),
        ("mike", 5_000),
        ("李雷", 5_000),
    ]);

    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {}", listener.local_addr()?);

    authentication::serve(listener, identity, verifier, accounts, shutdown)
        .await
        .context("cannot serve, is the certificate good?")
}

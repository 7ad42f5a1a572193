//! `authentication-client [URI [ISSUER [SECRETS [SCOPE [SECONDS [LEVEL]]]]]]` is a
//! service that calls the accounts for itself, with the secret in the folder SECRETS. If
//! it is told SECONDS, it calls for so long, and counts.

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use authentication::{
    certificates,
    channel::{self, CALL_LIMIT, Client},
    discovery::{Discovery, http_client},
    escape::escape,
    grant::Grant,
    limit::within,
    pb::{CloseAccountRequest, GetBalanceRequest, TransferRequest},
    program,
    tokens::Tokens,
};
use oauth2::{ClientId, ClientSecret};
use tokio::task::JoinSet;
use tonic::Status;

/// So many calls at once, if it counts.
const AT_ONCE: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let uri = args.first().unwrap_or(&"https://127.0.0.1:50051");
    let issuer = args.get(1).unwrap_or(&"http://127.0.0.1:50080");
    let secrets = Path::new(args.get(2).unwrap_or(&"secrets"));
    let scope = args.get(3).unwrap_or(&"accounts.read accounts.write");
    let seconds = args.get(4).map(|seconds| {
        let parsed = seconds.parse().map(Duration::from_secs);
        parsed.with_context(|| format!("{seconds:?} is no number of seconds"))
    });
    let seconds = seconds.transpose()?;
    program::log(args.get(5).unwrap_or(&"info"))?;

    // ANCHOR: client
    let file = secrets.join("teller.secret");
    let secret = fs::read_to_string(&file);
    let secret = secret.with_context(|| format!("cannot read {}", file.display()))?;
    let http = http_client()?;
    let discovery = Discovery::of(&http, issuer)
        .await
        .with_context(|| format!("cannot ask the issuer {issuer}"))?;
    let grant = Grant::ClientCredentials {
        id: ClientId::new("teller".to_owned()),
        secret: ClientSecret::new(secret.trim_end().to_owned()),
        scope: scope.to_string(),
    };
    let tokens = Tokens::fetch(http, discovery, grant).await?;
    let authority = certificates::authority(secrets)?;
    let mut client = channel::connect(uri, authority, &tokens).await?;
    // ANCHOR_END: client

    if let Some(time) = seconds {
        return count(&client, time).await;
    }
    let balance = within(CALL_LIMIT, client.get_balance(GetBalanceRequest {})).await;
    report("balance", balance.map(|left| left.into_inner().cents));
    let request = TransferRequest {
        to: "李雷".to_owned(),
        cents: 500,
    };
    let left = within(CALL_LIMIT, client.transfer(request)).await;
    report("transfer", left.map(|left| left.into_inner().cents));
    let closed = within(CALL_LIMIT, client.close_account(CloseAccountRequest {})).await;
    report("close", closed.map(|_| 0));
    Ok(())
}

fn report(call: &str, result: Result<u64, Status>) {
    match result {
        Ok(cents) => println!("{call}: {cents} cents are in the account"),
        Err(status) => println!("{call}: {:?}, {}", status.code(), escape(status.message())),
    }
}

/// Calls for so long, and says how it went.
async fn count(client: &Client, time: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let mut client = client.clone();
        callers.spawn(async move {
            let (mut calls, mut failed) = (0u64, Vec::new());
            while began.elapsed() < time {
                calls += 1;
                let call = client.get_balance(GetBalanceRequest {});
                if let Err(status) = within(CALL_LIMIT, call).await {
                    failed.push(status);
                    // Whatever it is, it need not be told a million times.
                    if failed.len() == 10 {
                        break;
                    }
                }
            }
            (calls, failed)
        });
    }
    let (mut calls, mut failed) = (0, Vec::new());
    for (made, bad) in callers.join_all().await {
        calls += made;
        failed.extend(bad);
    }
    println!("{calls} calls, {} failed", failed.len());
    if let Some(status) = failed.first() {
        bail!("{:?}: {}", status.code(), escape(status.message()));
    }
    Ok(())
}

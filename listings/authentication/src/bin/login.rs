//! `authentication-login [URI [ISSUER [SECRETS [LEVEL]]]]` logs a person in with their
//! browser, and shows their balance.

use std::{env, path::Path};

use anyhow::Context;
use authentication::{
    certificates,
    channel::{self, CALL_LIMIT},
    discovery::{Discovery, http_client},
    issuer::CLIENT_OF_PEOPLE,
    limit::within,
    login,
    pb::GetBalanceRequest,
    program,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let uri = args.first().unwrap_or(&"https://127.0.0.1:50051");
    let issuer = args.get(1).unwrap_or(&"http://127.0.0.1:50080");
    let secrets = Path::new(args.get(2).unwrap_or(&"secrets"));
    program::log(args.get(3).unwrap_or(&"info"))?;

    let http = http_client()?;
    let discovery = Discovery::of(&http, issuer)
        .await
        .with_context(|| format!("cannot ask the issuer {issuer}"))?;
    let authority = certificates::authority(secrets)?;
    let scopes = ["accounts.read", "accounts.write"];
    let tokens = login::log_in(http, discovery, CLIENT_OF_PEOPLE, &scopes, |url| {
        println!("log in here: {url}");
    })
    .await?;
    let mut client = channel::connect(uri, authority, &tokens).await?;
    let balance = within(CALL_LIMIT, client.get_balance(GetBalanceRequest {})).await?;
    println!("{} cents are in your account", balance.into_inner().cents);
    Ok(())
}

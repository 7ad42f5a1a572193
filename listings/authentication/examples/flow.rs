//! `cargo run --example flow` logs a person in, and shows what goes through their
//! browser and what goes past it. What is drawn at random is left out.

#[path = "../tests/authentication/support/mod.rs"]
mod support;

use std::{sync::mpsc, time::Duration};

use authentication::{
    channel,
    discovery::{Discovery, http_client},
    issuer::CLIENT_OF_PEOPLE,
    login,
    pb::GetBalanceRequest,
};
use reqwest::{Response, header::LOCATION};
use support::{EAGER, PASSWORD, Result, real_issuer, server_of};
use url::Url;

#[tokio::main]
async fn main() -> Result {
    let hour = Duration::from_secs(3600);
    let (_issuer, name) = real_issuer(hour, hour).await?;
    let server = server_of(&name, EAGER).await?;
    let http = http_client()?;
    let discovery = Discovery::of(&http, &name).await?;

    let (show, shown) = mpsc::channel();
    let login = tokio::spawn(async move {
        let scopes = ["accounts.read", "accounts.write"];
        let http = http_client()?;
        login::log_in(http, discovery, CLIENT_OF_PEOPLE, &scopes, |url| {
            show.send(url.clone()).ok();
        })
        .await
    });
    let url = tokio::task::spawn_blocking(move || shown.recv()).await??;
    println!("the program shows an address, and the browser opens it:");
    question("GET", &url, "the issuer");
    let page = http.get(url.clone()).send().await?;
    println!("    {}, a page with a form", page.status());

    println!("jack fills it in:");
    println!("  POST to the same, with username and password");
    let form = [("username", "jack"), ("password", PASSWORD)];
    let response = http.post(url).form(&form).send().await?;
    let back = location(&response)?;
    println!("    {}, go to", response.status());

    question("GET", &back, "the program");
    let page = http.get(back).send().await?;
    println!("    {}, {}", page.status(), page.text().await?);

    println!("the program asks the issuer itself, with the code and the verifier");
    let tokens = login.await??;
    println!("    and has an access token and a refresh token");
    let mut client = channel::connect(&server.uri, server.authority.clone(), &tokens).await?;
    let balance = client.get_balance(GetBalanceRequest {}).await?.into_inner();
    println!("it calls GetBalance: {} cents", balance.cents);
    Ok(())
}

fn location(response: &Response) -> Result<Url> {
    let to = response.headers().get(LOCATION).ok_or("not sent back")?;
    Ok(Url::parse(to.to_str()?)?)
}

/// Shows an address without its port and without what differs each time.
fn question(method: &str, url: &Url, whose: &str) {
    println!("  {method} {} of {whose}", url.path());
    for (key, value) in url.query_pairs() {
        let shown = match &*key {
            "state" | "code" | "code_challenge" => "…",
            "iss" => "the issuer",
            "redirect_uri" => "http://127.0.0.1:…/callback",
            _ => &value,
        };
        println!("    {key} = {shown}");
    }
}

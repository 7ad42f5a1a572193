//! `streaming-client [URI [METHOD]]` makes a call of each kind, or only one:
//! `get-price`, `list-prices`, `add-up` or `scan`.

use std::{env, time::Duration};

use anyhow::{Context, bail};
use streaming::{
    call_limit::within_limit,
    escape::escape,
    pb::{
        AddUpRequest, GetPriceRequest, ListPricesRequest, ScanRequest,
        till_service_client::TillServiceClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

type Client = TillServiceClient<Channel>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());

    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    let mut client = Client::new(channel);

    match args.next().as_deref() {
        Some("get-price") => within_limit(get_price(&mut client)).await,
        Some("list-prices") => within_limit(list_prices(&mut client)).await,
        Some("add-up") => within_limit(add_up(&mut client)).await,
        Some("scan") => within_limit(scan(&mut client)).await,
        Some(other) => {
            bail!("there is no method {other:?}: choose get-price, list-prices, add-up or scan")
        }
        None => {
            within_limit(get_price(&mut client)).await?;
            within_limit(list_prices(&mut client)).await?;
            within_limit(add_up(&mut client)).await?;
            within_limit(scan(&mut client)).await
        }
    }
}

async fn get_price(client: &mut Client) -> anyhow::Result<()> {
    let article = "茶".to_owned();
    let response = client.get_price(GetPriceRequest { article }).await?;
    println!("get price: {} cents", response.into_inner().cents);
    Ok(())
}

// ANCHOR: list_prices
async fn list_prices(client: &mut Client) -> anyhow::Result<()> {
    let mut prices = client.list_prices(ListPricesRequest {}).await?.into_inner();
    while let Some(price) = prices.message().await? {
        println!(
            "list prices: {} {} cents",
            escape(&price.article),
            price.cents
        );
    }
    Ok(())
}
// ANCHOR_END: list_prices

// ANCHOR: add_up
async fn add_up(client: &mut Client) -> anyhow::Result<()> {
    let articles = ["bread", "milk", "茶"].map(|article| AddUpRequest {
        article: article.to_owned(),
    });
    let sum = client.add_up(tokio_stream::iter(articles)).await?;
    let sum = sum.into_inner();
    println!("add up: {} articles, {} cents", sum.articles, sum.cents);
    Ok(())
}
// ANCHOR_END: add_up

// ANCHOR: scan
async fn scan(client: &mut Client) -> anyhow::Result<()> {
    let (articles, requests) = mpsc::channel(1);
    let mut lines = client
        .scan(ReceiverStream::new(requests))
        .await?
        .into_inner();
    for article in ["bread", "milk", "茶"] {
        let article = article.to_owned();
        if articles.send(ScanRequest { article }).await.is_err() {
            break; // The call has ended, and `message` below has the reason.
        }
        let line = lines.message().await?.context("the till is silent")?;
        println!(
            "scan: {} {} cents, {} so far",
            escape(&line.article),
            line.cents,
            line.sum_cents
        );
    }
    // Dropping the sender ends the stream of requests, and with it the call.
    drop(articles);
    if lines.message().await?.is_some() {
        bail!("the till has sent one answer too many");
    }
    Ok(())
}
// ANCHOR_END: scan

//! `metadata-client [URI [METHOD]]` makes a call of each kind, or only `get-price`,
//! `list-prices`, `add-up` or `scan`, and prints headers, messages and trailers.

use std::{env, time::Duration};

use anyhow::{Context, bail};
use metadata::{
    escape::escape,
    pb::{
        AddUpRequest, GetPriceRequest, ListPricesRequest, ScanRequest,
        till_service_client::TillServiceClient,
    },
};
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    metadata::{AsciiMetadataValue, BinaryMetadataValue, MetadataMap},
    transport::{Channel, Endpoint},
};

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

/// How long a call may take, with all its messages. tonic itself sets no limit.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Waits for the end of `call`, for [`CALL_LIMIT`] at most. Dropping the call then
/// cancels it.
///
/// `Endpoint::timeout` would not do: its timer stops at the response headers.
async fn within_limit(call: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    time::timeout(CALL_LIMIT, call)
        .await
        .with_context(|| format!("the call was not over after {CALL_LIMIT:?}"))?
}

// ANCHOR: request
/// A request with our name and two vouchers.
fn request<T>(message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    let name = BinaryMetadataValue::from_bytes("李雷".as_bytes());
    metadata.insert_bin("name-bin", name);
    for voucher in ["SPRING-5", "TEA-10"] {
        let mut voucher: AsciiMetadataValue = voucher.parse()?;
        voucher.set_sensitive(true);
        metadata.append("voucher", voucher);
    }
    Ok(request)
}
// ANCHOR_END: request

// ANCHOR: show
fn show_headers(call: &str, headers: &MetadataMap) -> anyhow::Result<()> {
    let vouchers = headers.get("vouchers").context("no vouchers")?.to_str()?;
    let greeting = headers.get_bin("greeting-bin").context("no greeting")?;
    let greeting = greeting.to_bytes()?;
    let greeting = escape(str::from_utf8(&greeting)?);
    println!("{call}: headers: {greeting}, vouchers: {vouchers}");
    Ok(())
}

fn show_trailers(call: &str, trailers: &MetadataMap) -> anyhow::Result<()> {
    let articles = trailers.get("articles").context("no articles")?.to_str()?;
    let cents = trailers.get("cents").context("no cents")?.to_str()?;
    println!("{call}: trailers: articles: {articles}, cents: {cents}");
    Ok(())
}
// ANCHOR_END: show

// ANCHOR: get_price
async fn get_price(client: &mut Client) -> anyhow::Result<()> {
    let article = "茶".to_owned();
    let response = client
        .get_price(request(GetPriceRequest { article })?)
        .await?;
    // Both are in one map, because the call has ended.
    show_headers("get price", response.metadata())?;
    show_trailers("get price", response.metadata())?;
    println!("get price: {} cents", response.into_inner().cents);
    Ok(())
}
// ANCHOR_END: get_price

async fn list_prices(client: &mut Client) -> anyhow::Result<()> {
    let response = client.list_prices(request(ListPricesRequest {})?).await?;
    show_headers("list prices", response.metadata())?;
    let mut prices = response.into_inner();
    while let Some(price) = prices.message().await? {
        println!(
            "list prices: {} {} cents",
            escape(&price.article),
            price.cents
        );
    }
    ended("list prices", prices).await
}

async fn add_up(client: &mut Client) -> anyhow::Result<()> {
    let articles = ["bread", "milk", "茶"].map(|article| AddUpRequest {
        article: article.to_owned(),
    });
    let response = client
        .add_up(request(tokio_stream::iter(articles))?)
        .await?;
    show_headers("add up", response.metadata())?;
    show_trailers("add up", response.metadata())?;
    let sum = response.into_inner();
    println!("add up: {} articles, {} cents", sum.articles, sum.cents);
    Ok(())
}

// ANCHOR: scan
async fn scan(client: &mut Client) -> anyhow::Result<()> {
    let (articles, requests) = mpsc::channel(1);
    let response = client.scan(request(ReceiverStream::new(requests))?).await?;
    show_headers("scan", response.metadata())?;

    let mut lines = response.into_inner();
    for article in ["bread", "milk", "茶"] {
        println!("scan: sending {article}");
        let article = article.to_owned();
        articles.send(ScanRequest { article }).await?;
        let line = lines.message().await?.context("the till is silent")?;
        println!("scan: {} {} cents", escape(&line.article), line.cents);
    }
    drop(articles);
    ended("scan", lines).await
}

/// Checks that no message is left, and prints the trailers.
async fn ended<T>(call: &str, mut responses: Streaming<T>) -> anyhow::Result<()> {
    if responses.message().await?.is_some() {
        bail!("the till has sent an unexpected message");
    }
    let trailers = responses.trailers().await?.context("no trailers")?;
    show_trailers(call, &trailers)
}
// ANCHOR_END: scan

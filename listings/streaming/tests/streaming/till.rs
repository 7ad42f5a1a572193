//! What the till promises, checked over a real connection.

use std::{error::Error, net::SocketAddr, time::Duration};

use streaming::{
    DRAIN_TIMEOUT, PRICES,
    pb::{
        AddUpRequest, AddUpResponse, GetPriceRequest, ListPricesRequest, ScanRequest,
        till_service_client::TillServiceClient,
    },
    serve,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, transport::Channel};

/// A server in this process, on a port that the system chose.
struct Shop {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Shop {
    async fn open() -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, async {
            stopped.await.ok();
        }));
        Ok(Self {
            address,
            stop,
            server,
        })
    }

    async fn client(&self) -> Result<TillServiceClient<Channel>, tonic::transport::Error> {
        TillServiceClient::connect(format!("http://{}", self.address)).await
    }
}

fn scanned(article: &str) -> ScanRequest {
    ScanRequest {
        article: article.to_owned(),
    }
}

#[tokio::test]
async fn tells_a_price() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open().await?;
    let mut client = shop.client().await?;
    let article = "茶".to_owned();
    let response = client.get_price(GetPriceRequest { article }).await?;
    assert_eq!(response.into_inner().cents, 480);
    Ok(())
}

#[tokio::test]
async fn lists_every_price_in_its_order() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open().await?;
    let mut client = shop.client().await?;
    let prices = client.list_prices(ListPricesRequest {}).await?.into_inner();
    let prices: Vec<_> = prices
        .map(|price| price.map(|price| (price.article, price.cents)))
        .collect::<Result<_, _>>()
        .await?;
    assert_eq!(prices, PRICES.map(|(name, cents)| (name.to_owned(), cents)));
    Ok(())
}

#[tokio::test]
async fn adds_up_many_articles_and_none() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open().await?;
    let mut client = shop.client().await?;
    let article = "milk".to_owned();
    let many = vec![AddUpRequest { article }; 10_000];
    let sum = client.add_up(tokio_stream::iter(many)).await?.into_inner();
    assert_eq!((sum.articles, sum.cents), (10_000, 1_450_000));

    let none = client.add_up(tokio_stream::empty()).await?.into_inner();
    assert_eq!(none, AddUpResponse::default());
    Ok(())
}

#[tokio::test]
async fn answers_each_article_before_the_next_is_sent() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open().await?;
    let mut client = shop.client().await?;
    let (articles, requests) = mpsc::channel(1);
    let mut lines = client
        .scan(ReceiverStream::new(requests))
        .await?
        .into_inner();
    for (article, so_far) in [("茶", 480), ("茶", 960), ("bread", 1280)] {
        articles.send(scanned(article)).await?;
        let line = lines.message().await?.ok_or("the till is silent")?;
        assert_eq!((line.article.as_str(), line.sum_cents), (article, so_far));
    }
    drop(articles);
    assert!(lines.message().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_unknown_article_ends_every_kind_of_call() -> Result<(), Box<dyn Error>> {
    const MESSAGE: &str = "there is no \"durian\": ask for the prices";
    let shop = Shop::open().await?;
    let mut client = shop.client().await?;
    let article = "durian".to_owned();

    let price = client.get_price(GetPriceRequest {
        article: article.clone(),
    });
    let status = price.await.expect_err("there is none");
    assert_eq!((status.code(), status.message()), (Code::NotFound, MESSAGE));

    // This client would go on indefinitely: the server ends the call.
    let endless = tokio_stream::iter([AddUpRequest { article }]).chain(tokio_stream::pending());
    let status = client.add_up(endless).await.expect_err("there is none");
    assert_eq!((status.code(), status.message()), (Code::NotFound, MESSAGE));

    let requests = tokio_stream::iter(["bread", "durian", "milk"].map(scanned));
    let mut lines = client.scan(requests).await?.into_inner();
    assert!(lines.message().await?.is_some());
    let status = lines.message().await.expect_err("there is none");
    assert_eq!((status.code(), status.message()), (Code::NotFound, MESSAGE));
    assert!(lines.message().await?.is_none(), "the call has ended");
    Ok(())
}

/// The clock is paused: it jumps on as soon as nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_open_calls_at_once() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open().await?;
    let mut client = shop.client().await?;
    let (_articles, requests) = mpsc::channel(1);
    let scan = client.scan(ReceiverStream::new(requests)).await?;
    let mut lines = scan.into_inner();
    let (articles, requests) = mpsc::channel(1);
    let add_up = tokio::spawn(async move { client.add_up(ReceiverStream::new(requests)).await });
    let article = "bread".to_owned();
    articles.send(AddUpRequest { article }).await?;
    // Once there is room again, tonic has taken the first article.
    articles.reserve().await?;

    let told = time::Instant::now();
    shop.stop.send(()).expect("the server runs");
    let status = lines.message().await.expect_err("the scan was not told");
    assert_eq!(status.code(), Code::Unavailable);
    let status = add_up.await?.expect_err("the sum was not told");
    assert_eq!(status.code(), Code::Unavailable);
    shop.server.await??;
    assert!(told.elapsed() < DRAIN_TIMEOUT, "it waited for the limit");
    Ok(())
}

/// A client that connects and says nothing cannot be told to end its calls.
#[tokio::test(start_paused = true)]
async fn a_stalled_client_holds_a_shutdown_up_for_a_while_only() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open().await?;
    let _silent = TcpStream::connect(shop.address).await?;
    // The server accepts connections in their order, so it has the silent one too.
    shop.client()
        .await?
        .list_prices(ListPricesRequest {})
        .await?;

    let told = time::Instant::now();
    shop.stop.send(()).expect("the server runs");
    shop.server.await??;
    assert!(told.elapsed() >= DRAIN_TIMEOUT, "it did not wait");
    assert!(told.elapsed() < DRAIN_TIMEOUT + Duration::from_secs(1));
    Ok(())
}

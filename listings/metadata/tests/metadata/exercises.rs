//! The exercises of the chapter. Each test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use std::error::Error;

use metadata::{
    pb::{
        AddUpRequest, GetPriceRequest, ListPricesRequest, ScanRequest,
        till_service_client::TillServiceClient,
    },
    serve,
};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status, metadata::MetadataMap, transport::Channel};

/// A client of a till in this process.
async fn till() -> Result<TillServiceClient<Channel>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, std::future::pending()));
    Ok(TillServiceClient::connect(uri).await?)
}

/// A request with a request ID.
fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = "7f3a".parse().expect("it is ASCII");
    request.metadata_mut().insert("request-id", id);
    request
}

fn id(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("request-id")?.to_str().ok()
}

/// Scans these articles, and returns how the call ends.
async fn scan(articles: &[&str]) -> Result<Status, Box<dyn Error>> {
    let articles: Vec<_> = articles
        .iter()
        .map(|&article| ScanRequest {
            article: article.to_owned(),
        })
        .collect();
    let lines = till().await?.scan(tokio_stream::iter(articles)).await?;
    let mut lines = lines.into_inner();
    loop {
        match lines.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Status::ok("")),
            Err(status) => return Ok(status),
        }
    }
}

#[tokio::test]
#[should_panic(expected = "no receipt")]
async fn exercise_1_a_scan_that_fails_has_a_receipt_too() {
    let status = scan(&["bread", "durian"]).await.expect("the till is there");
    assert_eq!(status.code(), Code::NotFound);
    let articles = status.metadata().get("articles").expect("no receipt");
    assert_eq!(articles, "1");
}

#[tokio::test]
#[should_panic(expected = "no request ID")]
async fn exercise_2_a_request_id_comes_back_with_every_answer() {
    check_ids().await.expect("the till answers");
}

async fn check_ids() -> Result<(), Box<dyn Error>> {
    const NONE: &str = "no request ID";
    let mut till = till().await?;
    let (bread, durian) = ("bread".to_owned(), "durian".to_owned());

    // In the headers of an answer, whatever the kind of call.
    let article = bread.clone();
    let price = till.get_price(request(GetPriceRequest { article })).await?;
    assert_eq!(id(price.metadata()).expect(NONE), "7f3a");
    let list = till.list_prices(request(ListPricesRequest {})).await?;
    assert_eq!(id(list.metadata()).expect(NONE), "7f3a");
    let article = bread.clone();
    let articles = request(tokio_stream::iter([AddUpRequest { article }]));
    let sum = till.add_up(articles).await?;
    assert_eq!(id(sum.metadata()).expect(NONE), "7f3a");
    let article = durian.clone();
    let articles = request(tokio_stream::iter([ScanRequest { article }]));
    let scan = till.scan(articles).await?;
    assert_eq!(id(scan.metadata()).expect(NONE), "7f3a");

    // In the status of a call that fails before its headers.
    let article = durian.clone();
    let status = till.get_price(request(GetPriceRequest { article })).await;
    let status = status.expect_err("there is no durian");
    assert_eq!(id(status.metadata()).expect(NONE), "7f3a");
    let article = durian;
    let articles = request(tokio_stream::iter([AddUpRequest { article }]));
    let status = till.add_up(articles).await;
    let status = status.expect_err("there is no durian");
    assert_eq!(id(status.metadata()).expect(NONE), "7f3a");

    // A client that sends none gets none.
    let list = till.list_prices(ListPricesRequest {}).await?;
    assert_eq!(id(list.metadata()), None);
    Ok(())
}

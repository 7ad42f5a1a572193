//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use metadata::{
    customer::Customer,
    pb::{ScanRequest, till_service_client::TillServiceClient},
    serve,
};
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};

/// What a scan of these articles ends with.
async fn scan(articles: &[&str]) -> Result<Status, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, std::future::pending()));
    let mut client = TillServiceClient::connect(uri).await?;
    let articles: Vec<_> = articles
        .iter()
        .map(|&article| ScanRequest {
            article: article.to_owned(),
        })
        .collect();
    let mut lines = client
        .scan(tokio_stream::iter(articles))
        .await?
        .into_inner();
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

#[test]
#[should_panic(expected = "the same voucher twice")]
fn exercise_2_a_voucher_counts_once() {
    let mut metadata = MetadataMap::new();
    for _ in 0..2 {
        metadata.append("voucher", AsciiMetadataValue::from_static("TEA-10"));
    }
    let status = Customer::read(&metadata).expect_err("the same voucher twice");
    assert_eq!(status.code(), Code::InvalidArgument);
}

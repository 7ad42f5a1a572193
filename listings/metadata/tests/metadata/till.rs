//! What the till promises of metadata, checked over a real connection.

use std::error::Error;

use metadata::{
    customer::{Customer, MAX_NAME_BYTES, MAX_VOUCHERS, forwarded},
    pb::{
        AddUpRequest, GetPriceRequest, ListPricesRequest, ScanRequest,
        till_service_client::TillServiceClient,
    },
    serve,
};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Streaming,
    metadata::{AsciiMetadataValue, BinaryMetadataValue, MetadataMap},
    transport::Channel,
};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// The client of a till in this process, on a port that the system chose.
async fn till() -> Result<TillServiceClient<Channel>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, std::future::pending()));
    Ok(TillServiceClient::connect(uri).await?)
}

/// Said by 李雷, who has a voucher.
fn said<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let name = BinaryMetadataValue::from_bytes("李雷".as_bytes());
    request.metadata_mut().insert_bin("name-bin", name);
    let voucher = AsciiMetadataValue::from_static("TEA-10");
    request.metadata_mut().append("voucher", voucher);
    request
}

/// The vouchers that were counted, and the greeting.
fn headers(metadata: &MetadataMap) -> Result<(String, String)> {
    let vouchers = metadata.get("vouchers").ok_or("no vouchers")?.to_str()?;
    let greeting = metadata.get_bin("greeting-bin").ok_or("no greeting")?;
    let greeting = String::from_utf8(greeting.to_bytes()?.into())?;
    Ok((vouchers.to_owned(), greeting))
}

/// Articles and cents.
fn trailers(metadata: &MetadataMap) -> Result<(u64, u64)> {
    let number = |key| -> Result<u64> {
        let value = metadata.get(key).ok_or("no receipt")?;
        Ok(value.to_str()?.parse()?)
    };
    Ok((number("articles")?, number("cents")?))
}

/// The trailers of a stream.
async fn end<T>(mut responses: Streaming<T>) -> Result<(u64, u64)> {
    while responses.message().await?.is_some() {}
    trailers(&responses.trailers().await?.ok_or("no trailers")?)
}

#[tokio::test]
async fn greets_and_gives_a_receipt_in_all_four_kinds() -> Result {
    let mut client = till().await?;
    let greeting = ("1".to_owned(), "你好, 李雷".to_owned());

    let article = "茶".to_owned();
    let response = client.get_price(said(GetPriceRequest { article })).await?;
    assert_eq!(headers(response.metadata())?, greeting);
    assert_eq!(trailers(response.metadata())?, (1, 480));

    let response = client.list_prices(said(ListPricesRequest {})).await?;
    assert_eq!(headers(response.metadata())?, greeting);
    assert_eq!(end(response.into_inner()).await?, (3, 945));

    let articles = ["bread", "milk"].map(|article| AddUpRequest {
        article: article.to_owned(),
    });
    let response = client.add_up(said(tokio_stream::iter(articles))).await?;
    assert_eq!(headers(response.metadata())?, greeting);
    assert_eq!(trailers(response.metadata())?, (2, 465));

    let articles = ["bread", "茶"].map(|article| ScanRequest {
        article: article.to_owned(),
    });
    let response = client.scan(said(tokio_stream::iter(articles))).await?;
    assert_eq!(headers(response.metadata())?, greeting);
    assert_eq!(end(response.into_inner()).await?, (2, 800));
    Ok(())
}

#[tokio::test]
async fn who_says_nothing_is_served_as_well() -> Result {
    let response = till().await?.list_prices(ListPricesRequest {}).await?;
    assert!(response.metadata().get_bin("greeting-bin").is_none());
    assert_eq!(end(response.into_inner()).await?, (3, 945));
    Ok(())
}

#[tokio::test]
async fn a_call_that_fails_has_its_own_status() -> Result {
    let mut client = till().await?;
    let articles = ["bread", "durian"].map(|article| ScanRequest {
        article: article.to_owned(),
    });
    let mut lines = client
        .scan(tokio_stream::iter(articles))
        .await?
        .into_inner();
    assert!(lines.message().await?.is_some());
    let status = lines.message().await.expect_err("there is none");
    assert_eq!(status.code(), Code::NotFound);
    Ok(())
}

#[test]
fn refuses_what_is_no_name_and_too_many_vouchers() -> Result {
    let mut metadata = MetadataMap::new();
    for bad in [&[][..], &[0xff], &[b'a'; MAX_NAME_BYTES + 1]] {
        metadata.insert_bin("name-bin", BinaryMetadataValue::from_bytes(bad));
        let status = Customer::read(&metadata).expect_err("it is no name");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    metadata.remove_bin("name-bin");
    for _ in 0..MAX_VOUCHERS {
        metadata.append("voucher", AsciiMetadataValue::from_static("TEA-10"));
    }
    assert_eq!(Customer::read(&metadata)?.vouchers.len(), MAX_VOUCHERS);
    metadata.append("voucher", AsciiMetadataValue::from_static("TEA-10"));
    let status = Customer::read(&metadata).expect_err("one too many");
    assert_eq!(status.code(), Code::InvalidArgument);
    Ok(())
}

#[test]
fn forwards_what_is_agreed_on_and_no_secret() {
    let mut incoming = MetadataMap::new();
    for key in [
        "authorization",
        "grpc-timeout",
        "tracestate",
        "tracestate",
        "voucher",
    ] {
        incoming.append(key, AsciiMetadataValue::from_static("1"));
    }
    let outgoing = forwarded(&incoming);
    assert_eq!(outgoing.get_all("tracestate").iter().count(), 2);
    assert_eq!(outgoing.len(), 2);
}

//! What the programs of the listing do.

use anyhow::{Context, ensure};
use harness::{Listing, Result};
use metadata::pb::{AddUpRequest, GetPriceRequest, ListPricesRequest, ScanRequest};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, metadata::BinaryMetadataValue};

use super::{client, code_and_message, request_with, start_server, string_value, tea_request};

#[harness::test]
async fn headers_and_trailers_arrive_with_all_four_method_kinds() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let vouchers = [("voucher", "SPRING-5"), ("voucher", "TEA-10")];

    let price = client
        .get_price(request_with(tea_request(), &vouchers)?)
        .await?;
    assert_eq!(string_value(price.metadata(), "vouchers")?, "2");
    assert_eq!(string_value(price.metadata(), "cents")?, "480");

    let articles = ["bread", "茶"].map(|article| AddUpRequest {
        article: article.to_owned(),
    });
    let articles = request_with(tokio_stream::iter(articles), &vouchers)?;
    let sum = client.add_up(articles).await?;
    assert_eq!(string_value(sum.metadata(), "vouchers")?, "2");
    assert_eq!(string_value(sum.metadata(), "cents")?, "800");

    let prices = client
        .list_prices(request_with(ListPricesRequest {}, &vouchers)?)
        .await?;
    assert_eq!(string_value(prices.metadata(), "vouchers")?, "2");
    ensure!(
        prices.metadata().get("articles").is_none(),
        "a trailer is among the headers"
    );
    let mut prices = prices.into_inner();
    while prices.message().await?.is_some() {}
    let trailers = prices.trailers().await?.context("no trailers")?;
    assert_eq!(string_value(&trailers, "articles")?, "3");
    // The status is in the trailers, beside the metadata.
    assert_eq!(string_value(&trailers, "grpc-status")?, "0");

    // The headers arrive before the first message.
    let (articles, requests) = mpsc::channel(1);
    let requests = request_with(ReceiverStream::new(requests), &vouchers)?;
    let responses = client.scan(requests).await?;
    assert_eq!(string_value(responses.metadata(), "vouchers")?, "2");
    let mut responses = responses.into_inner();
    let article = "milk".to_owned();
    articles.send(ScanRequest { article }).await?;
    drop(articles);
    // `trailers` discards the messages that have not been read.
    let trailers = responses.trailers().await?.context("no trailers")?;
    assert_eq!(string_value(&trailers, "cents")?, "145");
    // It has also read the status, so the stream has no proper end any more.
    let status = responses.message().await.expect_err("the status was read");
    assert_eq!(status.code(), Code::Unknown);
    Ok(())
}

#[harness::test]
fn vouchers_are_never_printed() -> Result {
    let listing = Listing::build("metadata")?;
    let server = start_server()?;
    let client = listing.run("metadata-client", [server.uri()])?;
    let printed = client.text + &server.stop()?.text;
    ensure!(printed.contains("vouchers=2") && printed.contains("vouchers: 2"));
    ensure!(!printed.contains("SPRING-5"), "{printed}");
    Ok(())
}

#[harness::test]
fn client_rejects_an_unknown_method() -> Result {
    let server = start_server()?;
    let listing = Listing::build("metadata")?;
    let output = listing.run("metadata-client", [&server.uri(), "pay"])?;
    assert_eq!(output.code, 1);
    ensure!(
        output.text.contains("there is no method \"pay\""),
        "{output:?}"
    );
    Ok(())
}

/// The status message is shortened, since a status that is too long would be lost.
#[harness::test]
async fn very_long_article_is_reported_as_not_found() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let article = "茶".repeat(1_000);
    let status = client.get_price(GetPriceRequest { article }).await;
    let status = status.expect_err("there is no such article");
    assert_eq!(status.code(), Code::NotFound);
    ensure!(status.message().starts_with("there is no \"茶茶"));
    Ok(())
}

/// A client that is not tonic may send invalid base64, or bytes that are not UTF-8.
#[harness::test]
async fn invalid_base64_is_rejected() -> Result {
    let server = start_server()?;
    let socket = TcpStream::connect(server.address).await?;
    let (send, connection) = h2::client::handshake(socket).await?;
    tokio::spawn(connection);
    let mut send = send.ready().await?;
    for (value, message) in [
        (
            "not base64!",
            "metadata `name-bin` is refused: send 1 to 256 bytes of UTF-8, in base64",
        ),
        (
            "/w",
            "metadata `name-bin` is refused: send 1 to 256 bytes of UTF-8, in base64",
        ),
    ] {
        let request = http::Request::post(server.uri() + "/till.v1.TillService/GetPrice")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("name-bin", value)
            .body(())?;
        let (response, mut body) = send.send_request(request, false)?;
        body.send_data(bytes::Bytes::from_static(&[0; 5]), true)?;
        let response = response.await?;
        let status =
            Status::from_header_map(response.headers()).context("no status in the headers")?;
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, message)
        );
    }
    Ok(())
}

#[harness::test]
async fn invalid_vouchers_are_rejected() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let many = [("voucher", "TEA-10"); 9];
    for (vouchers, message) in [
        (
            &[("voucher", "茶")][..],
            "metadata `voucher` is refused: send a code in ASCII",
        ),
        (
            &[("voucher", "")],
            "metadata `voucher` is refused: send a code in ASCII",
        ),
        (
            &many,
            "metadata `voucher` is refused: send at most eight of them",
        ),
    ] {
        let status = client
            .get_price(request_with(tea_request(), vouchers)?)
            .await;
        let status = status.expect_err("the vouchers are invalid");
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, message)
        );
    }
    client
        .get_price(request_with(tea_request(), &many[1..])?)
        .await?;
    Ok(())
}

/// The till needs a `name-bin` that is not empty.
#[harness::test]
async fn empty_values_are_accepted_except_as_a_name() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let empty = [("traceparent", ""), ("grpc-timeout", ""), ("other", "")];
    let mut request = request_with(tea_request(), &empty)?;
    client
        .get_price(request_with(tea_request(), &empty)?)
        .await?;
    let empty_name = BinaryMetadataValue::from_bytes(b"");
    request.metadata_mut().insert_bin("name-bin", empty_name);
    let result = code_and_message(client.get_price(request).await);
    assert_eq!(result.0, Code::InvalidArgument, "{result:?}");
    Ok(())
}

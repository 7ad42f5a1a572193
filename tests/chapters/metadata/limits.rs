//! How much metadata tonic lets pass, and what fails beyond that.
//!
//! When a connection closes, the error of a call depends on what its tasks have noticed. The tests
//! expect the errors that they get on one thread.

use anyhow::ensure;
use harness::Result;
use metadata::pb::{ScanRequest, till_service_client::TillServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
    transport::{self, Channel},
};

use super::{
    client, code_and_message, request_with, start_server, tea_request,
    upstream::{Upstream, start_upstream},
};

/// More than 16 KiB fails the call, and more than 64 KiB closes the connection.
#[harness::test(current_thread)]
async fn oversized_request_metadata_fails_the_call_or_the_connection() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let (articles, requests) = mpsc::channel(1);
    let responses = client.scan(ReceiverStream::new(requests)).await?;
    let mut responses = responses.into_inner();
    let kibibytes = |kib: usize| "x".repeat(kib * 1024);

    client
        .get_price(request_with(tea_request(), &[("big", &kibibytes(15))])?)
        .await?;
    for kib in [16, 60] {
        let status = client
            .get_price(request_with(tea_request(), &[("big", &kibibytes(kib))])?)
            .await;
        let status = status.expect_err("the metadata is oversized");
        assert_eq!(
            (status.code(), status.message()),
            (
                Code::Unknown,
                "grpc-status header missing, mapped from HTTP status code 431"
            )
        );
    }
    // The other call on the connection goes on.
    let article = "milk".to_owned();
    articles.send(ScanRequest { article }).await?;
    ensure!(responses.message().await?.is_some());

    let status = client
        .get_price(request_with(tea_request(), &[("big", &kibibytes(100))])?)
        .await;
    let status = status.expect_err("the metadata is oversized");
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "h2 protocol error: http2 error")
    );
    // The connection is closed, and with it every other call.
    let status = responses
        .message()
        .await
        .expect_err("the connection is closed");
    assert_eq!(status.code(), Code::Unknown);
    // The next call reconnects.
    client.get_price(tea_request()).await?;
    Ok(())
}

#[harness::test(current_thread)]
async fn oversized_response_metadata_fails_unless_limit_is_raised() -> Result {
    let metadata_of = |bytes: usize| {
        let mut metadata = MetadataMap::new();
        let value = "x".repeat(bytes).parse::<AsciiMetadataValue>();
        value.map(|value| {
            metadata.insert("big", value);
            metadata
        })
    };
    for (bytes, code) in [(17_000, Code::Internal), (100_000, Code::ResourceExhausted)] {
        let (uri, _seen) = start_upstream(Ok(metadata_of(bytes)?)).await?;
        let mut client = TillServiceClient::connect(uri.clone()).await?;
        let status = client
            .get_price(tea_request())
            .await
            .expect_err("the metadata is oversized");
        assert_eq!(
            (status.code(), status.message()),
            (code, "h2 protocol error: http2 error")
        );
        let channel = Channel::from_shared(uri)?.http2_max_header_list_size(200_000);
        let mut client = TillServiceClient::new(channel.connect().await?);
        client.get_price(tea_request()).await?;
    }
    let server = transport::Server::builder().http2_max_header_list_size(200_000);
    let (upstream, _seen) = Upstream::new(Ok(MetadataMap::new()));
    let uri = upstream.serve_on(server).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let value = "x".repeat(100_000);
    client
        .get_price(request_with(tea_request(), &[("big", &value)])?)
        .await?;
    Ok(())
}

/// Metadata of `values` values, each of `bytes` bytes.
fn metadata_of_size(values: usize, bytes: usize) -> Result<MetadataMap> {
    let mut metadata = MetadataMap::new();
    for _ in 0..values {
        metadata.append("big", "x".repeat(bytes).parse()?);
    }
    Ok(metadata)
}

/// HTTP/2 counts the size of a header list as the names, the values, and 32 bytes for each pair.
#[harness::test(current_thread)]
async fn request_metadata_limits_are_exact() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let added_by_tonic = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", &server.address.to_string()),
        (":path", "/till.v1.TillService/GetPrice"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "tonic/0.14.9"),
        ("big", ""),
    ];
    let added_by_tonic: usize = added_by_tonic
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32)
        .sum();
    for (bytes, code) in [
        (16_383, Code::Ok),
        (16_384, Code::Unknown),
        (65_536, Code::Unknown),
        (65_537, Code::ResourceExhausted),
    ] {
        let mut request = Request::new(tea_request());
        *request.metadata_mut() = metadata_of_size(1, bytes - added_by_tonic)?;
        let result = code_and_message(client.get_price(request).await);
        assert_eq!(result.0, code, "{bytes} bytes: {result:?}");
    }
    Ok(())
}

/// A header list with many values closes the connection at less than half the size of one with a
/// single value.
#[harness::test(current_thread)]
async fn many_values_close_the_connection_sooner_than_one() -> Result {
    let server = start_server()?;
    for (values, bytes, connection_survives) in [(1, 40 * 1024, true), (40, 1024, false)] {
        let mut client = client(&server).await?;
        let (articles, requests) = mpsc::channel(1);
        let responses = client.scan(ReceiverStream::new(requests)).await?;
        let mut responses = responses.into_inner();

        let mut request = Request::new(tea_request());
        *request.metadata_mut() = metadata_of_size(values, bytes)?;
        let status = client
            .get_price(request)
            .await
            .expect_err("the metadata is oversized");
        if connection_survives {
            let expected = "grpc-status header missing, mapped from HTTP status code 431";
            assert_eq!((status.code(), status.message()), (Code::Unknown, expected));
        } else {
            // The server closes the connection while the client still writes, and either of the
            // two errors may come first.
            let expected = [
                (Code::Internal, "h2 protocol error: http2 error"),
                (Code::Unknown, "transport error"),
            ];
            ensure!(
                expected.contains(&(status.code(), status.message())),
                "{status:?}"
            );
        }

        let article = "milk".to_owned();
        articles.send(ScanRequest { article }).await.ok();
        let other_call = code_and_message(responses.message().await);
        let expected = if connection_survives {
            Code::Ok
        } else {
            Code::Unknown
        };
        assert_eq!(other_call.0, expected, "{other_call:?}");
        client.get_price(tea_request()).await?;
    }
    Ok(())
}

/// Headers and trailers have a limit each, and fail with different messages.
#[harness::test(current_thread)]
async fn oversized_response_metadata_fails_the_call_or_the_connection() -> Result {
    const HEADERS: &str = "h2 protocol error: http2 error";
    const BODY: &str = "h2 protocol error: error reading a body from connection";
    const NO_STATUS: &str = "protocol error: missing grpc-status trailer, stream was terminated \
                             without a final status (possible truncation by a proxy or load \
                             balancer)";
    for (values, bytes, headers, trailers, other_call) in [
        (
            1,
            17_000,
            (Code::Internal, HEADERS),
            (Code::Unknown, NO_STATUS),
            Code::Ok,
        ),
        (
            1,
            100_000,
            (Code::ResourceExhausted, HEADERS),
            (Code::ResourceExhausted, BODY),
            Code::ResourceExhausted,
        ),
        (
            40,
            1024,
            (Code::Internal, HEADERS),
            (Code::Internal, BODY),
            Code::Internal,
        ),
    ] {
        for (in_trailers, expected) in [(false, headers), (true, trailers)] {
            let oversized = metadata_of_size(values, bytes)?;
            let (headers, trailers) = if in_trailers {
                (MetadataMap::new(), oversized)
            } else {
                (oversized, MetadataMap::new())
            };
            let (upstream, _seen) = Upstream::new(Ok(headers));
            let uri = upstream.with_trailers(trailers).serve().await?;
            let mut client = TillServiceClient::connect(uri).await?;
            let (articles, requests) = mpsc::channel(1);
            let responses = client.scan(ReceiverStream::new(requests)).await?;
            let mut responses = responses.into_inner();

            let result = code_and_message(client.get_price(tea_request()).await);
            assert_eq!((result.0, result.1.as_str()), expected);
            articles.send(ScanRequest::default()).await.ok();
            assert_eq!(code_and_message(responses.message().await).0, other_call);
        }
    }
    Ok(())
}

/// The metadata of a status is in the same header list as the status.
#[harness::test(current_thread)]
async fn status_with_oversized_metadata_is_lost() -> Result {
    let status = Status::with_metadata(Code::NotFound, "no tea", metadata_of_size(1, 17_000)?);
    let (upstream, _seen) = Upstream::new(Err(status));
    let mut client = TillServiceClient::connect(upstream.serve().await?).await?;
    let result = code_and_message(client.get_price(tea_request()).await);
    assert_eq!(result.0, Code::Internal, "{result:?}");
    Ok(())
}

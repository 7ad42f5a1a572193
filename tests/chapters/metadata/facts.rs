//! The behaviour of tonic that the chapter describes.

use std::{panic, time::Duration};

use anyhow::{Context, ensure};
use harness::{Result, spawn_in_process};
use metadata::{
    customer::forwarded,
    pb::{
        ListPricesRequest, ScanRequest, till_service_client::TillServiceClient,
        till_service_server::TillServiceServer,
    },
    trailers::{Trailers, add_trailers},
};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Code, Request, Status,
    metadata::{
        AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataKey, BinaryMetadataValue, MetadataMap,
    },
    service::LayerExt,
    transport,
};
use tower::util::MapResponseLayer;

use super::{
    client, code_and_message, request_with, start_server, string_value, tea_request,
    upstream::{Upstream, start_upstream},
};

/// The message with which `action` panics.
fn panic_message(action: impl FnOnce() + panic::UnwindSafe) -> Result<String> {
    let panic = panic::catch_unwind(action).err().context("no panic")?;
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    Ok(message.context("the panic has no message")?.to_owned())
}

#[harness::test]
fn invalid_literal_key_panics() -> Result {
    let insert = |key: &'static str| {
        panic_message(move || {
            MetadataMap::new().insert(key, AsciiMetadataValue::from_static("1"));
        })
    };
    let invalid = "HeaderName::from_static with invalid bytes";
    assert_eq!(insert("X-Request-Id")?, invalid);
    assert_eq!(insert("request id")?, invalid);
    assert_eq!(insert("id-bin")?, "invalid metadata key");
    let insert_bin = panic_message(|| {
        MetadataMap::new().insert_bin("id", BinaryMetadataValue::from_bytes(b"1"));
    });
    assert_eq!(insert_bin?, "invalid metadata key");

    // Keys from outside of the program are parsed first, and lowercased or rejected.
    assert_eq!("X-Request-Id".parse::<AsciiMetadataKey>()?, "x-request-id");
    assert_eq!("a.b_c-9".parse::<AsciiMetadataKey>()?, "a.b_c-9");
    ensure!("request id".parse::<AsciiMetadataKey>().is_err());
    ensure!("id-bin".parse::<AsciiMetadataKey>().is_err());
    ensure!("id".parse::<BinaryMetadataKey>().is_err());
    // Looking up an invalid key does not panic.
    let mut map = MetadataMap::new();
    map.insert("x-request-id", AsciiMetadataValue::from_static("7"));
    ensure!(map.get("X-Request-Id").is_some() && map.get("id-bin").is_none());
    Ok(())
}

#[harness::test]
fn string_values_may_contain_non_ascii_bytes() -> Result {
    let value: AsciiMetadataValue = "茶".parse()?;
    ensure!(value.to_str().is_err(), "the value is ASCII");
    ensure!("a\nb".parse::<AsciiMetadataValue>().is_err());
    Ok(())
}

/// With padding or without. Several values in one header are not separated.
#[harness::test]
fn binary_values_are_base64() -> Result {
    let decode = |text: &'static str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("id-bin", http::HeaderValue::from_static(text));
        let map = MetadataMap::from_headers(headers);
        map.get_bin("id-bin").map(|value| value.to_bytes().ok())
    };
    for text in ["AAE", "AAE="] {
        assert_eq!(decode(text), Some(Some(vec![0, 1].into())));
    }
    assert_eq!(decode(""), Some(Some(vec![].into())));
    for text in ["AAE,AAI", "not base64!"] {
        assert_eq!(decode(text), Some(None));
    }
    Ok(())
}

/// `{:?}` shows values that are not marked as sensitive, and the mark is not sent.
#[harness::test]
async fn sensitive_mark_hides_a_value_only_locally() -> Result {
    let (uri, mut seen) = start_upstream(Ok(MetadataMap::new())).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let mut request = request_with(tea_request(), &[("authorization", "hunter2")])?;
    ensure!(format!("{request:?}").contains("hunter2"));
    let secret = request.metadata_mut().get_mut("authorization");
    secret.context("no `authorization`")?.set_sensitive(true);
    ensure!(!format!("{request:?}").contains("hunter2"));

    client.get_price(request).await?;
    let seen = seen.recv().await.context("no call arrived")?;
    let secret = seen.get("authorization").context("no `authorization`")?;
    ensure!(!secret.is_sensitive() && format!("{seen:?}").contains("hunter2"));
    Ok(())
}

#[harness::test]
async fn reserved_request_keys_are_dropped_kept_or_applied() -> Result {
    let (uri, mut seen) = start_upstream(Ok(MetadataMap::new())).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let pair = |name| (name, "mine");
    let dropped = [
        "te",
        "content-type",
        "connection",
        "grpc-message",
        "grpc-message-type",
        "grpc-status",
    ];
    let kept = ["grpc-foo", "host", "user-agent"];
    let names: Vec<_> = dropped.into_iter().chain(kept).map(pair).collect();
    client
        .get_price(request_with(tea_request(), &names)?)
        .await?;
    let seen = seen.recv().await.context("no call arrived")?;
    for name in dropped {
        ensure!(seen.get(name).is_none_or(|value| value != "mine"), "{name}");
    }
    assert_eq!(string_value(&seen, "grpc-foo")?, "mine");
    assert_eq!(string_value(&seen, "host")?, "mine");
    ensure!(string_value(&seen, "user-agent")?.starts_with("mine tonic/"));

    for (name, value, code, message) in [
        (
            "grpc-encoding",
            "gzip",
            Code::Unimplemented,
            "Content is compressed with `gzip` which isn't supported",
        ),
        (
            "content-length",
            "5",
            Code::Internal,
            "h2 protocol error: http2 error",
        ),
    ] {
        let status = client
            .get_price(request_with(tea_request(), &[(name, value)])?)
            .await;
        let status = status.expect_err("the key is reserved");
        assert_eq!((status.code(), status.message()), (code, message));
    }
    // tonic ignores an invalid deadline.
    let request = request_with(tea_request(), &[("grpc-timeout", "soon")])?;
    client.get_price(request).await?;
    Ok(())
}

/// A handler cannot override the status.
#[harness::test]
async fn reserved_response_keys_are_dropped() -> Result {
    let mut response_metadata = MetadataMap::new();
    for name in ["grpc-status", "content-type", "grpc-foo"] {
        response_metadata.insert(name, AsciiMetadataValue::from_static("5"));
    }
    let (uri, _seen) = start_upstream(Ok(response_metadata)).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let response = client.get_price(tea_request()).await?;
    let metadata = response.metadata();
    assert_eq!(string_value(metadata, "grpc-status")?, "0");
    assert_eq!(string_value(metadata, "content-type")?, "application/grpc");
    assert_eq!(string_value(metadata, "grpc-foo")?, "5");
    Ok(())
}

/// The metadata of a unary response merges headers and trailers.
#[harness::test]
async fn trailers_replace_headers_with_the_same_key() -> Result {
    let till =
        TillServiceServer::with_interceptor(metadata::Till, |request: Request<()>| Ok(request));
    let repeat_in_trailers = MapResponseLayer::new(|mut response: http::Response<_>| {
        let mut trailers = MetadataMap::new();
        trailers.insert("vouchers", AsciiMetadataValue::from_static("at the end"));
        response.extensions_mut().insert(Trailers(trailers));
        add_trailers(response.map(tonic::body::Body::new))
    });
    let server = transport::Server::builder().add_service(repeat_in_trailers.named_layer(till));
    let uri = format!("http://{}", spawn_in_process(server).await?);
    let mut client = TillServiceClient::connect(uri).await?;
    let response = client.get_price(tea_request()).await?;
    let values = response.metadata().get_all("vouchers");
    assert_eq!(values.iter().collect::<Vec<_>>(), ["at the end"]);
    Ok(())
}

/// An outgoing request should get only chosen keys of the incoming one.
#[harness::test]
async fn copied_metadata_leaks_secrets_and_an_old_deadline() -> Result {
    let (uri, mut seen) = start_upstream(Ok(MetadataMap::new())).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let mut incoming = request_with(
        tea_request(),
        &[
            ("authorization", "hunter2"),
            ("request-id", "7"),
            ("traceparent", "00-1"),
        ],
    )?;
    incoming.set_timeout(Duration::from_secs(5));
    let incoming = incoming.into_parts().0;

    let mut copied = Request::new(tea_request());
    *copied.metadata_mut() = incoming.clone();
    client.get_price(copied).await?;
    let seen_metadata = seen.recv().await.context("no call arrived")?;
    assert_eq!(string_value(&seen_metadata, "authorization")?, "hunter2");
    assert_eq!(string_value(&seen_metadata, "grpc-timeout")?, "5000000u");

    let mut chosen = Request::new(tea_request());
    *chosen.metadata_mut() = forwarded(&incoming);
    client.get_price(chosen).await?;
    let seen_metadata = seen.recv().await.context("no call arrived")?;
    assert_eq!(string_value(&seen_metadata, "request-id")?, "7");
    assert_eq!(string_value(&seen_metadata, "traceparent")?, "00-1");
    ensure!(seen_metadata.get("authorization").is_none());
    ensure!(seen_metadata.get("grpc-timeout").is_none());
    Ok(())
}

/// The peer is not tonic's, so the headers are seen as the client sent them.
#[harness::test]
async fn dropped_keys_are_never_sent() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let (sender, mut calls) = mpsc::channel(1);
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let mut connection = h2::server::handshake(socket).await?;
        while let Some(call) = connection.accept().await {
            let (request, mut respond) = call?;
            let response = http::Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "16")
                .body(())?;
            respond.send_response(response, true)?;
            sender.send(request.into_parts().0.headers).await?;
        }
        anyhow::Ok(())
    });
    let mut client = TillServiceClient::connect(uri).await?;
    for (name, sent_value) in [
        ("te", Some("trailers")),
        ("content-type", Some("application/grpc")),
        ("grpc-status", None),
        ("grpc-message", None),
        ("grpc-message-type", None),
        ("connection", None),
        ("keep-alive", None),
        ("transfer-encoding", None),
        ("upgrade", None),
        ("grpc-foo", Some("10")),
        ("grpc-status-details-bin", Some("10")),
        ("grpc-timeout", Some("10")),
        ("grpc-encoding", Some("10")),
        ("host", Some("10")),
        ("cookie", Some("10")),
        ("user-agent", Some("10 tonic/0.14.9")),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert(name, http::HeaderValue::from_static("10"));
        let mut request = Request::new(tea_request());
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        client.get_price(request).await.ok();
        let headers = calls.recv().await.context("no call arrived")?;
        let seen: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(seen, Vec::from_iter(sent_value), "{name}");
    }
    Ok(())
}

/// Neither strings nor bytes are split at a comma.
#[harness::test]
async fn comma_does_not_separate_values() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let response = client
        .get_price(request_with(
            tea_request(),
            &[("voucher", "SPRING-5,TEA-10")],
        )?)
        .await?;
    assert_eq!(string_value(response.metadata(), "vouchers")?, "1");

    let mut headers = http::HeaderMap::new();
    headers.append("name-bin", http::HeaderValue::from_static("AAE,AAI"));
    headers.append("name-bin", http::HeaderValue::from_static("AAM"));
    let metadata = MetadataMap::from_headers(headers);
    let values: Vec<_> = metadata
        .get_all_bin("name-bin")
        .iter()
        .map(|value| value.to_bytes().ok())
        .collect();
    assert_eq!(values, [None, Some(vec![0, 3].into())]);
    let mut request = Request::new(tea_request());
    *request.metadata_mut() = metadata;
    let (code, _) = code_and_message(client.get_price(request).await);
    assert_eq!(code, Code::InvalidArgument);
    Ok(())
}

#[harness::test]
fn parsed_keys_are_lowercased_or_rejected() -> Result {
    let key = AsciiMetadataKey::from_bytes(b"X-Request-Id")?;
    assert_eq!(key, "x-request-id");
    for invalid in ["request id", "", "茶", "id-bin", ":path"] {
        let error = invalid.parse::<AsciiMetadataKey>().expect_err(invalid);
        assert_eq!(error.to_string(), "invalid gRPC metadata key name");
        let mut metadata = MetadataMap::new();
        ensure!(metadata.get(invalid).is_none() && metadata.remove(invalid).is_none());
    }
    // HTTP/2 allows this key, although gRPC's specification does not.
    assert_eq!("a~b".parse::<AsciiMetadataKey>()?, "a~b");
    Ok(())
}

/// A handler that forwards its request as it is, and ends with `?` on the response.
#[harness::test]
async fn forwarding_a_request_leaks_its_metadata_and_status() -> Result {
    let mut secret = MetadataMap::new();
    secret.insert("database", AsciiMetadataValue::from_static("db-7"));
    let status = Status::with_metadata(Code::NotFound, "no row on db-7", secret);
    let (backend, mut seen) = Upstream::new(Err(status));
    let backend = TillServiceClient::connect(backend.serve().await?).await?;
    let (relay, _seen) = Upstream::new(Ok(MetadataMap::new()));
    let uri = relay.with_backend(backend).serve().await?;

    let mut client = TillServiceClient::connect(uri).await?;
    let mut request = request_with(tea_request(), &[("authorization", "hunter2")])?;
    request.set_timeout(Duration::from_secs(60));
    let status = client
        .get_price(request)
        .await
        .expect_err("the upstream has no tea");
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "no row on db-7")
    );
    assert_eq!(string_value(status.metadata(), "database")?, "db-7");
    let seen = seen.recv().await.context("no call arrived")?;
    assert_eq!(string_value(&seen, "authorization")?, "hunter2");
    assert_eq!(string_value(&seen, "grpc-timeout")?, "60000000u");
    assert_eq!(
        string_value(&seen, "user-agent")?,
        "tonic/0.14.9 tonic/0.14.9"
    );
    Ok(())
}

/// tonic drops reserved keys from the trailers of a stream.
#[harness::test]
async fn stream_trailers_cannot_override_the_status() -> Result {
    let mut trailers = MetadataMap::new();
    for name in ["grpc-status", "grpc-message", "content-type", "te", "kept"] {
        trailers.insert(name, AsciiMetadataValue::from_static("5"));
    }
    let (upstream, _seen) = Upstream::new(Ok(MetadataMap::new()));
    let uri = upstream.with_trailers(trailers).serve().await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let mut prices = client.list_prices(ListPricesRequest {}).await?.into_inner();
    ensure!(prices.message().await?.is_some() && prices.message().await?.is_none());
    let trailers = prices.trailers().await?.context("no trailers")?;
    assert_eq!(string_value(&trailers, "grpc-status")?, "0");
    assert_eq!(string_value(&trailers, "kept")?, "5");
    assert_eq!(trailers.len(), 2);
    Ok(())
}

/// In a unary response it is the listing that drops them.
#[harness::test]
async fn unary_trailers_cannot_override_the_status() -> Result {
    for name in [
        "te",
        "content-type",
        "grpc-status",
        "grpc-message",
        "grpc-message-type",
    ] {
        let mut trailers = MetadataMap::new();
        trailers.insert(name, AsciiMetadataValue::from_static("5"));
        trailers.insert("kept", AsciiMetadataValue::from_static("5"));
        let (upstream, _seen) = Upstream::new(Ok(MetadataMap::new()));
        let uri = upstream.with_trailers(trailers).serve().await?;
        let mut client = TillServiceClient::connect(uri).await?;
        let response = client.get_price(tea_request()).await?;
        let metadata = response.metadata();
        ensure!(
            metadata.get(name).is_none_or(|value| value != "5"),
            "{name}"
        );
        assert_eq!(string_value(metadata, "kept")?, "5");
    }
    Ok(())
}

/// What gives a stream its trailers is an error to a unary call.
#[harness::test]
async fn a_unary_call_cannot_end_with_an_error_that_is_ok() -> Result {
    let ok = Status::with_metadata(Code::Ok, "", MetadataMap::new());
    let (uri, _seen) = start_upstream(Err(ok)).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    assert_eq!(
        code_and_message(client.get_price(tea_request()).await),
        (Code::Internal, "Missing response message.".to_owned())
    );
    Ok(())
}

/// A stream that fails has its trailers in the status.
#[harness::test]
async fn trailers_of_a_failed_stream_are_in_its_status() -> Result {
    let server = start_server()?;
    let mut client = client(&server).await?;
    let article = "durian".to_owned();
    let articles = tokio_stream::iter([ScanRequest { article }]);
    let mut lines = client.scan(articles).await?.into_inner();
    let status = lines.message().await.expect_err("there is no durian");
    assert_eq!(status.code(), Code::NotFound);
    ensure!(lines.trailers().await?.is_none(), "they come twice");
    Ok(())
}

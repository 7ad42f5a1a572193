//! The chapter `metadata`, as its reader runs it, and what it says of tonic.

use std::{panic, pin::Pin, time::Duration};

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server};
use metadata::{
    customer::forwarded,
    pb::{
        AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
        ListPricesResponse, ScanRequest, ScanResponse,
        till_service_client::TillServiceClient,
        till_service_server::{TillService, TillServiceServer},
    },
    trailers::{Trailers, add_trailers},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{
        AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataKey, BinaryMetadataValue, MetadataMap,
    },
    service::LayerExt,
    transport::{self, Channel},
};
use tower::util::MapResponseLayer;

fn started() -> Result<Server> {
    Listing::build("metadata")?.server("metadata-server")
}

async fn client(server: &Server) -> Result<TillServiceClient<Channel>> {
    Ok(TillServiceClient::connect(server.uri()).await?)
}

fn tea() -> GetPriceRequest {
    let article = "茶".to_owned();
    GetPriceRequest { article }
}

/// A request, and what is in its metadata.
fn with<T>(message: T, metadata: &[(&'static str, &str)]) -> Result<Request<T>> {
    let mut request = Request::new(message);
    for (key, value) in metadata {
        request.metadata_mut().append(*key, value.parse()?);
    }
    Ok(request)
}

fn text(metadata: &MetadataMap, key: &str) -> Result<String> {
    let value = metadata.get(key).with_context(|| format!("no {key}"))?;
    Ok(value.to_str()?.to_owned())
}

#[tokio::test]
async fn headers_and_trailers_reach_the_client_in_all_four_kinds() -> Result {
    let server = started()?;
    let mut client = client(&server).await?;
    let vouchers = [("voucher", "SPRING-5"), ("voucher", "TEA-10")];

    let price = client.get_price(with(tea(), &vouchers)?).await?;
    assert_eq!(text(price.metadata(), "vouchers")?, "2");
    assert_eq!(text(price.metadata(), "cents")?, "480");

    let articles = ["bread", "茶"].map(|article| AddUpRequest {
        article: article.to_owned(),
    });
    let articles = with(tokio_stream::iter(articles), &vouchers)?;
    let sum = client.add_up(articles).await?;
    assert_eq!(text(sum.metadata(), "vouchers")?, "2");
    assert_eq!(text(sum.metadata(), "cents")?, "800");

    let prices = client
        .list_prices(with(ListPricesRequest {}, &vouchers)?)
        .await?;
    assert_eq!(text(prices.metadata(), "vouchers")?, "2");
    ensure!(prices.metadata().get("articles").is_none(), "too early");
    let mut prices = prices.into_inner();
    while prices.message().await?.is_some() {}
    let trailers = prices.trailers().await?.context("it has some")?;
    assert_eq!(text(&trailers, "articles")?, "3");
    // The map is what was sent, with the status.
    assert_eq!(text(&trailers, "grpc-status")?, "0");

    // Headers before anybody has said anything.
    let (articles, requests) = mpsc::channel(1);
    let requests = with(ReceiverStream::new(requests), &vouchers)?;
    let lines = client.scan(requests).await?;
    assert_eq!(text(lines.metadata(), "vouchers")?, "2");
    let mut lines = lines.into_inner();
    let article = "milk".to_owned();
    articles.send(ScanRequest { article }).await?;
    drop(articles);
    // `trailers` reads what is left of the messages, and drops it.
    let trailers = lines.trailers().await?.context("it has some")?;
    assert_eq!(text(&trailers, "cents")?, "145");
    // And is the end: the status was read with it.
    let again = lines.message().await.expect_err("it has been read");
    assert_eq!(again.code(), Code::Unknown);
    Ok(())
}

#[test]
fn nobody_prints_a_voucher() -> Result {
    let listing = Listing::build("metadata")?;
    let server = started()?;
    let client = listing.run("metadata-client", [server.uri()])?;
    let printed = client.output + &server.stop()?.output;
    ensure!(printed.contains("vouchers=2") && printed.contains("vouchers: 2"));
    ensure!(!printed.contains("SPRING-5"), "{printed}");
    Ok(())
}

#[test]
fn the_client_refuses_a_method_that_is_none() -> Result {
    let server = started()?;
    let listing = Listing::build("metadata")?;
    let end = listing.run("metadata-client", [&server.uri(), "pay"])?;
    assert_eq!(end.code, 1);
    ensure!(end.output.contains("\"pay\" is no method"), "{end:?}");
    Ok(())
}

/// A status has little room, and a client much to say.
#[tokio::test]
async fn a_long_article_is_not_found_and_nothing_else() -> Result {
    let server = started()?;
    let mut client = client(&server).await?;
    let article = "茶".repeat(100_000);
    let status = client.get_price(GetPriceRequest { article }).await;
    let status = status.expect_err("nobody sells that");
    assert_eq!(status.code(), Code::NotFound);
    ensure!(status.message().starts_with("there is no \"茶茶"));
    Ok(())
}

/// What a panic says.
fn panics(what: impl FnOnce() + panic::UnwindSafe) -> Result<String> {
    let panic = panic::catch_unwind(what)
        .err()
        .context("it does not panic")?;
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Ok(text.context("it says nothing")?.to_owned())
}

#[test]
fn a_literal_that_is_no_key_panics() -> Result {
    let insert = |key: &'static str| {
        panics(move || {
            MetadataMap::new().insert(key, AsciiMetadataValue::from_static("1"));
        })
    };
    let invalid = "HeaderName::from_static with invalid bytes";
    assert_eq!(insert("X-Request-Id")?, invalid);
    assert_eq!(insert("request id")?, invalid);
    assert_eq!(insert("id-bin")?, "invalid metadata key");
    let insert_bin = panics(|| {
        MetadataMap::new().insert_bin("id", BinaryMetadataValue::from_bytes(b"1"));
    });
    assert_eq!(insert_bin?, "invalid metadata key");

    // What comes from elsewhere is made a key first, and lowered or refused.
    assert_eq!("X-Request-Id".parse::<AsciiMetadataKey>()?, "x-request-id");
    assert_eq!("a.b_c-9".parse::<AsciiMetadataKey>()?, "a.b_c-9");
    ensure!("request id".parse::<AsciiMetadataKey>().is_err());
    ensure!("id-bin".parse::<AsciiMetadataKey>().is_err());
    ensure!("id".parse::<BinaryMetadataKey>().is_err());
    // To look up is harmless.
    let mut map = MetadataMap::new();
    map.insert("x-request-id", AsciiMetadataValue::from_static("7"));
    ensure!(map.get("X-Request-Id").is_some() && map.get("id-bin").is_none());
    Ok(())
}

#[test]
fn a_text_may_hold_what_grpc_forbids() -> Result {
    let value: AsciiMetadataValue = "茶".parse()?;
    ensure!(value.to_str().is_err(), "it is not ASCII");
    ensure!("a\nb".parse::<AsciiMetadataValue>().is_err());
    Ok(())
}

/// Padded or not; several in one line are not taken apart.
#[test]
fn bytes_are_base64() -> Result {
    let of = |text: &'static str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("id-bin", http::HeaderValue::from_static(text));
        let map = MetadataMap::from_headers(headers);
        map.get_bin("id-bin").map(|value| value.to_bytes().ok())
    };
    for text in ["AAE", "AAE="] {
        assert_eq!(of(text), Some(Some(vec![0, 1].into())));
    }
    assert_eq!(of(""), Some(Some(vec![].into())));
    for text in ["AAE,AAI", "not base64!"] {
        assert_eq!(of(text), Some(None));
    }
    Ok(())
}

/// What `{:?}` shows, and what survives a call of the mark that hides it.
#[tokio::test]
async fn a_secret_is_hidden_on_this_side_alone() -> Result {
    let (uri, mut seen) = upstream(Ok(MetadataMap::new())).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let mut request = with(tea(), &[("authorization", "hunter2")])?;
    ensure!(format!("{request:?}").contains("hunter2"));
    let secret = request.metadata_mut().get_mut("authorization");
    secret.context("it is there")?.set_sensitive(true);
    ensure!(!format!("{request:?}").contains("hunter2"));

    client.get_price(request).await?;
    let seen = seen.recv().await.context("it came")?;
    let secret = seen.get("authorization").context("it came")?;
    ensure!(!secret.is_sensitive() && format!("{seen:?}").contains("hunter2"));
    Ok(())
}

#[tokio::test]
async fn reserved_names_are_dropped_kept_or_obeyed() -> Result {
    let (uri, mut seen) = upstream(Ok(MetadataMap::new())).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let of = |name| (name, "mine");
    let dropped = [
        "te",
        "content-type",
        "connection",
        "grpc-message",
        "grpc-message-type",
        "grpc-status",
    ];
    let kept = ["grpc-foo", "host", "user-agent"];
    let names: Vec<_> = dropped.into_iter().chain(kept).map(of).collect();
    client.get_price(with(tea(), &names)?).await?;
    let seen = seen.recv().await.context("it came")?;
    for name in dropped {
        ensure!(seen.get(name).is_none_or(|value| value != "mine"), "{name}");
    }
    assert_eq!(text(&seen, "grpc-foo")?, "mine");
    assert_eq!(text(&seen, "host")?, "mine");
    ensure!(text(&seen, "user-agent")?.starts_with("mine tonic/"));

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
        let status = client.get_price(with(tea(), &[(name, value)])?).await;
        let status = status.expect_err("it is not ours to set");
        assert_eq!((status.code(), status.message()), (code, message));
    }
    // A deadline that is none is no deadline.
    let request = with(tea(), &[("grpc-timeout", "soon")])?;
    client.get_price(request).await?;
    Ok(())
}

/// A handler cannot spoil the status.
#[tokio::test]
async fn a_response_s_reserved_names_are_dropped() -> Result {
    let mut answer = MetadataMap::new();
    for name in ["grpc-status", "content-type", "grpc-foo"] {
        answer.insert(name, AsciiMetadataValue::from_static("5"));
    }
    let (uri, _seen) = upstream(Ok(answer)).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let response = client.get_price(tea()).await?;
    let metadata = response.metadata();
    assert_eq!(text(metadata, "grpc-status")?, "0");
    assert_eq!(text(metadata, "content-type")?, "application/grpc");
    assert_eq!(text(metadata, "grpc-foo")?, "5");
    Ok(())
}

/// As a client of another make would send it.
#[tokio::test]
async fn a_name_that_is_not_base64_is_refused() -> Result {
    let server = started()?;
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
        let status = Status::from_header_map(response.headers()).context("refused at once")?;
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, message)
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_voucher_is_refused() -> Result {
    let server = started()?;
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
            "metadata `voucher` is refused: send eight of them at most",
        ),
    ] {
        let status = client.get_price(with(tea(), vouchers)?).await;
        let status = status.expect_err("it is none");
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, message)
        );
    }
    client.get_price(with(tea(), &many[1..])?).await?;
    Ok(())
}

/// Sixteen KiB, and four times as much.
#[tokio::test]
async fn a_request_with_too_much_metadata_ends_its_call_or_the_connection() -> Result {
    let server = started()?;
    let mut client = client(&server).await?;
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    let mut lines = lines.into_inner();
    let big = |kib: usize| "x".repeat(kib * 1024);

    client.get_price(with(tea(), &[("big", &big(15))])?).await?;
    for kib in [16, 60] {
        let status = client.get_price(with(tea(), &[("big", &big(kib))])?).await;
        let status = status.expect_err("it is too much");
        assert_eq!(
            (status.code(), status.message()),
            (
                Code::Unknown,
                "grpc-status header missing, mapped from HTTP status code 431"
            )
        );
    }
    // The other call lives.
    let article = "milk".to_owned();
    articles.send(ScanRequest { article }).await?;
    ensure!(lines.message().await?.is_some());

    let status = client.get_price(with(tea(), &[("big", &big(100))])?).await;
    let status = status.expect_err("it is far too much");
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "h2 protocol error: http2 error")
    );
    // It has taken the connection along, and with it every other call.
    let other = lines.message().await.expect_err("the connection is closed");
    assert_eq!(other.code(), Code::Unknown);
    // The next call connects anew.
    client.get_price(tea()).await?;
    Ok(())
}

#[tokio::test]
async fn so_does_a_response_and_both_limits_can_be_lifted() -> Result {
    let too_much = |bytes: usize| {
        let mut answer = MetadataMap::new();
        let value = "x".repeat(bytes).parse::<AsciiMetadataValue>();
        value.map(|value| {
            answer.insert("big", value);
            answer
        })
    };
    for (bytes, code) in [(17_000, Code::Internal), (100_000, Code::ResourceExhausted)] {
        let (uri, _seen) = upstream(Ok(too_much(bytes)?)).await?;
        let mut client = TillServiceClient::connect(uri.clone()).await?;
        let status = client.get_price(tea()).await.expect_err("it is too much");
        assert_eq!(
            (status.code(), status.message()),
            (code, "h2 protocol error: http2 error")
        );
        let channel = Channel::from_shared(uri)?.http2_max_header_list_size(200_000);
        let mut client = TillServiceClient::new(channel.connect().await?);
        client.get_price(tea()).await?;
    }
    let server = transport::Server::builder().http2_max_header_list_size(200_000);
    let (upstream, _seen) = Upstream::new(Ok(MetadataMap::new()));
    let uri = upstream.serve_on(server).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let big = "x".repeat(100_000);
    client.get_price(with(tea(), &[("big", &big)])?).await?;
    Ok(())
}

/// The map of a unary call has one of the two.
#[tokio::test]
async fn trailers_replace_headers_of_the_same_key() -> Result {
    let till =
        TillServiceServer::with_interceptor(metadata::Till, |request: Request<()>| Ok(request));
    let twice = MapResponseLayer::new(|mut response: http::Response<_>| {
        let mut trailers = MetadataMap::new();
        trailers.insert("vouchers", AsciiMetadataValue::from_static("at the end"));
        response.extensions_mut().insert(Trailers(trailers));
        add_trailers(response.map(tonic::body::Body::new))
    });
    let server = transport::Server::builder().add_service(twice.named_layer(till));
    let uri = format!("http://{}", crate::serving(server).await?);
    let mut client = TillServiceClient::connect(uri).await?;
    let response = client.get_price(tea()).await?;
    let all = response.metadata().get_all("vouchers");
    assert_eq!(all.iter().collect::<Vec<_>>(), ["at the end"]);
    Ok(())
}

/// What an incoming request's metadata does in an outgoing one.
#[tokio::test]
async fn metadata_that_is_copied_takes_secrets_and_an_old_deadline_along() -> Result {
    let (uri, mut seen) = upstream(Ok(MetadataMap::new())).await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let mut incoming = with(
        tea(),
        &[
            ("authorization", "hunter2"),
            ("request-id", "7"),
            ("traceparent", "00-1"),
        ],
    )?;
    incoming.set_timeout(Duration::from_secs(5));
    let incoming = incoming.into_parts().0;

    let mut copied = Request::new(tea());
    *copied.metadata_mut() = incoming.clone();
    client.get_price(copied).await?;
    let there = seen.recv().await.context("it came")?;
    assert_eq!(text(&there, "authorization")?, "hunter2");
    assert_eq!(text(&there, "grpc-timeout")?, "5000000u");

    let mut chosen = Request::new(tea());
    *chosen.metadata_mut() = forwarded(&incoming);
    client.get_price(chosen).await?;
    let there = seen.recv().await.context("it came")?;
    assert_eq!(text(&there, "request-id")?, "7");
    assert_eq!(text(&there, "traceparent")?, "00-1");
    ensure!(there.get("authorization").is_none());
    ensure!(there.get("grpc-timeout").is_none());
    Ok(())
}

/// What a call ended with.
fn ended<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

/// So many values, each of so many bytes.
fn big(values: usize, bytes: usize) -> Result<MetadataMap> {
    let mut metadata = MetadataMap::new();
    for _ in 0..values {
        metadata.append("big", "x".repeat(bytes).parse()?);
    }
    Ok(metadata)
}

/// The header list is what HTTP/2 counts: names, values, and 32 bytes for each.
#[tokio::test]
async fn a_request_s_limits_are_exact() -> Result {
    let server = started()?;
    let mut client = client(&server).await?;
    let sent_anyway = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", &server.address.to_string()),
        (":path", "/till.v1.TillService/GetPrice"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "tonic/0.14.9"),
        ("big", ""),
    ];
    let sent_anyway: usize = sent_anyway
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32)
        .sum();
    for (bytes, code) in [
        (16_383, Code::Ok),
        (16_384, Code::Unknown),
        (65_536, Code::Unknown),
        (65_537, Code::ResourceExhausted),
    ] {
        let mut request = Request::new(tea());
        *request.metadata_mut() = big(1, bytes - sent_anyway)?;
        let end = ended(client.get_price(request).await);
        assert_eq!(end.0, code, "{bytes} bytes: {end:?}");
    }
    Ok(())
}

/// Many values close the connection at less than half of what one may have.
#[tokio::test]
async fn many_values_close_the_connection_sooner_than_one() -> Result {
    let server = started()?;
    for (values, bytes, lives) in [(1, 40 * 1024, true), (40, 1024, false)] {
        let mut client = client(&server).await?;
        let (articles, requests) = mpsc::channel(1);
        let lines = client.scan(ReceiverStream::new(requests)).await?;
        let mut lines = lines.into_inner();

        let mut request = Request::new(tea());
        *request.metadata_mut() = big(values, bytes)?;
        let status = client.get_price(request).await.expect_err("too much");
        if lives {
            let expected = "grpc-status header missing, mapped from HTTP status code 431";
            assert_eq!((status.code(), status.message()), (Code::Unknown, expected));
        } else {
            // The server closes while the client still writes: which of the two
            // is noticed first is chance.
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
        let other = ended(lines.message().await);
        let expected = if lives { Code::Ok } else { Code::Unknown };
        assert_eq!(other.0, expected, "{other:?}");
        client.get_price(tea()).await?;
    }
    Ok(())
}

/// Headers and trailers have a limit each, and other words.
#[tokio::test]
async fn a_response_with_too_much_ends_its_call_or_the_connection() -> Result {
    const HEADERS: &str = "h2 protocol error: http2 error";
    const BODY: &str = "h2 protocol error: error reading a body from connection";
    const NO_STATUS: &str = "protocol error: missing grpc-status trailer, stream was terminated \
                             without a final status (possible truncation by a proxy or load \
                             balancer)";
    for (values, bytes, headers, trailers, other) in [
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
            let much = big(values, bytes)?;
            let (headers, trailers) = if in_trailers {
                (MetadataMap::new(), much)
            } else {
                (much, MetadataMap::new())
            };
            let (upstream, _seen) = Upstream::new(Ok(headers));
            let uri = upstream.trailers(trailers).serve().await?;
            let mut client = TillServiceClient::connect(uri).await?;
            let (articles, requests) = mpsc::channel(1);
            let lines = client.scan(ReceiverStream::new(requests)).await?;
            let mut lines = lines.into_inner();

            let end = ended(client.get_price(tea()).await);
            assert_eq!((end.0, end.1.as_str()), expected);
            articles.send(ScanRequest::default()).await.ok();
            assert_eq!(ended(lines.message().await).0, other);
        }
    }
    Ok(())
}

/// A status travels in the same place, and is lost with it.
#[tokio::test]
async fn a_status_with_too_much_metadata_is_lost() -> Result {
    let status = Status::with_metadata(Code::NotFound, "no tea", big(1, 17_000)?);
    let (upstream, _seen) = Upstream::new(Err(status));
    let mut client = TillServiceClient::connect(upstream.serve().await?).await?;
    let end = ended(client.get_price(tea()).await);
    assert_eq!(end.0, Code::Internal, "{end:?}");
    Ok(())
}

/// Seen without tonic on the other side: what the client itself leaves out.
#[tokio::test]
async fn what_a_client_drops_never_reaches_the_wire() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let (tell, mut told) = mpsc::channel(1);
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
            tell.send(request.into_parts().0.headers).await?;
        }
        anyhow::Ok(())
    });
    let mut client = TillServiceClient::connect(uri).await?;
    for (name, on_the_wire) in [
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
        let mut request = Request::new(tea());
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        client.get_price(request).await.ok();
        let seen = told.recv().await.context("it came")?;
        let seen: Vec<_> = seen.get_all(name).iter().collect();
        assert_eq!(seen, Vec::from_iter(on_the_wire), "{name}");
    }
    Ok(())
}

/// Empty values trouble nobody but who needs one.
#[tokio::test]
async fn empty_values_are_values() -> Result {
    let server = started()?;
    let mut client = client(&server).await?;
    let empty = [("traceparent", ""), ("grpc-timeout", ""), ("other", "")];
    let mut request = with(tea(), &empty)?;
    client.get_price(with(tea(), &empty)?).await?;
    let nothing = BinaryMetadataValue::from_bytes(b"");
    request.metadata_mut().insert_bin("name-bin", nothing);
    let end = ended(client.get_price(request).await);
    assert_eq!(end.0, Code::InvalidArgument, "{end:?}");
    Ok(())
}

/// Neither text nor bytes are taken apart at a comma.
#[tokio::test]
async fn a_comma_does_not_part_values() -> Result {
    let server = started()?;
    let mut client = client(&server).await?;
    let response = client
        .get_price(with(tea(), &[("voucher", "SPRING-5,TEA-10")])?)
        .await?;
    assert_eq!(text(response.metadata(), "vouchers")?, "1");

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
    let mut request = Request::new(tea());
    *request.metadata_mut() = metadata;
    let (code, _) = ended(client.get_price(request).await);
    assert_eq!(code, Code::InvalidArgument);
    Ok(())
}

#[test]
fn a_key_from_elsewhere_is_lowered_or_refused_and_looking_up_is_safe() -> Result {
    let key = AsciiMetadataKey::from_bytes(b"X-Request-Id")?;
    assert_eq!(key, "x-request-id");
    for bad in ["request id", "", "茶", "id-bin", ":path"] {
        let error = bad.parse::<AsciiMetadataKey>().expect_err(bad);
        assert_eq!(error.to_string(), "invalid gRPC metadata key name");
        let mut metadata = MetadataMap::new();
        ensure!(metadata.get(bad).is_none() && metadata.remove(bad).is_none());
    }
    // The specification of gRPC has no such key, and HTTP/2 does.
    assert_eq!("a~b".parse::<AsciiMetadataKey>()?, "a~b");
    Ok(())
}

/// A handler that hands on the request, and ends with `?` on what comes back.
#[tokio::test]
async fn a_relay_hands_on_all_that_it_does_not_choose() -> Result {
    let mut secret = MetadataMap::new();
    secret.insert("database", AsciiMetadataValue::from_static("db-7"));
    let status = Status::with_metadata(Code::NotFound, "no row on db-7", secret);
    let (behind, mut seen) = Upstream::new(Err(status));
    let behind = TillServiceClient::connect(behind.serve().await?).await?;
    let (in_front, _seen) = Upstream::new(Ok(MetadataMap::new()));
    let uri = in_front.behind(behind).serve().await?;

    let mut client = TillServiceClient::connect(uri).await?;
    let mut request = with(tea(), &[("authorization", "hunter2")])?;
    request.set_timeout(Duration::from_secs(60));
    let status = client.get_price(request).await.expect_err("no tea");
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "no row on db-7")
    );
    assert_eq!(text(status.metadata(), "database")?, "db-7");
    let seen = seen.recv().await.context("it came")?;
    assert_eq!(text(&seen, "authorization")?, "hunter2");
    assert_eq!(text(&seen, "grpc-timeout")?, "60000000u");
    assert_eq!(text(&seen, "user-agent")?, "tonic/0.14.9 tonic/0.14.9");
    Ok(())
}

/// In the trailers of a stream, tonic drops what is its own.
#[tokio::test]
async fn a_stream_s_trailers_cannot_spoil_the_status() -> Result {
    let mut trailers = MetadataMap::new();
    for name in ["grpc-status", "grpc-message", "content-type", "te", "kept"] {
        trailers.insert(name, AsciiMetadataValue::from_static("5"));
    }
    let (upstream, _seen) = Upstream::new(Ok(MetadataMap::new()));
    let uri = upstream.trailers(trailers).serve().await?;
    let mut client = TillServiceClient::connect(uri).await?;
    let mut prices = client.list_prices(ListPricesRequest {}).await?.into_inner();
    ensure!(prices.message().await?.is_some() && prices.message().await?.is_none());
    let trailers = prices.trailers().await?.context("it has some")?;
    assert_eq!(text(&trailers, "grpc-status")?, "0");
    assert_eq!(text(&trailers, "kept")?, "5");
    assert_eq!(trailers.len(), 2);
    Ok(())
}

/// Nor in those of one message, where it is the listing that does it.
#[tokio::test]
async fn a_message_s_trailers_cannot_spoil_the_status() -> Result {
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
        let uri = upstream.trailers(trailers).serve().await?;
        let mut client = TillServiceClient::connect(uri).await?;
        let response = client.get_price(tea()).await?;
        let metadata = response.metadata();
        ensure!(
            metadata.get(name).is_none_or(|value| value != "5"),
            "{name}"
        );
        assert_eq!(text(metadata, "kept")?, "5");
    }
    Ok(())
}

/// Any stream of responses.
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Tells what it was sent, and answers with what it is told to.
struct Upstream {
    seen: mpsc::Sender<MetadataMap>,
    answer: Result<MetadataMap, Status>,
    trailers: MetadataMap,
    behind: Option<TillServiceClient<Channel>>,
}

impl Upstream {
    fn new(answer: Result<MetadataMap, Status>) -> (Self, mpsc::Receiver<MetadataMap>) {
        let (seen, was_seen) = mpsc::channel(8);
        let upstream = Self {
            seen,
            answer,
            trailers: MetadataMap::new(),
            behind: None,
        };
        (upstream, was_seen)
    }

    /// With these at the end of a response.
    fn trailers(self, trailers: MetadataMap) -> Self {
        Self { trailers, ..self }
    }

    /// It asks this one, with the request as it came.
    fn behind(self, behind: TillServiceClient<Channel>) -> Self {
        let behind = Some(behind);
        Self { behind, ..self }
    }

    async fn serve(self) -> Result<String> {
        self.serve_on(transport::Server::builder()).await
    }

    async fn serve_on(self, mut server: transport::Server) -> Result<String> {
        let till = MapResponseLayer::new(add_trailers).named_layer(TillServiceServer::new(self));
        let address = crate::serving(server.add_service(till)).await?;
        Ok(format!("http://{address}"))
    }
}

#[tonic::async_trait]
impl TillService for Upstream {
    async fn get_price(
        &self,
        request: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        // There is room for all that a test does.
        self.seen.try_send(request.metadata().clone()).ok();
        if let Some(mut behind) = self.behind.clone() {
            let response = behind.get_price(request).await?;
            return Ok(response);
        }
        let mut response = Response::new(GetPriceResponse::default());
        *response.metadata_mut() = self.answer.clone()?;
        let trailers = Trailers(self.trailers.clone());
        response.extensions_mut().insert(trailers);
        Ok(response)
    }

    type ListPricesStream = Responses<ListPricesResponse>;

    async fn list_prices(
        &self,
        _: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        let end = Status::with_metadata(Code::Ok, "", self.trailers.clone());
        let prices = tokio_stream::iter([Ok(ListPricesResponse::default()), Err(end)]);
        Ok(Response::new(Box::pin(prices)))
    }

    async fn add_up(
        &self,
        _: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type ScanStream = Responses<ScanResponse>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let lines = request.into_inner();
        let lines = lines.map(|line| line.map(|_| ScanResponse::default()));
        Ok(Response::new(Box::pin(lines)))
    }
}

async fn upstream(
    answer: Result<MetadataMap, Status>,
) -> Result<(String, mpsc::Receiver<MetadataMap>)> {
    let (upstream, was_seen) = Upstream::new(answer);
    Ok((upstream.serve().await?, was_seen))
}

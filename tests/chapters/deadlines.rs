//! A chain of services that are ready in time, as its reader runs it.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use deadlines::{
    layer::DeadlineLayer,
    pb::{
        PlaceOrderRequest, PlaceOrderResponse, TrackOrderRequest, TrackOrderResponse,
        order_service_client::OrderServiceClient,
        order_service_server::{OrderService, OrderServiceServer},
    },
};
use harness::{Listing, Result, workspace};
use http::Request as HttpRequest;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status,
    metadata::AsciiMetadataValue,
    service::{LayerExt, Routes},
    transport::Server,
};
use xtask::{bench::Measured, export::export_to_target};

/// The three services of the pages, the last first.
fn chain(listing: &Listing) -> Result<[harness::Server; 3]> {
    let start = |name, next: &[&str]| {
        let arguments = [&[name, "127.0.0.1:0", "300"], next].concat();
        listing.serving("deadlines-server", &arguments)
    };
    let carrier = start("carrier", &[])?;
    let warehouse = start("warehouse", &[&carrier.uri()])?;
    let shop = start("shop", &[&warehouse.uri()])?;
    Ok([carrier, warehouse, shop])
}

/// Nobody's deadline has passed: the client is dead.
#[test]
fn a_killed_client_ends_the_work_of_the_last() -> Result {
    let listing = Listing::build("deadlines")?;
    let [mut carrier, _warehouse, shop] = chain(&listing)?;
    let mut client = listing.start("deadlines-client", ["place", "60000", &shop.uri()])?;
    carrier.program.wait_for_text("work begins")?;
    client.kill()?;
    carrier.program.wait_for_text("work dropped")?;
    Ok(())
}

#[test]
fn a_killed_service_ends_the_work_behind_it_and_the_call() -> Result {
    let listing = Listing::build("deadlines")?;
    let [mut carrier, mut warehouse, shop] = chain(&listing)?;
    let client = listing.start("deadlines-client", ["place", "60000", &shop.uri()])?;
    carrier.program.wait_for_text("work begins")?;
    warehouse.program.kill()?;
    carrier.program.wait_for_text("work dropped")?;
    let output = client.end()?.output;
    ensure!(output.starts_with("Unknown: "), "{output}");
    Ok(())
}

#[test]
fn the_programs_say_what_they_take() -> Result {
    let listing = Listing::build("deadlines")?;
    for (name, arguments, says) in [
        ("deadlines-client", &[][..], "say `place` or `track`"),
        (
            "deadlines-client",
            &["place", "soon"],
            "number of milliseconds",
        ),
        (
            "deadlines-server",
            &["shop", "nowhere"],
            "cannot listen on nowhere",
        ),
        (
            "deadlines-server",
            &["shop", "127.0.0.1:0", "-1"],
            "number of milliseconds",
        ),
    ] {
        let end = listing.run(name, arguments)?;
        ensure!(end.code == 1 && end.output.contains(says), "{}", end.output);
    }
    Ok(())
}

/// Never answers an order of `never`.
struct Slow;

#[tonic::async_trait]
impl OrderService for Slow {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        if request.get_ref().article == "never" {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(PlaceOrderResponse::default()))
    }

    type TrackOrderStream = ReceiverStream<Result<TrackOrderResponse, Status>>;

    async fn track_order(
        &self,
        _: Request<TrackOrderRequest>,
    ) -> Result<Response<Self::TrackOrderStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

async fn serving(mut server: Server, routes: Routes) -> Result<SocketAddr> {
    crate::serving(server.add_routes(routes)).await
}

fn with_layer(at_most: Duration) -> Routes {
    Routes::new(DeadlineLayer { at_most }.named_layer(OrderServiceServer::new(Slow)))
}

fn without_layer() -> Routes {
    Routes::new(OrderServiceServer::new(Slow))
}

const NEVER: &[u8] = b"\0\0\0\0\x09\x0a\x05never\x10\x01";

/// Makes `count` calls at once, as a client does that has no timer of its own: their
/// `grpc-status`.
async fn raw(
    address: SocketAddr,
    timeout: Option<&'static str>,
    sends: &'static [u8],
    count: usize,
) -> Result<Vec<String>> {
    let connection = TcpStream::connect(address).await?;
    let (client, connection) = h2::client::handshake(connection).await?;
    tokio::spawn(connection);
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let mut request =
            HttpRequest::post(format!("http://{address}/order.v1.OrderService/PlaceOrder"))
                .header("content-type", "application/grpc")
                .header("te", "trailers");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let request = request.body(())?;
        let mut client = client.clone().ready().await?;
        calls.spawn(async move {
            let (response, mut body) = client.send_request(request, false)?;
            // Not the end of the stream: a part may be missing.
            body.send_data(Bytes::from_static(sends), sends == NEVER)?;
            let response = response.await?;
            let status = response
                .headers()
                .get("grpc-status")
                .context("it has ended")?;
            Ok::<_, anyhow::Error>(status.to_str()?.to_owned())
        });
    }
    calls.join_all().await.into_iter().collect()
}

/// tonic's own timer stands in front of the layer: the margin makes ours the first.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_wire_it_is_deadline_exceeded_with_the_layer_and_cancelled_without() -> Result {
    let ours = serving(Server::builder(), with_layer(Duration::from_secs(60))).await?;
    let theirs = serving(Server::builder(), without_layer()).await?;
    for (address, status) in [(ours, "4"), (theirs, "1")] {
        let ended = raw(address, Some("200m"), NEVER, 100).await?;
        ensure!(
            ended.iter().all(|it| it == status),
            "{ended:?} and not {status}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn whoever_sends_half_a_message_is_not_waited_for() -> Result {
    let address = serving(Server::builder(), with_layer(Duration::from_millis(200))).await?;
    assert_eq!(raw(address, None, &NEVER[..8], 1).await?, ["4"]);
    Ok(())
}

/// The smaller of the header and the server's own.
#[tokio::test]
async fn the_server_s_timeout_and_the_header_are_one_limit() -> Result {
    let mut server = Server::builder();
    server = server.timeout(Duration::from_millis(200));
    let address = serving(server, without_layer()).await?;
    for timeout in [None, Some("60S")] {
        assert_eq!(raw(address, timeout, NEVER, 1).await?, ["1"]);
    }
    Ok(())
}

#[tokio::test]
async fn tonic_passes_over_a_timeout_that_is_none_and_the_layer_does_not() -> Result {
    let ours = serving(Server::builder(), with_layer(Duration::from_secs(60))).await?;
    let theirs = serving(Server::builder(), without_layer()).await?;
    for value in ["", "5", "5x", "-1S", "+1S", "1.5S", "123456789S"] {
        for (address, well) in [(&ours, false), (&theirs, true)] {
            let mut client = OrderServiceClient::connect(format!("http://{address}")).await?;
            let mut request = Request::new(PlaceOrderRequest::default());
            let value = AsciiMetadataValue::from_static(value);
            request.metadata_mut().insert("grpc-timeout", value);
            let result = client.place_order(request).await;
            assert_eq!(result.is_ok(), well, "{result:?}");
        }
    }
    // The longest one is one: no clock overflows.
    for address in [ours, theirs] {
        let mut client = OrderServiceClient::connect(format!("http://{address}")).await?;
        let mut request = Request::new(PlaceOrderRequest::default());
        let value = AsciiMetadataValue::from_static("99999999H");
        request.metadata_mut().insert("grpc-timeout", value);
        client.place_order(request).await?;
    }
    Ok(())
}

/// What the page says of the figures.
#[test]
fn the_chain_is_ready_when_the_page_says() -> Result {
    let measured = Measured::read(&workspace(), "deadlines")?.context("it was measured")?;
    let number = |curve, budget: &str, column| measured.number(&[curve, budget], column);
    for budget in ["50", "100", "200", "300", "400", "500", "600"] {
        let expected: f64 = budget.parse()?;
        for curve in ["JoinSet", "tokio::spawn"] {
            let answer = number(curve, budget, "slowest answer (ms)")?;
            ensure!(
                (expected - 20.0..=expected + 20.0).contains(&answer),
                "{answer}"
            );
        }
        ensure!(number("JoinSet", budget, "work after it (ms)")? < 5.0);
    }
    for (budget, least) in [("50", 100.0), ("100", 80.0), ("300", 80.0), ("500", 80.0)] {
        ensure!(number("tokio::spawn", budget, "work after it (ms)")? > least);
    }
    Ok(())
}

#[test]
#[ignore = "needs cargo-fuzz and a C++ compiler, and takes minutes"]
fn a_minute_of_fuzzing_finds_nothing() -> Result {
    let listing = export_to_target(&workspace(), "deadlines")?;
    // The versions that were tested.
    fs::copy(listing.join("Cargo.lock"), listing.join("fuzz/Cargo.lock"))?;
    let command = "cargo fuzz run grpc_timeout -- -max_total_time=60 -max_len=12";
    let (cargo, fuzzer) = command.split_once(" -- ").context("a command")?;
    let output = Command::new("cargo")
        .current_dir(listing)
        .args(cargo.split(' ').skip(1))
        .arg("--target-dir")
        .arg(workspace().target().join("fuzz"))
        .arg("--")
        .args(fuzzer.split(' '))
        // What nightly alone allows, cargo-fuzz needs.
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .context("cannot start cargo fuzz")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    ensure!(said.contains("Done "), "it has not begun: {said}");
    Ok(())
}

//! The chapter `deadlines`, as its reader runs it, and the behaviour of tonic that it describes.

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
use harness::{Listing, Result, Server, spawn_in_process, workspace};
use http::Request as HttpRequest;
use stage::{bench::Results, export::export_to_target};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status,
    metadata::AsciiMetadataValue,
    service::{LayerExt, Routes},
    transport,
};

/// Starts the three services of the pages. The first of them is the last of the chain.
fn start_chain(listing: &Listing) -> Result<[Server; 3]> {
    let start = |name, next: &[&str]| {
        let arguments = [&[name, "127.0.0.1:0", "300"], next].concat();
        listing.start_server("deadlines-server", &arguments)
    };
    let carrier = start("carrier", &[])?;
    let warehouse = start("warehouse", &[&carrier.uri()])?;
    let shop = start("shop", &[&warehouse.uri()])?;
    Ok([carrier, warehouse, shop])
}

/// No deadline has passed: the cancellation travels along the chain.
#[harness::test]
fn killing_the_client_cancels_the_last_service() -> Result {
    let listing = Listing::build("deadlines")?;
    let [mut carrier, _warehouse, shop] = start_chain(&listing)?;
    let mut client = listing.start("deadlines-client", ["place", "60000", &shop.uri()])?;
    carrier.process.wait_for_text("work begins")?;
    client.kill()?;
    carrier.process.wait_for_text("work dropped")?;
    Ok(())
}

#[harness::test]
fn killing_a_service_cancels_the_next_and_fails_the_call() -> Result {
    let listing = Listing::build("deadlines")?;
    let [mut carrier, mut warehouse, shop] = start_chain(&listing)?;
    let client = listing.start("deadlines-client", ["place", "60000", &shop.uri()])?;
    carrier.process.wait_for_text("work begins")?;
    warehouse.process.kill()?;
    carrier.process.wait_for_text("work dropped")?;
    let output = client.wait()?.text;
    ensure!(output.starts_with("Unknown: "), "{output}");
    Ok(())
}

#[harness::test]
fn invalid_arguments_are_reported() -> Result {
    let listing = Listing::build("deadlines")?;
    for (name, arguments, message) in [
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
        let output = listing.run(name, arguments)?;
        ensure!(
            output.code == 1 && output.text.contains(message),
            "{}",
            output.text
        );
    }
    Ok(())
}

/// Does not respond to an order for `never`.
struct SlowShop;

#[tonic::async_trait]
impl OrderService for SlowShop {
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
        Err(Status::unimplemented("not needed here"))
    }
}

async fn serve(routes: Routes) -> Result<SocketAddr> {
    spawn_in_process(transport::Server::builder().add_routes(routes)).await
}

fn with_layer(at_most: Duration) -> Routes {
    Routes::new(DeadlineLayer { at_most }.named_layer(OrderServiceServer::new(SlowShop)))
}

fn without_layer() -> Routes {
    Routes::new(OrderServiceServer::new(SlowShop))
}

/// A whole message: one order for `never`.
const NEVER: &[u8] = b"\0\0\0\0\x09\x0a\x05never\x10\x01";

/// Makes `count` calls at once without a timer of the client's, and returns their `grpc-status`.
async fn grpc_statuses(
    address: SocketAddr,
    timeout: Option<&'static str>,
    sent: &'static [u8],
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
            // The stream ends only if the message is whole.
            body.send_data(Bytes::from_static(sent), sent == NEVER)?;
            let response = response.await?;
            let status = response
                .headers()
                .get("grpc-status")
                .context("the call has not ended")?;
            Ok::<_, anyhow::Error>(status.to_str()?.to_owned())
        });
    }
    calls.join_all().await.into_iter().collect()
}

/// tonic's own timer is outside of the layer, whose timer expires earlier by a margin. Time is
/// paused, because a busy machine may take longer than the margin between the start of one timer
/// and the start of the other.
#[harness::test(paused)]
async fn layer_turns_cancelled_into_deadline_exceeded() -> Result {
    let with_layer_address = serve(with_layer(Duration::from_secs(60))).await?;
    let without_layer_address = serve(without_layer()).await?;
    for (address, status) in [(with_layer_address, "4"), (without_layer_address, "1")] {
        let statuses = grpc_statuses(address, Some("200m"), NEVER, 100).await?;
        ensure!(
            statuses.iter().all(|found| found == status),
            "{statuses:?} instead of {status}"
        );
    }
    Ok(())
}

#[harness::test]
async fn half_sent_message_times_out() -> Result {
    let address = serve(with_layer(Duration::from_millis(200))).await?;
    assert_eq!(grpc_statuses(address, None, &NEVER[..8], 1).await?, ["4"]);
    Ok(())
}

#[harness::test]
async fn shorter_of_server_timeout_and_header_applies() -> Result {
    let mut server = transport::Server::builder().timeout(Duration::from_millis(200));
    let address = spawn_in_process(server.add_routes(without_layer())).await?;
    for timeout in [None, Some("60S")] {
        assert_eq!(grpc_statuses(address, timeout, NEVER, 1).await?, ["1"]);
    }
    Ok(())
}

#[harness::test]
async fn layer_rejects_invalid_timeouts_that_tonic_ignores() -> Result {
    let with_layer_address = serve(with_layer(Duration::from_secs(60))).await?;
    let without_layer_address = serve(without_layer()).await?;
    for value in ["", "5", "5x", "-1S", "+1S", "1.5S", "123456789S"] {
        for (address, is_ok) in [(with_layer_address, false), (without_layer_address, true)] {
            let mut client = OrderServiceClient::connect(format!("http://{address}")).await?;
            let mut request = Request::new(PlaceOrderRequest::default());
            let value = AsciiMetadataValue::from_static(value);
            request.metadata_mut().insert("grpc-timeout", value);
            let result = client.place_order(request).await;
            assert_eq!(result.is_ok(), is_ok, "{result:?}");
        }
    }
    // The longest valid timeout overflows no clock.
    for address in [with_layer_address, without_layer_address] {
        let mut client = OrderServiceClient::connect(format!("http://{address}")).await?;
        let mut request = Request::new(PlaceOrderRequest::default());
        let value = AsciiMetadataValue::from_static("99999999H");
        request.metadata_mut().insert("grpc-timeout", value);
        client.place_order(request).await?;
    }
    Ok(())
}

/// The statements of the page hold for the recorded results.
#[harness::test]
fn page_agrees_with_the_benchmark() -> Result {
    let results = Results::read(&workspace(), "deadlines")?.context("there are no results")?;
    let number = |curve, budget: &str, column| results.number(&[curve, budget], column);
    for budget in ["50", "100", "200", "300", "400", "500", "600"] {
        let expected: f64 = budget.parse()?;
        for curve in ["JoinSet", "tokio::spawn"] {
            let slowest = number(curve, budget, "slowest answer (ms)")?;
            ensure!(
                (expected - 20.0..=expected + 20.0).contains(&slowest),
                "{slowest}"
            );
        }
        ensure!(number("JoinSet", budget, "work after it (ms)")? < 5.0);
    }
    for (budget, least) in [("50", 100.0), ("100", 80.0), ("300", 80.0), ("500", 80.0)] {
        ensure!(number("tokio::spawn", budget, "work after it (ms)")? > least);
    }
    Ok(())
}

#[harness::test(needs = "cargo-fuzz, a C++ compiler and a minute", exclusive)]
fn fuzzing_for_a_minute_finds_no_crash() -> Result {
    let listing = export_to_target(&workspace(), "deadlines")?;
    // The dependencies in the versions that the listing was tested with.
    fs::copy(listing.join("Cargo.lock"), listing.join("fuzz/Cargo.lock"))?;
    let command = "cargo fuzz run grpc_timeout -- -max_total_time=60 -max_len=12";
    let (cargo, fuzzer) = command
        .split_once(" -- ")
        .context("no arguments for the fuzzer")?;
    let output = Command::new("cargo")
        .current_dir(listing)
        .args(cargo.split(' ').skip(1))
        .arg("--target-dir")
        .arg(workspace().target().join("fuzz"))
        .arg("--")
        .args(fuzzer.split(' '))
        // cargo-fuzz needs options that only a nightly toolchain allows.
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .context("cannot start cargo fuzz")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    ensure!(stderr.contains("Done "), "the fuzzer has not run: {stderr}");
    Ok(())
}

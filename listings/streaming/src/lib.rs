//! The till of a small shop: one method of each of the four kinds.

use std::{pin::Pin, time::Duration};

use async_stream::try_stream;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{self, Server, server::TcpIncoming},
};

use crate::pb::{
    AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
    ListPricesResponse, ScanRequest, ScanResponse,
    till_service_server::{TillService, TillServiceServer},
};

pub mod call_limit;
pub mod escape;
pub mod incoming;
pub mod shutdown;

/// What the build script generated from `till/v1/till.proto`.
pub mod pb {
    tonic::include_proto!("till.v1");
}

// ANCHOR: prices
/// The articles that the shop sells, each with its price in cents.
pub const PRICES: [(&str, u64); 3] = [("bread", 320), ("milk", 145), ("茶", 480)];
// ANCHOR_END: prices

/// The largest request, in bytes. tonic's own limit is 4 MiB.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many calls may be open on one connection. Further ones wait in the client.
/// Together with `MAX_REQUEST_BYTES`, and the 16 KiB that hyper allows a call's
/// headers, this limits the requests that one connection can make the server hold. By
/// default the number of calls is not limited.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the other end may take to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

// ANCHOR: responses
/// Any stream of responses, whatever it is made of.
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
// ANCHOR_END: responses

// ANCHOR: till
/// The service.
#[derive(Debug, Default)]
pub struct Till {
    stopping: CancellationToken,
}

impl Till {
    /// A till whose open calls end with `UNAVAILABLE` once `stopping` is cancelled.
    pub fn new(stopping: CancellationToken) -> Self {
        Self { stopping }
    }
}
// ANCHOR_END: till

#[tonic::async_trait]
impl TillService for Till {
    // ANCHOR: get_price
    async fn get_price(
        &self,
        request: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        let cents = price(&request.into_inner().article)?;
        Ok(Response::new(GetPriceResponse { cents }))
    }
    // ANCHOR_END: get_price

    // ANCHOR: list_prices
    type ListPricesStream = Responses<ListPricesResponse>;

    async fn list_prices(
        &self,
        _: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        let prices = tokio_stream::iter(PRICES).map(|(article, cents)| {
            Ok(ListPricesResponse {
                article: article.to_owned(),
                cents,
            })
        });
        Ok(Response::new(Box::pin(prices)))
    }
    // ANCHOR_END: list_prices

    async fn add_up(
        &self,
        request: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        let mut requests = request.into_inner();
        let mut sum = AddUpResponse::default();
        while let Some(request) = next_request(&mut requests, &self.stopping).await? {
            sum.cents += price(&request.article)?;
            sum.articles += 1;
        }
        Ok(Response::new(sum))
    }

    // ANCHOR: scan
    type ScanStream = Responses<ScanResponse>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let mut requests = request.into_inner();
        let stopping = self.stopping.clone();
        let responses = try_stream! {
            let mut sum_cents = 0;
            while let Some(request) = next_request(&mut requests, &stopping).await? {
                let article = request.article;
                let cents = price(&article)?;
                sum_cents += cents;
                tracing::info!(article, sum_cents, "scanned");
                yield ScanResponse { article, cents, sum_cents };
            }
        };
        Ok(Response::new(Box::pin(responses)))
    }
    // ANCHOR_END: scan
}

// ANCHOR: price
/// The price of an article, in cents.
///
/// # Errors
///
/// `NOT_FOUND` if the shop does not sell it.
fn price(article: &str) -> Result<u64, Status> {
    for (name, cents) in PRICES {
        if name == article {
            return Ok(cents);
        }
    }
    // The first 40 characters are enough to recognise the name. A status message
    // travels in the trailers, whose size is limited.
    let message = format!("there is no \"{article:.40}\": ask for the prices");
    Err(Status::not_found(message))
}
// ANCHOR_END: price

// ANCHOR: next_request
/// Waits for the next request. `None` follows the last one.
///
/// # Errors
///
/// `UNAVAILABLE` once `stopping` is cancelled, or the error of the connection.
async fn next_request<T>(
    requests: &mut Streaming<T>,
    stopping: &CancellationToken,
) -> Result<Option<T>, Status> {
    match stopping.run_until_cancelled(requests.message()).await {
        Some(request) => request,
        None => Err(Status::unavailable("the server is stopping: call again")),
    }
}
// ANCHOR_END: next_request

/// Serves the till on `listener` until `shutdown` resolves. Open calls then end with
/// `UNAVAILABLE`, and connections that are still open after [`DRAIN_TIMEOUT`] end with
/// the runtime.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let stopping = CancellationToken::new();
    let till = Till::new(stopping.clone());
    let till = TillServiceServer::new(till).max_decoding_message_size(MAX_REQUEST_BYTES);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel calls before the server has accepted them. By default, the
        // 21st ends the connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        // Nothing is sent between messages, so without a keepalive the server
        // would not notice that a client has vanished.
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(till);
    // ANCHOR: drain
    let shutdown = async {
        shutdown.await;
        // A stream may stay open indefinitely: tell each call to end.
        stopping.cancel();
    };
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
    // ANCHOR_END: drain
}

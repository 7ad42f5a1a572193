//! The till of a small shop, which reads and sends metadata with each of the four
//! kinds of call.

use std::{pin::Pin, time::Duration};

use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{BinaryMetadataValue, MetadataMap},
    service::LayerExt,
    transport::{self, Server, server::TcpIncoming},
};
use tower::util::MapResponseLayer;

use crate::{
    customer::Customer,
    pb::{
        AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
        ListPricesResponse, ScanRequest, ScanResponse,
        till_service_server::{TillService, TillServiceServer},
    },
    trailers::{Trailers, add_trailers},
};

pub mod customer;
pub mod escape;
pub mod incoming;
pub mod shutdown;
pub mod trailers;

/// What the build script generated from `till/v1/till.proto`.
pub mod pb {
    tonic::include_proto!("till.v1");
}

/// What the shop has, and what it costs in cents.
pub const PRICES: [(&str, u64); 3] = [("bread", 320), ("milk", 145), ("茶", 480)];

/// The largest request, in bytes. tonic's own limit is 4 MiB.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// How many calls may be open on one connection. Further ones wait in the client.
/// Together with `MAX_REQUEST_BYTES`, and the 16 KiB that hyper allows a call's
/// headers, this limits the memory that one connection can take. By default the
/// number of calls is not limited.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether the other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Responses that wait for room on the connection, for each stream.
const WAITING: usize = 8;

/// Any stream of responses, whatever it is made of.
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service. It has no state, so one value serves every call.
#[derive(Debug, Default)]
pub struct Till;

// ANCHOR: headers
/// What is known before the first response.
fn headers(customer: &Customer) -> MetadataMap {
    let mut headers = MetadataMap::new();
    headers.insert("vouchers", customer.vouchers.len().into());
    if let Some(name) = &customer.name {
        let greeting = format!("你好, {name}");
        headers.insert_bin(
            "greeting-bin",
            BinaryMetadataValue::from_bytes(greeting.as_bytes()),
        );
    }
    headers
}
// ANCHOR_END: headers

// ANCHOR: receipt
/// What is known only at the end: what was asked for, and its price.
#[derive(Clone, Copy, Debug, Default)]
struct Receipt {
    articles: u64,
    cents: u64,
}

impl Receipt {
    fn trailers(self) -> MetadataMap {
        let mut trailers = MetadataMap::new();
        trailers.insert("articles", self.articles.into());
        trailers.insert("cents", self.cents.into());
        trailers
    }
}
// ANCHOR_END: receipt

// ANCHOR: one
/// A response of one message.
fn one<T>(customer: &Customer, message: T, receipt: Receipt) -> Response<T> {
    let mut response = Response::new(message);
    *response.metadata_mut() = headers(customer);
    response
        .extensions_mut()
        .insert(Trailers(receipt.trailers()));
    response
}
// ANCHOR_END: one

// ANCHOR: many
/// The end of a stream of responses: an item that is a status, and no error.
fn end<T>(receipt: Receipt) -> Result<T, Status> {
    Err(Status::with_metadata(Code::Ok, "", receipt.trailers()))
}

/// A response of many messages.
fn many<T>(
    customer: &Customer,
    messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Response<Responses<T>> {
    let mut response = Response::new(Box::pin(messages) as Responses<T>);
    *response.metadata_mut() = headers(customer);
    response
}
// ANCHOR_END: many

#[tonic::async_trait]
impl TillService for Till {
    // ANCHOR: get_price
    async fn get_price(
        &self,
        request: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        let customer = greet(request.metadata())?;
        let cents = price(&request.into_inner().article)?;
        let receipt = Receipt { articles: 1, cents };
        Ok(one(&customer, GetPriceResponse { cents }, receipt))
    }
    // ANCHOR_END: get_price

    // ANCHOR: list_prices
    type ListPricesStream = Responses<ListPricesResponse>;

    async fn list_prices(
        &self,
        request: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        let customer = greet(request.metadata())?;
        let receipt = Receipt {
            articles: PRICES.len() as u64,
            cents: 0,
        };
        let prices = tokio_stream::iter(PRICES).map(|(article, cents)| {
            Ok(ListPricesResponse {
                article: article.to_owned(),
                cents,
            })
        });
        let prices = prices.chain(tokio_stream::once(end(receipt)));
        Ok(many(&customer, prices))
    }
    // ANCHOR_END: list_prices

    async fn add_up(
        &self,
        request: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        let customer = greet(request.metadata())?;
        let mut requests = request.into_inner();
        let mut receipt = Receipt::default();
        while let Some(AddUpRequest { article }) = requests.message().await? {
            receipt.cents += price(&article)?;
            receipt.articles += 1;
        }
        let Receipt { articles, cents } = receipt;
        Ok(one(&customer, AddUpResponse { articles, cents }, receipt))
    }

    // ANCHOR: scan
    type ScanStream = Responses<ScanResponse>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let customer = greet(request.metadata())?;
        let requests = request.into_inner();
        let (responses, messages) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let last = match scan(requests, &responses).await {
                Ok(receipt) => end(receipt),
                Err(status) => Err(status),
            };
            // The client may have gone: then nobody wants a receipt.
            responses.send(last).await.ok();
        });
        Ok(many(&customer, ReceiverStream::new(messages)))
    }
    // ANCHOR_END: scan
}

/// Answers each article, until there are no more.
async fn scan(
    mut requests: Streaming<ScanRequest>,
    responses: &mpsc::Sender<Result<ScanResponse, Status>>,
) -> Result<Receipt, Status> {
    let mut receipt = Receipt::default();
    while let Some(ScanRequest { article }) = requests.message().await? {
        let cents = price(&article)?;
        receipt.cents += cents;
        receipt.articles += 1;
        let response = ScanResponse {
            article,
            cents,
            sum_cents: receipt.cents,
        };
        if responses.send(Ok(response)).await.is_err() {
            break;
        }
    }
    Ok(receipt)
}

// ANCHOR: greet
/// Reads who shops, and logs what may be logged: no voucher, they are money.
fn greet(metadata: &MetadataMap) -> Result<Customer, Status> {
    let customer = Customer::read(metadata)?;
    let name = customer.name.as_deref().unwrap_or("somebody");
    tracing::info!(name, vouchers = customer.vouchers.len(), "a customer");
    Ok(customer)
}
// ANCHOR_END: greet

/// What an article costs, in cents.
fn price(article: &str) -> Result<u64, Status> {
    PRICES
        .iter()
        .find_map(|&(name, cents)| (name == article).then_some(cents))
        .ok_or_else(|| {
            // Not all of it: a status has little room.
            let sentence = format!("there is no \"{article:.40}\": ask for the prices");
            Status::not_found(sentence)
        })
}

// ANCHOR: serve
/// Serves the till on `listener` until `shutdown` resolves, and returns when the
/// calls that are in progress have ended, after [`DRAIN_TIMEOUT`] at most. Calls that are
/// open then end with the runtime.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let till = TillServiceServer::new(Till).max_decoding_message_size(MAX_REQUEST_BYTES);
    let till = MapResponseLayer::new(add_trailers).named_layer(till);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        // Nothing is sent between messages, so without a keepalive the server
        // would not notice that a client has vanished.
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(till);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

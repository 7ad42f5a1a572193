//! The till of a small shop, which reads and sends metadata with each of the four
//! kinds of call.

use std::{pin::Pin, time::Duration};

use async_stream::try_stream;
use tokio::net::TcpListener;
use tokio_stream::Stream;
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

/// The articles that the shop sells, each with its price in cents.
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

/// How long a connection may be silent before the other end is pinged.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the answer to a ping may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

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
/// What is known only at the end: the number of articles, and their price.
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

    /// The last item of a response stream: a status that is `OK`, with the trailers.
    fn end(self) -> Result<(), Status> {
        Err(Status::with_metadata(Code::Ok, "", self.trailers()))
    }
}
// ANCHOR_END: receipt

// ANCHOR: unary
/// A unary response, with headers and trailers.
fn unary<T>(customer: &Customer, message: T, receipt: Receipt) -> Response<T> {
    let mut response = Response::new(message);
    *response.metadata_mut() = headers(customer);
    response
        .extensions_mut()
        .insert(Trailers(receipt.trailers()));
    response
}
// ANCHOR_END: unary

/// A response stream, with headers.
fn streaming<T>(
    customer: &Customer,
    responses: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Response<Responses<T>> {
    let mut response = Response::new(Box::pin(responses) as Responses<T>);
    *response.metadata_mut() = headers(customer);
    response
}

#[tonic::async_trait]
impl TillService for Till {
    async fn get_price(
        &self,
        request: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        let customer = read_customer(request.metadata())?;
        let cents = price(&request.into_inner().article)?;
        let receipt = Receipt { articles: 1, cents };
        Ok(unary(&customer, GetPriceResponse { cents }, receipt))
    }

    type ListPricesStream = Responses<ListPricesResponse>;

    async fn list_prices(
        &self,
        request: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        let customer = read_customer(request.metadata())?;
        let responses = try_stream! {
            let mut receipt = Receipt::default();
            for (article, cents) in PRICES {
                receipt.articles += 1;
                receipt.cents += cents;
                let article = article.to_owned();
                yield ListPricesResponse { article, cents };
            }
            receipt.end()?;
        };
        Ok(streaming(&customer, responses))
    }

    async fn add_up(
        &self,
        request: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        let customer = read_customer(request.metadata())?;
        let mut requests = request.into_inner();
        let mut receipt = Receipt::default();
        while let Some(AddUpRequest { article }) = requests.message().await? {
            receipt.cents += price(&article)?;
            receipt.articles += 1;
        }
        let Receipt { articles, cents } = receipt;
        Ok(unary(&customer, AddUpResponse { articles, cents }, receipt))
    }

    type ScanStream = Responses<ScanResponse>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let customer = read_customer(request.metadata())?;
        let mut requests = request.into_inner();
        let responses = try_stream! {
            let mut receipt = Receipt::default();
            while let Some(ScanRequest { article }) = requests.message().await? {
                let cents = price(&article)?;
                receipt.cents += cents;
                receipt.articles += 1;
                yield ScanResponse { article, cents, sum_cents: receipt.cents };
            }
            receipt.end()?;
        };
        Ok(streaming(&customer, responses))
    }
}

// ANCHOR: read_customer
/// Reads who calls, and logs the name. Vouchers are money, so they are only counted.
fn read_customer(metadata: &MetadataMap) -> Result<Customer, Status> {
    let customer = Customer::read(metadata)?;
    let name = customer.name.as_deref().unwrap_or("unknown");
    tracing::info!(name, vouchers = customer.vouchers.len(), "a customer");
    Ok(customer)
}
// ANCHOR_END: read_customer

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

/// Serves the till on `listener` until `shutdown` resolves, and returns when the open
/// calls have ended, after [`DRAIN_TIMEOUT`] at most. Calls that are open then end with
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
    let till = TillServiceServer::new(Till).max_decoding_message_size(MAX_REQUEST_BYTES);
    // ANCHOR: layer
    let till = MapResponseLayer::new(add_trailers).named_layer(till);
    // ANCHOR_END: layer
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

//! How far a server gets when its client does not read. The server makes a price list
//! without end, and counts the entries that tonic has taken from the stream.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use hyper_util::rt::TokioIo;
use streaming::pb::{
    AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
    ListPricesResponse, ScanRequest, ScanResponse,
    till_service_client::TillServiceClient,
    till_service_server::{TillService, TillServiceServer},
};
use tokio::time;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server},
};

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// ANCHOR: endless
/// A till whose price list has no end.
#[derive(Default)]
struct EndlessTill {
    /// How many entries of the list were made.
    made: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl TillService for EndlessTill {
    type ListPricesStream = Responses<ListPricesResponse>;

    async fn list_prices(
        &self,
        _: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        let made = self.made.clone();
        let entries = std::iter::repeat_with(move || {
            made.fetch_add(1, Relaxed);
            // 1,000 characters: about a kilobyte on the wire.
            let article = "x".repeat(1000);
            Ok(ListPricesResponse { article, cents: 1 })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(entries))))
    }
    // ANCHOR_END: endless

    async fn get_price(
        &self,
        _: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        Err(Status::unimplemented("this till only lists prices"))
    }

    async fn add_up(
        &self,
        _: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        Err(Status::unimplemented("this till only lists prices"))
    }

    type ScanStream = Responses<ScanResponse>;

    async fn scan(
        &self,
        _: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        Err(Status::unimplemented("this till only lists prices"))
    }
}

// A paused clock jumps to the end of a `sleep` as soon as no task can run. So `sleep`
// waits here until the server has made all that it can.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    time::pause();
    let till = EndlessTill::default();
    let made = till.made.clone();
    let (client, server) = tokio::io::duplex(64 * 1024);
    tokio::spawn(
        Server::builder()
            .add_service(TillServiceServer::new(till))
            .serve_with_incoming(tokio_stream::iter([Ok::<_, std::io::Error>(server)])),
    );
    let mut client = Some(client);
    let channel = Endpoint::from_static("http://in.process")
        .connect_with_connector(tower::service_fn(move |_| {
            let client = client.take().context("there is only one connection");
            async { client.map(TokioIo::new) }
        }))
        .await?;
    let mut client = TillServiceClient::new(channel);

    // ANCHOR: read
    let mut prices = client.list_prices(ListPricesRequest {}).await?.into_inner();
    time::sleep(Duration::from_secs(1)).await;
    println!("read: 0, made: {}", made.load(Relaxed));
    for read in 1..=5000 {
        prices.next().await.context("the list has ended")??;
        if read % 1000 == 0 {
            time::sleep(Duration::from_secs(1)).await;
            println!("read: {read}, made: {}", made.load(Relaxed));
        }
    }
    // ANCHOR_END: read
    Ok(())
}

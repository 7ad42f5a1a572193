//! A server of the till whose responses a test decides.

use std::pin::Pin;

use harness::{Result, spawn_in_process};
use metadata::{
    pb::{
        AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
        ListPricesResponse, ScanRequest, ScanResponse,
        till_service_client::TillServiceClient,
        till_service_server::{TillService, TillServiceServer},
    },
    trailers::{Trailers, add_trailers},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::MetadataMap,
    service::LayerExt,
    transport::{self, Channel},
};
use tower::util::MapResponseLayer;

/// A stream of responses of any type.
type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A server that reports the metadata of its requests, and ends `get_price` as the test says.
pub struct Upstream {
    seen: mpsc::Sender<MetadataMap>,
    response: Result<MetadataMap, Status>,
    trailers: MetadataMap,
    backend: Option<TillServiceClient<Channel>>,
}

impl Upstream {
    /// Its `get_price` responds with this metadata, or fails with this status. The receiver gets the
    /// metadata of each request.
    pub fn new(response: Result<MetadataMap, Status>) -> (Self, mpsc::Receiver<MetadataMap>) {
        let (seen, receiver) = mpsc::channel(8);
        let upstream = Self {
            seen,
            response,
            trailers: MetadataMap::new(),
            backend: None,
        };
        (upstream, receiver)
    }

    /// Adds trailers to each response.
    pub fn with_trailers(self, trailers: MetadataMap) -> Self {
        Self { trailers, ..self }
    }

    /// Forwards each `get_price` to `backend`, with the request as it arrived.
    pub fn with_backend(self, backend: TillServiceClient<Channel>) -> Self {
        let backend = Some(backend);
        Self { backend, ..self }
    }

    /// Serves in this process, and returns the URI.
    pub async fn serve(self) -> Result<String> {
        self.serve_on(transport::Server::builder()).await
    }

    /// The same, with settings of the server.
    pub async fn serve_on(self, mut server: transport::Server) -> Result<String> {
        let till = MapResponseLayer::new(add_trailers).named_layer(TillServiceServer::new(self));
        let address = spawn_in_process(server.add_service(till)).await?;
        Ok(format!("http://{address}"))
    }
}

#[tonic::async_trait]
impl TillService for Upstream {
    async fn get_price(
        &self,
        request: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        // The channel has room for all requests of a test.
        self.seen.try_send(request.metadata().clone()).ok();
        if let Some(mut backend) = self.backend.clone() {
            let response = backend.get_price(request).await?;
            return Ok(response);
        }
        let mut response = Response::new(GetPriceResponse::default());
        *response.metadata_mut() = self.response.clone()?;
        let trailers = Trailers(self.trailers.clone());
        response.extensions_mut().insert(trailers);
        Ok(response)
    }

    type ListPricesStream = ResponseStream<ListPricesResponse>;

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
        Err(Status::unimplemented("not needed here"))
    }

    type ScanStream = ResponseStream<ScanResponse>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let requests = request.into_inner();
        let responses = requests.map(|request| request.map(|_| ScanResponse::default()));
        Ok(Response::new(Box::pin(responses)))
    }
}

/// Serves an upstream, and returns its URI and the metadata of each request.
pub async fn start_upstream(
    response: Result<MetadataMap, Status>,
) -> Result<(String, mpsc::Receiver<MetadataMap>)> {
    let (upstream, seen) = Upstream::new(response);
    Ok((upstream.serve().await?, seen))
}

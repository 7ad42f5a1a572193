//! The exercises of the chapter. Each test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use std::{error::Error, time::Duration};

use streaming::{
    Till,
    pb::{
        AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
        ListPricesResponse, ScanRequest, ScanResponse,
        till_service_client::TillServiceClient,
        till_service_server::{TillService, TillServiceServer},
    },
    serve,
};
use tokio::{net::TcpListener, process::Command, sync::mpsc, time};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

/// A till that answers the articles of a scan only when all of them have come, as it
/// may: the contract says that answers come in order, not when.
#[derive(Default)]
struct LateTill(Till);

#[tonic::async_trait]
impl TillService for LateTill {
    async fn get_price(
        &self,
        request: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        self.0.get_price(request).await
    }

    type ListPricesStream = tokio_stream::Empty<Result<ListPricesResponse, Status>>;

    async fn list_prices(
        &self,
        _: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn add_up(
        &self,
        request: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        self.0.add_up(request).await
    }

    type ScanStream = ReceiverStream<Result<ScanResponse, Status>>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let (answers, responses) = mpsc::channel(1);
        tokio::spawn(async move {
            let requests: Vec<_> = request.into_inner().collect().await;
            for request in requests {
                let answer = request.map(|ScanRequest { article }| ScanResponse {
                    article,
                    ..ScanResponse::default()
                });
                if answers.send(answer).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

#[tokio::test]
#[should_panic(expected = "the call was not over")]
async fn exercise_1_the_client_sends_and_reads_at_the_same_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(
        Server::builder()
            .add_service(TillServiceServer::new(LateTill::default()))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let client = Command::new(env!("CARGO_BIN_EXE_streaming-client"))
        .args([&uri, "scan"])
        .output();
    let client = client.await.expect("it starts");
    let error = String::from_utf8_lossy(&client.stderr);
    assert!(client.status.success(), "{error}");
    let printed = String::from_utf8_lossy(&client.stdout);
    assert_eq!(printed.lines().count(), 3, "three answers: {printed}");
}

/// The clock is paused: it jumps on as soon as nothing else is left to do.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "the till waits for the next article")]
async fn exercise_2_the_till_gives_up_a_customer_who_has_left() {
    let (status, waited) = leave().await.expect("the till serves");
    let status = status.expect("the till waits for the next article");
    assert_eq!(status.code(), Code::Aborted);
    assert!(waited >= Duration::from_secs(30), "too soon: {waited:?}");
}

/// Scans two articles with 29 seconds between them, and then waits for an hour. Returns
/// how the call ended, if it did, and how long after the second article.
async fn leave() -> Result<(Option<Status>, Duration), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, std::future::pending()));
    let mut client = TillServiceClient::connect(uri).await?;
    let (articles, requests) = mpsc::channel(1);
    let mut lines = client
        .scan(ReceiverStream::new(requests))
        .await?
        .into_inner();
    for _ in 0..2 {
        time::sleep(Duration::from_secs(29)).await;
        let article = "bread".to_owned();
        articles.send(ScanRequest { article }).await?;
        lines.message().await?.ok_or("the till is silent")?;
    }
    let sent = time::Instant::now();
    match time::timeout(Duration::from_secs(3600), lines.message()).await {
        Ok(end) => Ok((end.err(), sent.elapsed())),
        Err(_) => Ok((None, sent.elapsed())),
    }
}

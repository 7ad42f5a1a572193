//! The chapter `streaming`, as its reader runs it, and the behaviour of tonic that it describes.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use anyhow::{Context, ensure};
use harness::{Result, Server, spawn_in_process, start_server};
use streaming::{
    DRAIN_TIMEOUT,
    pb::{
        AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
        ListPricesResponse, ScanRequest, ScanResponse,
        till_service_client::TillServiceClient,
        till_service_server::{TillService, TillServiceServer},
    },
};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::{self, timeout},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};

use crate::pipe;

/// Longer than anything here takes, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

const SLUG: &str = "streaming";

async fn client(server: &Server) -> Result<TillServiceClient<Channel>> {
    Ok(TillServiceClient::connect(server.uri()).await?)
}

fn scan(article: &str) -> ScanRequest {
    ScanRequest {
        article: article.to_owned(),
    }
}

#[harness::test]
fn unknown_method_or_ending_is_rejected() -> Result {
    let (listing, server) = start_server(SLUG)?;
    for (program, message) in [
        (
            "streaming-client",
            "Error: there is no method \"pay\": choose",
        ),
        (
            "streaming-endings",
            "Error: there is no ending \"pay\": choose",
        ),
    ] {
        let output = listing.run(program, [&server.uri(), "pay"])?;
        ensure!(
            output.code == 1 && output.text.starts_with(message),
            "{output:?}"
        );
        let unreachable = listing.run(program, ["http://127.0.0.1:1"])?;
        ensure!(
            unreachable.text.starts_with("Error: cannot reach"),
            "{unreachable:?}"
        );
    }
    Ok(())
}

/// A stream that waits for its next message does not notice a shutdown by itself.
#[harness::test(paused)]
async fn a_stream_that_is_not_told_holds_the_shutdown_up_until_the_limit() -> Result {
    let (till, _messages, _drops) = ReportingTill::new();
    let till = TillServiceServer::new(till);
    let (client, server) = tokio::io::duplex(PIPE);
    // A server whose connections have ended does not wait for its drain.
    let incoming = pipe::incoming(server).chain(tokio_stream::pending());
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let server = tokio::spawn(streaming::shutdown::drain(stopped, DRAIN_TIMEOUT, |stop| {
        tonic::transport::Server::builder()
            .add_service(till)
            .serve_with_incoming_shutdown(incoming, stop)
    }));
    let mut client = TillServiceClient::new(pipe::channel(client).await?);
    let (_articles, requests) = mpsc::channel(1);
    let _lines = client.scan(ReceiverStream::new(requests)).await?;

    let told = time::Instant::now();
    stop.send(()).expect("the server runs");
    // The connection drains now, and its client does not send further calls.
    time::sleep(Duration::from_secs(1)).await;
    let status = client.list_prices(ListPricesRequest {}).await;
    let status = status.expect_err("the call was sent");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Cancelled, "operation was canceled")
    );
    server.await??;
    assert!(told.elapsed() >= DRAIN_TIMEOUT, "the call was told to end");
    Ok(())
}

/// The server waits for its open calls, but not indefinitely.
#[harness::test]
async fn ctrl_c_stops_a_server_with_an_open_stream() -> Result {
    let (_, server) = start_server(SLUG)?;
    let mut client = client(&server).await?;
    let (_articles, requests) = mpsc::channel(1);
    let _lines = client.scan(ReceiverStream::new(requests)).await?;
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}

/// The server sends no status: the kernel closes its connections.
#[harness::test]
async fn killing_the_server_ends_the_stream() -> Result {
    let (_, mut server) = start_server(SLUG)?;
    let mut client = client(&server).await?;
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    let mut lines = lines.into_inner();
    articles.send(scan("bread")).await?;
    lines.message().await?.context("the stream has ended")?;

    server.process.kill()?;
    let status = lines.message().await.expect_err("the server was killed");
    assert_eq!(status.code(), Code::Unknown);
    Ok(())
}

/// A bidirectional call goes on as long as its requests may, even if the client has dropped the
/// responses.
#[harness::test]
async fn dropping_the_responses_does_not_cancel_the_call() -> Result {
    let (_, mut server) = start_server(SLUG)?;
    let mut client = client(&server).await?;
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    drop(lines);
    articles.send(scan("milk")).await?;
    server.process.wait_for_text("article=\"milk\"")?;
    assert!(!articles.is_closed());
    Ok(())
}

/// The peer is not tonic's, so the header is seen as it was sent.
#[harness::test]
async fn deadline_is_sent_as_grpc_timeout() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let (sender, mut calls) = mpsc::channel(1);
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let mut connection = h2::server::handshake(socket).await?;
        while let Some(call) = connection.accept().await {
            let (request, response) = call?;
            let deadline = request.headers().get("grpc-timeout").cloned();
            sender.send((deadline, response)).await?;
        }
        anyhow::Ok(())
    });
    let mut client = TillServiceClient::connect(uri).await?;
    let mut request = Request::new(tokio_stream::pending::<AddUpRequest>());
    request.set_timeout(Duration::from_millis(200));
    let status = client
        .add_up(request)
        .await
        .expect_err("no response is sent");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Cancelled, "Timeout expired")
    );
    let (deadline, _response) = calls.recv().await.context("no call arrived")?;
    assert_eq!(deadline.context("no deadline")?, "200000u");
    Ok(())
}

/// Reports what its handlers see: the result of each `message()`, and that they are dropped.
struct ReportingTill {
    messages: mpsc::Sender<Result<Option<ScanRequest>, Status>>,
    dropped: mpsc::Sender<()>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Reports its drop.
struct DropGuard(mpsc::Sender<()>);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.try_send(()).ok();
    }
}

type Messages = mpsc::Receiver<Result<Option<ScanRequest>, Status>>;

impl ReportingTill {
    /// A till, and what its handlers report.
    fn new() -> (Self, Messages, mpsc::Receiver<()>) {
        let (messages, message_reports) = mpsc::channel(1);
        let (dropped, drop_reports) = mpsc::channel(1);
        (Self { messages, dropped }, message_reports, drop_reports)
    }

    /// Serves in this process, and returns the address and what the handlers report.
    async fn serve() -> Result<(SocketAddr, Messages, mpsc::Receiver<()>)> {
        let (till, messages, drops) = Self::new();
        let till = TillServiceServer::new(till);
        let server = tonic::transport::Server::builder().add_service(till);
        Ok((spawn_in_process(server).await?, messages, drops))
    }

    /// Responses that never come, and whose drop is reported.
    fn silence<T: 'static>(&self) -> Responses<T> {
        let guard = DropGuard(self.dropped.clone());
        Box::pin(tokio_stream::pending().map(move |response| {
            let _held = &guard;
            response
        }))
    }
}

#[tonic::async_trait]
impl TillService for ReportingTill {
    async fn get_price(
        &self,
        _: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    type ListPricesStream = Responses<ListPricesResponse>;

    async fn list_prices(
        &self,
        _: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        Ok(Response::new(self.silence()))
    }

    async fn add_up(
        &self,
        _: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        let _guard = DropGuard(self.dropped.clone());
        self.messages.send(Ok(None)).await.ok();
        std::future::pending().await
    }

    type ScanStream = Responses<ScanResponse>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let mut requests = request.into_inner();
        let messages = self.messages.clone();
        tokio::spawn(async move {
            loop {
                // Gives up and begins again, so every test with this till also shows that `message`
                // is cancel-safe.
                let message = timeout(Duration::from_secs(1), requests.message());
                let Ok(message) = message.await else {
                    continue;
                };
                let is_last = !matches!(message, Ok(Some(_)));
                if messages.send(message).await.is_err() || is_last {
                    break;
                }
            }
        });
        Ok(Response::new(self.silence()))
    }
}

/// The requests end with `Ok(None)` in both cases, so a server cannot tell them apart.
#[harness::test]
async fn half_close_and_cancellation_look_alike_to_the_server() -> Result {
    let (address, mut messages, _drops) = ReportingTill::serve().await?;
    let mut client = TillServiceClient::connect(format!("http://{address}")).await?;
    for is_cancelled in [false, true] {
        let (articles, requests) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(requests));
        let cancellation = request.cancellation_handle();
        let _lines = client.scan(request).await?;
        articles.send(scan("bread")).await?;
        let first = messages.recv().await.context("no report")??;
        assert_eq!(first, Some(scan("bread")));
        if is_cancelled {
            cancellation.cancel();
        } else {
            drop(articles);
        }
        let last = messages.recv().await.context("no report")?;
        assert!(
            matches!(last, Ok(None)),
            "cancelled: {is_cancelled}, {last:?}"
        );
    }
    Ok(())
}

/// Unlike a half-close or a cancellation, which end the requests with `Ok(None)`.
#[harness::test]
async fn broken_connection_is_an_error_to_the_server() -> Result {
    let (address, mut messages, _drops) = ReportingTill::serve().await?;
    let (mut client, connection) =
        h2::client::handshake(TcpStream::connect(address).await?).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/till.v1.TillService/Scan"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, _requests) = client.send_request(request, false)?;
    response.await?;
    connection.abort();
    let last = timeout(TIMEOUT, messages.recv())
        .await?
        .context("no report")?;
    assert_eq!(
        last.expect_err("the connection is broken").code(),
        Code::Unknown
    );
    Ok(())
}

/// The server enforces the deadline with its own timer, and the cancellation when it arrives.
#[harness::test]
async fn deadline_and_cancellation_drop_the_handler() -> Result {
    let (address, mut started, mut drops) = ReportingTill::serve().await?;
    let mut client = TillServiceClient::connect(format!("http://{address}")).await?;
    let mut request = Request::new(tokio_stream::pending::<AddUpRequest>());
    request.set_timeout(Duration::from_millis(200));
    client
        .add_up(request)
        .await
        .expect_err("no response is sent");
    timeout(TIMEOUT, started.recv()).await?;
    timeout(TIMEOUT, drops.recv()).await?;

    let mut request = Request::new(tokio_stream::pending::<AddUpRequest>());
    let cancellation = request.cancellation_handle();
    let call = tokio::spawn(async move { client.add_up(request).await });
    timeout(TIMEOUT, started.recv()).await?;
    cancellation.cancel();
    let status = call.await?.expect_err("the call is cancelled");
    assert_eq!(status.code(), Code::Cancelled);
    timeout(TIMEOUT, drops.recv()).await?;
    Ok(())
}

/// How much a pipe holds, in bytes.
const PIPE: usize = 64 * 1024;

/// A server of `till` in this process; the other end of its only connection.
fn serve(till: impl TillService) -> DuplexStream {
    let till = TillServiceServer::new(till);
    pipe::serve(tonic::transport::Server::builder().add_service(till), PIPE)
}

/// A client of `till`, which serves in this process, over a pipe in memory.
async fn over_a_pipe(till: impl TillService) -> Result<TillServiceClient<Channel>> {
    let channel = pipe::channel(serve(till)).await?;
    Ok(TillServiceClient::new(channel))
}

/// A till that answers an article of any name.
struct EchoTill;

#[tonic::async_trait]
impl TillService for EchoTill {
    async fn get_price(
        &self,
        _: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    type ListPricesStream = tokio_stream::Empty<Result<ListPricesResponse, Status>>;

    async fn list_prices(
        &self,
        _: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn add_up(
        &self,
        _: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    type ScanStream = Responses<ScanResponse>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let answers = request.into_inner().map(|request| {
            let article = request?.article;
            Ok(ScanResponse {
                article,
                ..ScanResponse::default()
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// About a kilobyte on the wire. h2 has a limit for frames that are much smaller.
fn kilobyte() -> ScanRequest {
    scan(&"x".repeat(1000))
}

/// Sends articles of a kilobyte until `requests` has taken none for a second, and counts them. The
/// clock is paused, so the second passes once neither side can do anything else.
async fn send_until_it_waits(requests: &mpsc::Sender<ScanRequest>) -> Result<u32> {
    let mut sent = 0;
    while let Ok(result) = timeout(Duration::from_secs(1), requests.send(kilobyte())).await {
        result?;
        sent += 1;
        ensure!(sent < 100_000, "the client never had to wait");
    }
    Ok(sent)
}

/// The answers fill the client's window, so the server stops reading; then the requests fill the
/// server's window.
#[harness::test(paused)]
async fn a_client_that_sends_everything_before_it_reads_waits_forever() -> Result {
    let mut client = over_a_pipe(EchoTill).await?;
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    let mut lines = lines.into_inner();
    let sent = send_until_it_waits(&articles).await?;
    ensure!(
        sent > 3000,
        "stopped after {sent}: the windows are of 2 and 1 MiB"
    );

    // Reading is the cure.
    for _ in 0..sent {
        lines.message().await?.context("the till is silent")?;
    }
    let article = timeout(Duration::from_secs(1), articles.send(kilobyte()));
    article.await.context("the client still waits")??;
    Ok(())
}

/// By default, the connection's window of a tonic server is as large as that of one stream.
#[harness::test(paused)]
async fn a_stream_that_is_not_read_stops_the_others_on_its_connection() -> Result {
    let (till, mut reports, _drops) = ReportingTill::new();
    let mut client = over_a_pipe(till).await?;
    let (unread, requests) = mpsc::channel(1);
    let _lines = client.scan(ReceiverStream::new(requests)).await?;
    send_until_it_waits(&unread).await?;

    // The call itself goes through, since HEADERS need no window. Its message does not.
    let (articles, requests) = mpsc::channel(1);
    let _other = client.scan(ReceiverStream::new(requests)).await?;
    articles.send(scan("milk")).await?;
    time::sleep(Duration::from_secs(1)).await;
    for report in 0..2 {
        let article = reports.recv().await.context("no report")??;
        ensure!(article == Some(kilobyte()), "{report}: {article:?}");
    }
    // Once the first stream is read, the other one gets its turn.
    while reports.recv().await.context("no report")?? != Some(scan("milk")) {}
    Ok(())
}

/// h2 0.4.16 and later count frames of less than 256 bytes that wait to be read.
#[harness::test(paused)]
async fn many_small_messages_that_are_not_read_end_the_connection() -> Result {
    let mut client = over_a_pipe(streaming::Till::default()).await?;
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    let mut lines = lines.into_inner();
    let mut sent = 0;
    while articles.send(scan("bread")).await.is_ok() {
        sent += 1;
    }
    ensure!((5_000..20_000).contains(&sent), "it ended after {sent}");
    let status = loop {
        match lines.message().await {
            Ok(line) => line.context("the call has ended with OK")?,
            Err(status) => break status,
        };
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    let cause = format!("{status:?}");
    ensure!(cause.contains("too_many_data_frames"), "{cause}");

    // A server has less: half of its window of 1 MiB.
    let (till, _messages, _drops) = ReportingTill::new();
    let mut client = over_a_pipe(till).await?;
    let (articles, requests) = mpsc::channel(1);
    let _lines = client.scan(ReceiverStream::new(requests)).await?;
    let mut sent = 0;
    while articles.send(scan("bread")).await.is_ok() {
        sent += 1;
    }
    ensure!((2_000..2_500).contains(&sent), "it ended after {sent}");
    Ok(())
}

/// What the server sees of each thing that a client may drop. The clock is paused, so a second
/// passes once everything has arrived.
#[harness::test(paused)]
async fn what_the_client_drops_and_what_the_server_sees() -> Result {
    const SOON: Duration = Duration::from_secs(1);
    let (till, mut messages_seen, mut drops_seen) = ReportingTill::new();
    let mut client = over_a_pipe(till).await?;

    // The sender of the requests: a half-close, and the responses go on.
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    drop(articles);
    time::sleep(SOON).await;
    ensure!(matches!(messages_seen.try_recv()?, Ok(None)));
    ensure!(drops_seen.is_empty(), "the half-close ended the call");
    // Then the responses too: nothing of the call is left.
    drop(lines);
    time::sleep(SOON).await;
    drops_seen.try_recv().context("the call goes on")?;

    // The responses: nothing, as long as requests may follow.
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    drop(lines);
    time::sleep(SOON).await;
    ensure!(messages_seen.is_empty() && drops_seen.is_empty());
    // Then the sender too.
    drop(articles);
    time::sleep(SOON).await;
    drops_seen.try_recv().context("the call goes on")?;
    while messages_seen.try_recv().is_ok() {}

    // Both at once.
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    drop((articles, lines));
    time::sleep(SOON).await;
    drops_seen.try_recv().context("the call goes on")?;
    while messages_seen.try_recv().is_ok() {}

    // The responses of a call that has no stream of requests.
    let prices = client.list_prices(ListPricesRequest {}).await?;
    drop(prices);
    time::sleep(SOON).await;
    drops_seen.try_recv().context("the list goes on")?;

    // The call itself, before the response headers.
    let call = client.add_up(tokio_stream::pending::<AddUpRequest>());
    timeout(SOON, call)
        .await
        .expect_err("it waits for articles");
    time::sleep(SOON).await;
    drops_seen.try_recv().context("the sum goes on")?;
    Ok(())
}

/// tonic documents nothing about dropping `message` before it is ready.
#[harness::test(paused)]
async fn message_keeps_half_a_frame_when_it_is_dropped() -> Result {
    let (till, mut messages_seen, _drops) = ReportingTill::new();
    let (mut client, connection) = h2::client::handshake(serve(till)).await?;
    tokio::spawn(connection);
    let request = http::Request::post("http://in.process/till.v1.TillService/Scan")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (_response, mut requests) = client.send_request(request, false)?;
    let frame = [&[0, 0, 0, 0, 7, 10, 5][..], b"bread"].concat();
    for byte in &frame {
        requests.send_data(bytes::Bytes::copy_from_slice(&[*byte]), false)?;
        // Long enough for the handler to give up a `message` and to begin another.
        time::sleep(Duration::from_secs(5)).await;
    }
    let message = messages_seen.recv().await.context("no report")??;
    ensure!(message == Some(scan("bread")), "{message:?}");
    Ok(())
}

//! The chapter `streaming`, as its reader runs it, and what it says of tonic.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server};
use streaming::pb::{
    AddUpRequest, AddUpResponse, GetPriceRequest, GetPriceResponse, ListPricesRequest,
    ListPricesResponse, ScanRequest, ScanResponse,
    till_service_client::TillServiceClient,
    till_service_server::{TillService, TillServiceServer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};

/// More than any of this takes: what has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

fn started() -> Result<(Listing, Server)> {
    let listing = Listing::build("streaming")?;
    let server = listing.server("streaming-server")?;
    Ok((listing, server))
}

async fn client(server: &Server) -> Result<TillServiceClient<Channel>> {
    Ok(TillServiceClient::connect(server.uri()).await?)
}

fn scanned(article: &str) -> ScanRequest {
    ScanRequest {
        article: article.to_owned(),
    }
}

#[test]
fn what_is_no_method_or_ending_is_said_so() -> Result {
    let (listing, server) = started()?;
    for (program, sentence) in [
        ("streaming-client", "Error: \"pay\" is no method: say"),
        ("streaming-endings", "Error: \"pay\" is no ending: say"),
    ] {
        let end = listing.run(program, [&server.uri(), "pay"])?;
        ensure!(end.code == 1 && end.output.starts_with(sentence), "{end:?}");
        let nobody = listing.run(program, ["http://127.0.0.1:1"])?;
        ensure!(
            nobody.output.starts_with("Error: cannot reach"),
            "{nobody:?}"
        );
    }
    Ok(())
}

/// The server waits for an open call, and then no longer.
#[tokio::test]
async fn ctrl_c_ends_the_server_though_a_stream_is_open() -> Result {
    let (_, server) = started()?;
    let mut client = client(&server).await?;
    let (_articles, requests) = mpsc::channel(1);
    let _lines = client.scan(ReceiverStream::new(requests)).await?;
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}

/// Without a word from it: the kernel closes its connections.
#[tokio::test]
async fn a_killed_server_ends_a_stream() -> Result {
    let (_, mut server) = started()?;
    let mut client = client(&server).await?;
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    let mut lines = lines.into_inner();
    articles.send(scanned("bread")).await?;
    lines.message().await?.context("the till is silent")?;

    server.program.kill()?;
    let status = lines.message().await.expect_err("the server is dead");
    assert_eq!(status.code(), Code::Unknown);
    Ok(())
}

/// A call in both directions lives while its requests may follow, whoever has
/// let go of the responses.
#[tokio::test(flavor = "multi_thread")]
async fn to_drop_the_responses_does_not_cancel() -> Result {
    let (_, mut server) = started()?;
    let mut client = client(&server).await?;
    let (articles, requests) = mpsc::channel(1);
    let lines = client.scan(ReceiverStream::new(requests)).await?;
    drop(lines);
    articles.send(scanned("milk")).await?;
    server.program.wait_for_text("article=\"milk\"")?;
    assert!(!articles.is_closed());
    Ok(())
}

/// What a client writes when it sets a deadline.
#[tokio::test]
async fn a_deadline_is_a_header() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let (tell, mut told) = mpsc::channel(1);
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let mut connection = h2::server::handshake(socket).await?;
        while let Some(call) = connection.accept().await {
            let (request, response) = call?;
            let deadline = request.headers().get("grpc-timeout").cloned();
            tell.send((deadline, response)).await?;
        }
        anyhow::Ok(())
    });
    let mut client = TillServiceClient::connect(uri).await?;
    let mut request = Request::new(tokio_stream::pending::<AddUpRequest>());
    request.set_timeout(Duration::from_millis(200));
    let status = client.add_up(request).await.expect_err("nobody answers");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Cancelled, "Timeout expired")
    );
    let (deadline, _response) = told.recv().await.context("a call came")?;
    assert_eq!(deadline.context("it has one")?, "200000u");
    Ok(())
}

/// Tells what a handler sees: what `message()` gives, and that it is dropped.
struct Asked {
    tell: mpsc::Sender<Result<Option<ScanRequest>, Status>>,
    dropped: mpsc::Sender<()>,
}

/// Tells when it is dropped.
struct Guard(mpsc::Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.try_send(()).ok();
    }
}

impl Asked {
    /// Serves in this process; where, and what it tells.
    async fn serve() -> Result<(
        SocketAddr,
        mpsc::Receiver<Result<Option<ScanRequest>, Status>>,
        mpsc::Receiver<()>,
    )> {
        let (tell, told) = mpsc::channel(1);
        let (dropped, drops) = mpsc::channel(1);
        let till = TillServiceServer::new(Self { tell, dropped });
        let server = tonic::transport::Server::builder().add_service(till);
        Ok((crate::serving(server).await?, told, drops))
    }
}

#[tonic::async_trait]
impl TillService for Asked {
    async fn get_price(
        &self,
        _: Request<GetPriceRequest>,
    ) -> Result<Response<GetPriceResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    type ListPricesStream = tokio_stream::Empty<Result<ListPricesResponse, Status>>;

    async fn list_prices(
        &self,
        _: Request<ListPricesRequest>,
    ) -> Result<Response<Self::ListPricesStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn add_up(
        &self,
        _: Request<Streaming<AddUpRequest>>,
    ) -> Result<Response<AddUpResponse>, Status> {
        let _guard = Guard(self.dropped.clone());
        self.tell.send(Ok(None)).await.ok();
        std::future::pending().await
    }

    type ScanStream = tokio_stream::Pending<Result<ScanResponse, Status>>;

    async fn scan(
        &self,
        request: Request<Streaming<ScanRequest>>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let mut requests = request.into_inner();
        let tell = self.tell.clone();
        tokio::spawn(async move {
            loop {
                let message = requests.message().await;
                let last = !matches!(message, Ok(Some(_)));
                if tell.send(message).await.is_err() || last {
                    break;
                }
            }
        });
        Ok(Response::new(tokio_stream::pending()))
    }
}

/// Where the requests end, a server cannot tell who has finished from who has
/// run away.
#[tokio::test]
async fn half_close_and_cancellation_look_alike_to_the_server() -> Result {
    let (address, mut told, _drops) = Asked::serve().await?;
    let mut client = TillServiceClient::connect(format!("http://{address}")).await?;
    for cancelled in [false, true] {
        let (articles, requests) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(requests));
        let cancellation = request.cancellation_handle();
        let _lines = client.scan(request).await?;
        articles.send(scanned("bread")).await?;
        let first = told.recv().await.context("it is told")??;
        assert_eq!(first, Some(scanned("bread")));
        if cancelled {
            cancellation.cancel();
        } else {
            drop(articles);
        }
        let last = told.recv().await.context("it is told")?;
        assert!(matches!(last, Ok(None)), "cancelled: {cancelled}, {last:?}");
    }
    Ok(())
}

/// A connection that breaks is another thing: then the server gets an error.
#[tokio::test]
async fn a_broken_connection_does_not_look_like_an_end() -> Result {
    let (address, mut told, _drops) = Asked::serve().await?;
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
    let last = timeout(PATIENCE, told.recv())
        .await?
        .context("it is told")?;
    assert_eq!(last.expect_err("it broke").code(), Code::Unknown);
    Ok(())
}

/// The server drops what it was doing, by its own clock and at the client's word.
#[tokio::test]
async fn a_deadline_and_a_cancellation_drop_the_handler() -> Result {
    let (address, mut begun, mut drops) = Asked::serve().await?;
    let mut client = TillServiceClient::connect(format!("http://{address}")).await?;
    let mut request = Request::new(tokio_stream::pending::<AddUpRequest>());
    request.set_timeout(Duration::from_millis(200));
    client.add_up(request).await.expect_err("nobody answers");
    timeout(PATIENCE, begun.recv()).await?;
    timeout(PATIENCE, drops.recv()).await?;

    let mut request = Request::new(tokio_stream::pending::<AddUpRequest>());
    let cancellation = request.cancellation_handle();
    let call = tokio::spawn(async move { client.add_up(request).await });
    timeout(PATIENCE, begun.recv()).await?;
    cancellation.cancel();
    let status = call.await?.expect_err("it is cancelled");
    assert_eq!(status.code(), Code::Cancelled);
    timeout(PATIENCE, drops.recv()).await?;
    Ok(())
}

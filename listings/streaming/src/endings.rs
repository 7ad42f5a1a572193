//! `streaming-endings [URI [ENDING]]` ends calls by `half-close`, `status`, `cancel` and
//! `deadline`, or in one of these ways. With `shutdown`, it waits until the server stops.

use std::{env, time::Duration};

use anyhow::{Context, bail};
use streaming::{
    call_limit::within_limit,
    escape::escape,
    pb::{AddUpRequest, ScanRequest, ScanResponse, till_service_client::TillServiceClient},
};
use tokio::{
    sync::mpsc::{self, Sender},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};

type Client = TillServiceClient<Channel>;

/// The deadline of the calls that have one.
const DEADLINE: Duration = Duration::from_millis(200);

// One thread: what was asked of the connection has been written when `main` goes on.
// With more, a program that ends here may be faster than its own cancellation.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());

    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    let mut client = Client::new(channel);

    match args.next().as_deref() {
        Some("half-close") => within_limit(half_close(&mut client)).await,
        Some("status") => within_limit(status(&mut client)).await,
        Some("cancel") => within_limit(cancel(&mut client)).await,
        Some("deadline") => within_limit(deadline(&mut client)).await,
        // Without a limit: it waits until you press Ctrl-C in the server's terminal.
        Some("shutdown") => shutdown(&mut client).await,
        Some(other) => bail!(
            "there is no ending {other:?}: choose half-close, status, cancel, deadline or shutdown"
        ),
        None => {
            within_limit(half_close(&mut client)).await?;
            within_limit(status(&mut client)).await?;
            within_limit(cancel(&mut client)).await?;
            within_limit(deadline(&mut client)).await
        }
    }
}

// ANCHOR: open
/// Opens a call in both directions.
async fn open(
    client: &mut Client,
) -> anyhow::Result<(Sender<ScanRequest>, Streaming<ScanResponse>)> {
    let (articles, requests) = mpsc::channel(8);
    let response = client.scan(ReceiverStream::new(requests)).await?;
    Ok((articles, response.into_inner()))
}

fn scanned(article: &str) -> ScanRequest {
    let article = article.to_owned();
    ScanRequest { article }
}
// ANCHOR_END: open

// ANCHOR: half_close
async fn half_close(client: &mut Client) -> anyhow::Result<()> {
    let (articles, mut lines) = open(client).await?;
    for article in ["bread", "milk", "茶"] {
        articles.send(scanned(article)).await?;
    }
    drop(articles);
    println!("half-close: we have ended our side");
    while let Some(line) = lines.message().await? {
        println!("half-close: {} so far", line.sum_cents);
    }
    println!("half-close: the call has ended with OK");
    Ok(())
}
// ANCHOR_END: half_close

// ANCHOR: status
async fn status(client: &mut Client) -> anyhow::Result<()> {
    let (articles, mut lines) = open(client).await?;
    articles.send(scanned("durian")).await?;
    let Err(status) = lines.message().await else {
        bail!("the till sells durians");
    };
    println!("status: {:?}, {}", status.code(), escape(status.message()));
    // The call is over, so tonic has dropped the stream of requests.
    articles.closed().await;
    println!("status: our side has ended with it");
    Ok(())
}
// ANCHOR_END: status

// ANCHOR: cancel
async fn cancel(client: &mut Client) -> anyhow::Result<()> {
    let (articles, requests) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(requests));
    let cancellation = request.cancellation_handle();
    let mut lines = client.scan(request).await?.into_inner();
    articles.send(scanned("bread")).await?;
    lines.message().await?.context("the till is silent")?;

    cancellation.cancel();
    let Err(status) = lines.message().await else {
        bail!("the call goes on");
    };
    println!("cancel: {:?}, {}", status.code(), escape(status.message()));
    articles.closed().await;
    println!("cancel: our side has ended with it");
    Ok(())
}
// ANCHOR_END: cancel

// ANCHOR: deadline
async fn deadline(client: &mut Client) -> anyhow::Result<()> {
    // One article, and then nothing: the till waits for more.
    let (articles, requests) = mpsc::channel(1);
    let article = "bread".to_owned();
    articles.send(AddUpRequest { article }).await?;
    let mut request = Request::new(ReceiverStream::new(requests));
    request.set_timeout(DEADLINE);
    let Err(status) = client.add_up(request).await else {
        bail!("the till does not wait");
    };
    println!(
        "deadline of add up: {:?}, {}",
        status.code(),
        escape(status.message())
    );

    let (_articles, requests) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(requests));
    request.set_timeout(DEADLINE);
    let cancellation = request.cancellation_handle();
    let mut lines = client.scan(request).await?.into_inner();
    // tonic no longer looks at the deadline once the response has begun.
    if time::timeout(2 * DEADLINE, lines.message()).await.is_err() {
        cancellation.cancel();
        println!("deadline of scan: passed, and the call was still open; we cancelled it");
    }
    Ok(())
}
// ANCHOR_END: deadline

// ANCHOR: shutdown
async fn shutdown(client: &mut Client) -> anyhow::Result<()> {
    let (articles, mut lines) = open(client).await?;
    articles.send(scanned("bread")).await?;
    lines.message().await?.context("the till is silent")?;
    println!("shutdown: waiting for the server to stop");
    let Err(status) = lines.message().await else {
        bail!("the till has ended the call with OK");
    };
    println!(
        "shutdown: {:?}, {}",
        status.code(),
        escape(status.message())
    );
    Ok(())
}
// ANCHOR_END: shutdown

//! The appendix on tonic's defaults: what a server and a client do that set nothing.

use std::{collections::BTreeMap, fmt::Write as _, future, pin::pin, time::Duration};

use anyhow::{bail, ensure};
use harness::{
    Result,
    http2::{
        self, ACK, DEFAULT_WINDOW, END_HEADERS, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
        MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, PING, PREFACE, RST_STREAM,
        SETTINGS, WINDOW_UPDATE,
    },
    table,
};
use hello_world::pb::{
    SayHelloRequest, SayHelloResponse,
    greeter_service_client::GreeterServiceClient,
    greeter_service_server::{GreeterService, GreeterServiceServer},
};
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt, DuplexStream},
    time,
};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Server},
};

use crate::pipe;

/// The table of the page. `SNAPSHOTS=overwrite` writes it again.
const TABLE: &str = "tests/chapters/output/defaults.md";

/// Longer than any default limit.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

const MIB: usize = 1024 * 1024;

/// Answers with the name, or never if the name is `wait`.
struct Echo;

#[tonic::async_trait]
impl GreeterService for Echo {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        let message = request.into_inner().name;
        if message == "wait" {
            future::pending::<()>().await;
        }
        Ok(Response::new(SayHelloResponse { message }))
    }
}

/// The other end of a connection to a server that sets nothing.
fn default_server() -> DuplexStream {
    serve(GreeterServiceServer::new(Echo))
}

/// The other end of a connection to a server that sets nothing but what `service` has.
fn serve(service: GreeterServiceServer<Echo>) -> DuplexStream {
    pipe::serve(Server::builder().add_service(service), 64 * MIB)
}

/// HTTP/2 by hand, on one end of a connection.
struct Frames(DuplexStream);

/// What the other end says of itself.
#[derive(Default)]
struct Bounds {
    settings: BTreeMap<u16, u32>,
    connection_window: u32,
}

impl Bounds {
    fn setting(&self, id: u16) -> String {
        let value = self.settings.get(&id);
        value.map_or("no limit".to_owned(), |value| bytes(u64::from(*value)))
    }
}

/// A number of bytes, in the largest unit that divides it.
fn bytes(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1024 * 1024) => format!("{} MiB", bytes / (1024 * 1024)),
        _ if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
        _ => format!("{bytes} bytes"),
    }
}

impl Frames {
    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result {
        let frame = http2::frame(kind, flags, stream, payload);
        Ok(self.0.write_all(&frame).await?)
    }

    async fn read(&mut self) -> Result<(u8, u8, Vec<u8>)> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).await?;
        let (kind, flags, length) = http2::parse_header(header);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok((kind, flags, payload))
    }

    /// Reads what the other end says first, up to its answer to a ping of ours.
    async fn bounds(&mut self) -> Result<Bounds> {
        self.write(SETTINGS, 0, 0, &[]).await?;
        // It enlarges the window of the connection after its settings, so two pings are sent in turn.
        let mut pings = 2;
        self.write(PING, 0, 0, &[0; 8]).await?;
        let mut bounds = Bounds {
            connection_window: DEFAULT_WINDOW,
            ..Bounds::default()
        };
        loop {
            match self.read().await? {
                (SETTINGS, 0, payload) => {
                    bounds.settings.extend(http2::settings(&payload));
                    self.write(SETTINGS, ACK, 0, &[]).await?;
                }
                (WINDOW_UPDATE, _, payload) => {
                    bounds.connection_window += u32::from_be_bytes(payload[..].try_into()?);
                }
                (PING, ACK, _) => {
                    pings -= 1;
                    if pings == 0 {
                        return Ok(bounds);
                    }
                    self.write(PING, 0, 0, &[0; 8]).await?;
                }
                _ => {}
            }
        }
    }

    /// What comes within a day: a ping, the end of the connection, or neither.
    async fn within_a_day(&mut self) -> &'static str {
        let mut day = pin!(time::sleep(A_DAY));
        loop {
            tokio::select! {
                () = &mut day => return "no limit",
                frame = self.read() => match frame {
                    Ok((PING, 0, _)) => return "a ping",
                    Ok(_) => {}
                    Err(_) => return "the end of the connection",
                },
            }
        }
    }
}

async fn server_bounds() -> Result<(Frames, Bounds)> {
    let mut frames = Frames(default_server());
    frames.0.write_all(PREFACE).await?;
    let bounds = frames.bounds().await?;
    Ok((frames, bounds))
}

/// What a server does in a day with a client that sends nothing.
async fn silent_client() -> Result<&'static str> {
    let mut frames = Frames(default_server());

    ensure!(frames.read().await?.0 == SETTINGS, "no settings");
    Ok(frames.within_a_day().await)
}

/// The client's end of a connection whose other end answers nothing.
async fn client_bounds() -> Result<(Frames, Bounds, Channel)> {
    let (ours, theirs) = io::duplex(64 * MIB);
    let channel = pipe::channel(theirs).await?;
    let mut frames = Frames(ours);
    let mut preface = [0; PREFACE.len()];
    frames.0.read_exact(&mut preface).await?;
    ensure!(preface == PREFACE, "no preface");
    let bounds = frames.bounds().await?;
    Ok((frames, bounds, channel))
}

/// The largest message that is received: 4 MiB and not a byte more. The service sends back what it
/// gets, so the client's own limit is measured by a server without one.
async fn largest_message(mut client: GreeterServiceClient<Channel>) -> Result<String> {
    for (message, is_received) in [(4 * MIB, true), (4 * MIB + 1, false)] {
        // The field has a byte for its number and four for its length.
        let name = "x".repeat(message - 5);
        let result = client.say_hello(SayHelloRequest { name }).await;
        match result {
            Ok(_) if is_received => {}
            Err(status) if !is_received => ensure!(status.code() == Code::OutOfRange, "{status}"),
            other => bail!("{message} bytes: {:?}", other.map(|_| "received")),
        }
    }
    Ok(bytes(4 * MIB as u64))
}

/// How many calls a client may cancel in a burst before the server has looked at them. One more
/// ends the connection.
async fn tolerated_resets() -> Result<usize> {
    for resets in 1..200 {
        let (mut frames, _) = server_bounds().await?;
        let mut burst = Vec::new();
        for call in 0..=resets {
            let stream = u32::try_from(2 * call + 1)?;
            let path = b"/hello.v1.GreeterService/SayHello";
            let mut block = vec![0x83, 0x86, 0x04, u8::try_from(path.len())?];
            block.extend(path);
            burst.extend(http2::frame(HEADERS, END_HEADERS, stream, &block));
            burst.extend(http2::frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])); // CANCEL
        }
        frames.0.write_all(&burst).await?;
        frames.write(PING, 0, 0, &[1; 8]).await?;
        loop {
            match frames.read().await {
                Ok((PING, ACK, _)) => break,
                Ok((GOAWAY, ..)) | Err(_) => return Ok(resets),
                Ok(_) => {}
            }
        }
    }
    bail!("200 calls were cancelled, and the connection is open")
}

#[harness::test(paused)]
async fn defaults_are_those_of_the_table() -> Result {
    let (mut server, bounds) = server_bounds().await?;
    let mut rows: Vec<[String; 5]> = Vec::new();
    let mut row = |bound: &str, value: String, reached: &str, setting: &str, go: &str| {
        rows.push([bound, &value, go, reached, setting].map(str::to_owned));
    };
    row(
        "server: calls open on a connection",
        bounds.setting(MAX_CONCURRENT_STREAMS),
        "further calls wait in the client",
        "`Server::max_concurrent_streams`",
        "no limit",
    );
    row(
        "server: window of a stream",
        bounds.setting(INITIAL_WINDOW_SIZE),
        "the client waits until the handler has read",
        "`initial_stream_window_size`",
        "64 KiB, adaptive",
    );
    row(
        "server: window of a connection",
        bytes(u64::from(bounds.connection_window)),
        "all its streams wait",
        "`initial_connection_window_size`",
        "64 KiB, adaptive",
    );
    row(
        "server: frame",
        bounds.setting(MAX_FRAME_SIZE),
        "a message is sent in several frames",
        "`max_frame_size`",
        "16 KiB",
    );
    row(
        "server: headers of a request",
        bounds.setting(MAX_HEADER_LIST_SIZE),
        "HTTP 431, which the client calls `UNKNOWN`",
        "`http2_max_header_list_size`",
        "16 MiB",
    );
    let unlimited = || async {
        let channel = pipe::channel(default_server()).await?;
        Ok::<_, anyhow::Error>(GreeterServiceClient::new(channel))
    };
    row(
        "server: message received",
        largest_message(unlimited().await?.max_decoding_message_size(usize::MAX)).await?,
        "`OUT_OF_RANGE`",
        "`max_decoding_message_size` of the service",
        "4 MiB, `RESOURCE_EXHAUSTED`",
    );
    row(
        "server: time until a client speaks",
        silent_client().await?.to_owned(),
        "the connection stays",
        "none; the listing of [Deadlines](../deadlines/limits.md) has one",
        "120 s",
    );
    row(
        "server: keepalive, and an idle connection",
        server.within_a_day().await.to_owned(),
        "a client that has vanished keeps its connection",
        "`http2_keepalive_interval`, `max_connection_age`",
        "a ping after 2 h, answered within 20 s",
    );
    let mut client = unlimited().await?;
    let name = "wait".to_owned();
    let waiting = client.say_hello(SayHelloRequest { name });
    let waited = time::timeout(A_DAY, waiting).await;
    row(
        "server and client: time of a call",
        waited.map_or("no limit".to_owned(), |result| format!("{result:?}")),
        "the call waits",
        "`Server::timeout`, `Endpoint::timeout`, `set_timeout`",
        "no limit",
    );
    row(
        "server: calls cancelled in a burst",
        tolerated_resets().await?.to_string(),
        "the connection ends, with all its calls",
        "`http2_max_pending_accept_reset_streams`",
        "no limit",
    );

    let (mut client, bounds, _channel) = client_bounds().await?;
    row(
        "client: window of a stream",
        bounds.setting(INITIAL_WINDOW_SIZE),
        "the server waits until the client has read",
        "`Endpoint::initial_stream_window_size`",
        "64 KiB, adaptive",
    );
    row(
        "client: window of a connection",
        bytes(u64::from(bounds.connection_window)),
        "all its streams wait",
        "`initial_connection_window_size`",
        "64 KiB, adaptive",
    );
    row(
        "client: headers of a response",
        bounds.setting(MAX_HEADER_LIST_SIZE),
        "the call fails with `INTERNAL`",
        "`http2_max_header_list_size`",
        "16 MiB",
    );
    let unlimited_server = GreeterServiceServer::new(Echo).max_decoding_message_size(usize::MAX);
    let limited_client = GreeterServiceClient::new(pipe::channel(serve(unlimited_server)).await?);
    row(
        "client: message received",
        largest_message(limited_client).await?,
        "`OUT_OF_RANGE`",
        "`max_decoding_message_size` of the client",
        "4 MiB, `RESOURCE_EXHAUSTED`",
    );
    row(
        "client: keepalive",
        client.within_a_day().await.to_owned(),
        "calls to a server that has vanished wait",
        "`Endpoint::http2_keep_alive_interval`",
        "none",
    );

    let mut table = String::from(
        "| bound | default | grpc-go | when it is reached | setting |\n| --- | --- | --- | --- | --- |\n",
    );
    for cells in rows {
        writeln!(table, "| {} |", cells.join(" | "))?;
    }
    table::compare(TABLE, &table, str::to_owned)
}

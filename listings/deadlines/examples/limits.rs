//! `cargo run --example limits` limits calls in every way that a client has, to
//! servers that keep them waiting in every way they can, and prints the table;
//! `-- server` does so for the ways of a server.

use std::{env, net::SocketAddr, pin::Pin, time::Duration};

use anyhow::{Result, bail};
use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use deadlines::{
    deadline::Deadline,
    layer::DeadlineLayer,
    pb::{
        PlaceOrderRequest, PlaceOrderResponse, TrackOrderRequest, TrackOrderResponse,
        order_service_client::OrderServiceClient,
        order_service_server::{OrderService, OrderServiceServer},
    },
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{self, interval},
};
use tokio_stream::{Stream, StreamExt, wrappers::IntervalStream};
use tonic::{
    Request, Response, Status,
    service::{LayerExt, Routes},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// The limit, wherever there is one.
const LIMIT: Duration = Duration::from_secs(1);

/// How often a peer is asked whether it is there, and how long it may take to say
/// so. A machine with much to do is not to be taken for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// After this long nobody waits any more: there is no limit.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    SetTimeout,
    EndpointTimeout,
    ConnectTimeout,
    KeepAlive,
    Outer,
    Bound,
    ServerTimeout,
    Layer,
}

/// What a client can do.
const OURS: [(Way, &str); 6] = [
    (Way::SetTimeout, "`set_timeout`"),
    (Way::EndpointTimeout, "`timeout`"),
    (Way::ConnectTimeout, "`connect_timeout`"),
    (Way::KeepAlive, "keepalive"),
    (Way::Outer, "tokio's"),
    (Way::Bound, "`bound`"),
];

/// What a server can do.
const THEIRS: [(Way, &str); 2] = [
    (Way::ServerTimeout, "`Server::timeout`"),
    (Way::Layer, "`DeadlineLayer`"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Refuses,
    BlackHole,
    Silent,
    Pending,
    HalfAMessage,
    Endless,
}

/// The servers that a client can meet.
const PEERS: [(Peer, &str); 6] = [
    (Peer::Refuses, "refuses"),
    (Peer::BlackHole, "black hole"),
    (Peer::Silent, "silent"),
    (Peer::Pending, "no answer"),
    (Peer::HalfAMessage, "half a message"),
    (Peer::Endless, "endless"),
];

/// Handlers that a server can have.
const HANDLERS: [(Peer, &str); 2] = [
    (Peer::Pending, "never returns"),
    (Peer::Endless, "streams forever"),
];

#[tokio::main]
async fn main() -> Result<()> {
    match env::args().nth(1).as_deref() {
        None => print("the server", &PEERS, &OURS).await,
        Some("server") => print("the handler", &HANDLERS, &THEIRS).await,
        Some(other) => bail!("{other:?}: say nothing, or `server`"),
    }
}

/// Tries each with each, and prints what came of it.
async fn print(who: &str, peers: &[(Peer, &str)], ways: &[(Way, &str)]) -> Result<()> {
    // Side by side: most of them wait.
    let mut cells = JoinSet::new();
    for (row, &(peer, _)) in peers.iter().enumerate() {
        for (column, &(way, _)) in ways.iter().enumerate() {
            cells.spawn(async move { anyhow::Ok((row, column, cell(way, peer).await?)) });
        }
    }
    let mut table = vec![vec![String::new(); ways.len()]; peers.len()];
    while let Some(cell) = cells.join_next().await {
        let (row, column, text) = cell??;
        table[row][column] = text;
    }
    let names: Vec<_> = ways.iter().map(|(_, name)| *name).collect();
    println!("| {who} | {} |", names.join(" | "));
    println!("| --- |{}", " --- |".repeat(ways.len()));
    for ((_, name), row) in peers.iter().zip(table) {
        println!("| {name} | {} |", row.join(" | "));
    }
    Ok(())
}

/// What a call ends with.
async fn cell(way: Way, peer: Peer) -> Result<String> {
    let (address, _held) = start(way, peer).await?;
    let mut endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    match way {
        Way::EndpointTimeout => endpoint = endpoint.timeout(LIMIT),
        Way::ConnectTimeout => endpoint = endpoint.connect_timeout(LIMIT),
        Way::KeepAlive => {
            endpoint = endpoint
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE);
        }
        _ => {}
    }
    let client = OrderServiceClient::new(endpoint.connect_lazy());
    let timeout = matches!(way, Way::SetTimeout | Way::Bound).then_some(LIMIT);
    let deadline = Deadline::after(LIMIT);
    let call = async {
        match peer {
            Peer::Endless => track(client, timeout).await,
            _ => place(client, timeout).await,
        }
    };
    let ended = time::timeout(PATIENCE, async {
        match way {
            Way::Outer => match time::timeout(LIMIT, call).await {
                Ok(ended) => said(ended),
                Err(_) => "`Elapsed`".to_owned(),
            },
            Way::Bound => said(deadline.bound(call).await),
            _ => said(call.await),
        }
    });
    Ok(ended.await.unwrap_or_else(|_| "**waits**".to_owned()))
}

fn said(ended: Result<(), Status>) -> String {
    match ended {
        Ok(()) => "ends well".to_owned(),
        Err(status) => format!("`{:?}`", status.code()),
    }
}

fn request<T>(message: T, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

async fn place(
    mut client: OrderServiceClient<Channel>,
    timeout: Option<Duration>,
) -> Result<(), Status> {
    let request = request(PlaceOrderRequest::default(), timeout);
    client.place_order(request).await.map(drop)
}

async fn track(
    mut client: OrderServiceClient<Channel>,
    timeout: Option<Duration>,
) -> Result<(), Status> {
    let request = request(TrackOrderRequest::default(), timeout);
    let mut places = client.track_order(request).await?.into_inner();
    while places.message().await?.is_some() {}
    Ok(())
}

/// A peer: where it is, and what keeps it as it is, until that is dropped.
async fn start(way: Way, peer: Peer) -> Result<(SocketAddr, JoinSet<()>)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    // The black hole's queue has room for one, and nobody takes that away.
    let listener = socket.listen(if peer == Peer::BlackHole { 0 } else { 128 })?;
    let address = listener.local_addr()?;
    let mut server = Server::builder();
    let mut held = JoinSet::new();
    let routes = match peer {
        Peer::Refuses => return Ok((address, held)),
        Peer::BlackHole => {
            let queued = TcpStream::connect(address).await?;
            held.spawn(async move {
                let _full = (listener, queued);
                std::future::pending().await
            });
            return Ok((address, held));
        }
        Peer::Silent => {
            held.spawn(async move {
                let _connection = listener.accept().await;
                std::future::pending().await
            });
            return Ok((address, held));
        }
        Peer::HalfAMessage => Routes::from(Router::new().fallback_service(any(half_a_message))),
        Peer::Pending | Peer::Endless if way == Way::Layer => {
            let layer = DeadlineLayer { at_most: LIMIT };
            Routes::new(layer.named_layer(OrderServiceServer::new(Slow)))
        }
        Peer::Pending | Peer::Endless => Routes::new(OrderServiceServer::new(Slow)),
    };
    if way == Way::ServerTimeout {
        server = server.timeout(LIMIT);
    }
    let server = server.add_routes(routes);
    held.spawn(async move {
        let ended = server.serve_with_incoming(TcpIncoming::from(listener));
        ended.await.ok();
    });
    Ok((address, held))
}

/// Says that ten bytes will come, and sends two.
async fn half_a_message() -> http::Response<Body> {
    let half = tokio_stream::once(Ok::<_, Status>(Bytes::from_static(b"\0\0\0\0\x0a\x0a\x08")));
    let half = half.chain(tokio_stream::pending());
    let mut response = http::Response::new(Body::from_stream(half));
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

/// Has never done.
struct Slow;

#[tonic::async_trait]
impl OrderService for Slow {
    async fn place_order(
        &self,
        _: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        std::future::pending().await
    }

    type TrackOrderStream = Pin<Box<dyn Stream<Item = Result<TrackOrderResponse, Status>> + Send>>;

    async fn track_order(
        &self,
        _: Request<TrackOrderRequest>,
    ) -> Result<Response<Self::TrackOrderStream>, Status> {
        let places = IntervalStream::new(interval(LIMIT / 10));
        let places = places.map(|_| Ok(TrackOrderResponse::default()));
        Ok(Response::new(Box::pin(places)))
    }
}

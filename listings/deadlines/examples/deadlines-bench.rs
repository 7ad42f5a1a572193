//! `cargo run --release --example deadlines-bench [-- quick]` measures a chain of
//! three services that need 200 ms each, as its budget grows: when the client has
//! its answer, and how long somebody works on after that. It prints
//! comma-separated values.

use std::{
    env,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use deadlines::{
    deadline::Deadline,
    layer::DeadlineLayer,
    pb::{
        PlaceOrderRequest, PlaceOrderResponse, TrackOrderRequest, TrackOrderResponse,
        order_service_client::OrderServiceClient,
        order_service_server::{OrderService, OrderServiceServer},
    },
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::sleep};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status,
    service::LayerExt,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

const WORK: Duration = Duration::from_millis(200);

const BUDGETS: [u64; 9] = [50, 100, 200, 300, 400, 500, 600, 700, 800];

/// What becomes of the work of a call that nobody waits for.
#[derive(Clone, Copy)]
enum Spawned {
    InAJoinSet,
    ByTokioSpawn,
}

#[tokio::main]
async fn main() -> Result<()> {
    let calls = match env::args().nth(1).as_deref() {
        None => 50,
        Some("quick") => 2,
        Some(other) => bail!("{other:?}: say nothing, or `quick`"),
    };
    println!("work,budget (ms),slowest answer (ms),work after it (ms)");
    for (name, spawned) in [
        ("JoinSet", Spawned::InAJoinSet),
        ("tokio::spawn", Spawned::ByTokioSpawn),
    ] {
        let working = Working::default();
        let carrier = service(spawned, &working, None).await?;
        let warehouse = service(spawned, &working, Some(carrier)).await?;
        let shop = service(spawned, &working, Some(warehouse)).await?;
        // So that there are connections.
        place(shop.clone(), Duration::from_secs(10)).await;
        for budget in BUDGETS {
            let mut answers = JoinSet::new();
            for _ in 0..calls {
                answers.spawn(place(shop.clone(), Duration::from_millis(budget)));
            }
            let slowest = answers.join_all().await.into_iter().max();
            let slowest = slowest.context("there are calls")?;
            let answered = Instant::now();
            working.none().await;
            // A logarithm wants more than nothing.
            let after = answered.elapsed().as_secs_f64().max(1e-6) * 1e3;
            let slowest = slowest.as_millis();
            println!("{name},{budget},{slowest},{after:.3}");
        }
    }
    Ok(())
}

/// How many pieces of work there are.
#[derive(Clone, Default)]
struct Working(Arc<Count>);

#[derive(Default)]
struct Count {
    pieces: AtomicUsize,
    changed: watch::Sender<()>,
}

impl Working {
    fn begins(&self) -> Piece {
        self.0.pieces.fetch_add(1, Ordering::SeqCst);
        Piece(self.clone())
    }

    async fn none(&self) {
        let mut changed = self.0.changed.subscribe();
        while self.0.pieces.load(Ordering::SeqCst) > 0 {
            // The sender is in `self`.
            changed.changed().await.ok();
        }
    }
}

struct Piece(Working);

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.0.pieces.fetch_sub(1, Ordering::SeqCst);
        self.0.0.changed.send_replace(());
    }
}

/// How long a call takes, however it ends.
async fn place(mut shop: OrderServiceClient<Channel>, budget: Duration) -> Duration {
    let began = Instant::now();
    let deadline = Deadline::after(budget);
    if let Ok(request) = deadline.request(PlaceOrderRequest::default()) {
        // The answer is measured, not looked at.
        deadline.bound(shop.place_order(request)).await.ok();
    }
    began.elapsed()
}

async fn service(
    spawned: Spawned,
    working: &Working,
    next: Option<OrderServiceClient<Channel>>,
) -> Result<OrderServiceClient<Channel>> {
    let working = working.clone();
    let link = Link {
        spawned,
        working,
        next,
    };
    let at_most = Duration::from_secs(10);
    let orders = DeadlineLayer { at_most }.named_layer(OrderServiceServer::new(link));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let server = Server::builder().add_service(orders);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = Endpoint::from_shared(uri)?.connect_lazy();
    Ok(OrderServiceClient::new(channel))
}

struct Link {
    spawned: Spawned,
    working: Working,
    next: Option<OrderServiceClient<Channel>>,
}

impl Link {
    async fn work(&self) {
        let piece = self.working.begins();
        let work = async move {
            sleep(WORK).await;
            drop(piece);
        };
        match self.spawned {
            Spawned::InAJoinSet => {
                let mut tasks = JoinSet::new();
                tasks.spawn(work);
                tasks.join_next().await;
            }
            Spawned::ByTokioSpawn => {
                tokio::spawn(work).await.ok();
            }
        }
    }
}

#[tonic::async_trait]
impl OrderService for Link {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let deadline = request.extensions().get::<Deadline>().copied();
        let deadline = deadline.ok_or_else(|| Status::internal("there is a layer"))?;
        self.work().await;
        if let Some(mut next) = self.next.clone() {
            let request = deadline.request(request.into_inner())?;
            deadline.bound(next.place_order(request)).await?;
        }
        Ok(Response::new(PlaceOrderResponse::default()))
    }

    type TrackOrderStream = Pin<Box<dyn Stream<Item = Result<TrackOrderResponse, Status>> + Send>>;

    async fn track_order(
        &self,
        _: Request<TrackOrderRequest>,
    ) -> Result<Response<Self::TrackOrderStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }
}

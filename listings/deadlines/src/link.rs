//! The service: a link of a chain.

use std::{pin::Pin, time::Duration};

use tokio::{
    task::JoinSet,
    time::{self, interval},
};
use tokio_stream::{Stream, StreamExt, wrappers::IntervalStream};
use tonic::{Extensions, Request, Response, Status};

use crate::{
    deadline::Deadline,
    malformed::Repaired,
    pb::{
        PlaceOrderRequest, PlaceOrderResponse, TrackOrderRequest, TrackOrderResponse,
        order_service_client::OrderServiceClient, order_service_server::OrderService,
    },
};

/// A longer article is refused.
pub const MAX_ARTICLE_BYTES: usize = 256;

/// How often it is told where an order is.
pub const TRACK_EVERY: Duration = Duration::from_secs(1);

/// A service that has work to do, and may need another one for the rest.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it is called.
    pub name: String,
    /// How long its own work takes.
    pub work: Duration,
    /// The one behind it.
    pub next: Option<OrderServiceClient<Repaired>>,
}

#[tonic::async_trait]
impl OrderService for Link {
    // ANCHOR: place_order
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let deadline = deadline(request.extensions())?;
        let order = request.into_inner();
        check(&order.article)?;
        if order.count == 0 {
            return Err(Status::invalid_argument("`count` is 0: order one at least"));
        }
        self.work().await?;
        let mut hands = vec![self.name.clone()];
        if let Some(mut next) = self.next.clone() {
            let request = deadline.request(order)?;
            let response = deadline.bound(next.place_order(request)).await?;
            hands.extend(response.into_inner().hands);
        }
        Ok(Response::new(PlaceOrderResponse { hands }))
    }
    // ANCHOR_END: place_order

    type TrackOrderStream =
        Pin<Box<dyn Stream<Item = Result<TrackOrderResponse, Status>> + Send + 'static>>;

    // ANCHOR: track_order
    async fn track_order(
        &self,
        request: Request<TrackOrderRequest>,
    ) -> Result<Response<Self::TrackOrderStream>, Status> {
        check(&request.into_inner().article)?;
        let name = self.name.clone();
        // It never ends by itself: the layer ends it.
        let places = IntervalStream::new(interval(TRACK_EVERY)).map(move |_| {
            let place = name.clone();
            Ok(TrackOrderResponse { place })
        });
        Ok(Response::new(Box::pin(places)))
    }
    // ANCHOR_END: track_order
}

// ANCHOR: extension
/// When the call has to be over, which the layer in front of this service knows.
fn deadline(extensions: &Extensions) -> Result<Deadline, Status> {
    let deadline = extensions.get::<Deadline>().copied();
    deadline.ok_or_else(|| Status::internal("nobody has looked at the clock"))
}
// ANCHOR_END: extension

fn check(article: &str) -> Result<(), Status> {
    match article.len() {
        0 => Err(Status::invalid_argument("`article` is empty: send one")),
        1..=MAX_ARTICLE_BYTES => Ok(()),
        bytes => Err(Status::invalid_argument(format!(
            "`article` has {bytes} bytes: {MAX_ARTICLE_BYTES} are allowed"
        ))),
    }
}

// ANCHOR: work
impl Link {
    /// Does the work in a task of its own, as one does that keeps a core busy, or
    /// runs beside another.
    async fn work(&self) -> Result<(), Status> {
        // A caller that waits for this may be dropped, and the set with it. It aborts
        // its tasks then; one that `tokio::spawn` has started would go on.
        let mut tasks = JoinSet::new();
        tasks.spawn(work(self.name.clone(), self.work));
        match tasks.join_next().await {
            Some(Ok(())) => Ok(()),
            _ => Err(Status::internal("the work has failed")),
        }
    }
}

/// A database, a long calculation, a printer.
async fn work(name: String, takes: Duration) {
    let mut work = Work::begins(name);
    time::sleep(takes).await;
    work.done = true;
}
// ANCHOR_END: work

// ANCHOR: guard
/// Logs what becomes of a piece of work.
struct Work {
    name: String,
    done: bool,
}

impl Work {
    fn begins(name: String) -> Self {
        tracing::info!(name, "work begins");
        Self { name, done: false }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let name = &self.name;
        if self.done {
            tracing::info!(name, "work done");
        } else {
            tracing::info!(name, "work dropped");
        }
    }
}
// ANCHOR_END: guard

//! What stands at the door of a server, with a clock.

use std::{
    future::ready,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::{task::JoinSet, time};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{deadline::Deadline, grpc_timeout};

/// We are ready so much earlier than the caller wants: for the way home, and
/// because tonic's own timer, which stands in front of this layer, would say
/// `CANCELLED`.
pub const MARGIN: Duration = Duration::from_millis(5);

// ANCHOR: layer
/// Gives each call a [`Deadline`], in its extensions, and ends it then.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    /// How long a call may take, whatever the caller says. For streams too.
    pub at_most: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService {
            at_most: self.at_most,
            inner,
        }
    }
}
// ANCHOR_END: layer

// ANCHOR: sent
/// What the caller gives us.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is not a timeout, or if there are two.
fn sent(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let mut values = headers.get_all("grpc-timeout").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Status::invalid_argument(
            "`grpc-timeout` is sent twice: send one",
        ));
    }
    let timeout = grpc_timeout::parse(value.as_bytes());
    timeout.map(Some).map_err(|error| {
        Status::invalid_argument(format!("`grpc-timeout` cannot be read: {error}"))
    })
}
// ANCHOR_END: sent

/// See [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    at_most: Duration,
    inner: S,
}

// ANCHOR: service
impl<S> DeadlineService<S> {
    /// When the call has to be over.
    fn deadline(&self, headers: &HeaderMap) -> Result<Deadline, Status> {
        let budget = sent(headers)?.map_or(self.at_most, |sent| sent.saturating_sub(MARGIN));
        let deadline = Deadline::after(budget.min(self.at_most));
        // What has no time at all is not begun.
        deadline.remaining()?;
        Ok(deadline)
    }
}

impl<S> Service<http::Request<Body>> for DeadlineService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let deadline = match self.deadline(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return Box::pin(ready(Ok(status.into_http()))),
        };
        request.extensions_mut().insert(deadline);
        let response = time::timeout_at(deadline.instant(), self.inner.call(request));
        Box::pin(async move {
            match response.await {
                Ok(response) => Ok(response?.map(|body| Body::new(Bounded::new(body, deadline)))),
                // The handler is dropped, with all that it waits for.
                Err(_) => Ok(Deadline::exceeded().into_http()),
            }
        })
    }
}
// ANCHOR_END: service

// ANCHOR: bounded
/// A response that ends at the deadline, if it has not ended before.
struct Bounded {
    /// None from the deadline on.
    body: Arc<Mutex<Option<Body>>>,
    /// The task that takes the body away then. It needs a task: while a client does
    /// not read, nobody asks a response for more, and so nobody looks at the clock.
    late: JoinSet<()>,
}

impl Bounded {
    fn new(body: Body, deadline: Deadline) -> Self {
        let body = Arc::new(Mutex::new(Some(body)));
        let theirs = Arc::downgrade(&body);
        let mut late = JoinSet::new();
        late.spawn(async move {
            time::sleep_until(deadline.instant()).await;
            if let Some(body) = theirs.upgrade() {
                drop(lock(&body).take()); // and the stream, and its work
            }
        });
        Self { body, late }
    }
}

/// A body that has panicked is still one to take away.
fn lock(body: &Mutex<Option<Body>>) -> MutexGuard<'_, Option<Body>> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.late.poll_join_next(cx) {
            Poll::Ready(Some(_)) => {
                let mut trailers = HeaderMap::new();
                let added = Deadline::exceeded().add_header(&mut trailers);
                Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
            }
            // The trailers were the end.
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match &mut *lock(&self.body) {
                Some(body) => Pin::new(body).poll_frame(cx),
                // The task is about to end, and will wake us.
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.body).as_ref().is_some_and(Body::is_end_stream)
    }
}
// ANCHOR_END: bounded

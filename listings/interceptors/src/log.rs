//! A layer that logs each call: its method, its status, and how long it took.
//!
//! To tower a server and a channel are the same, a service that makes responses
//! of requests. So the layer fits both.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tower::{BoxError, Layer, Service};

use crate::messages::Messages;

// ANCHOR: layer
/// Logs each call at `INFO`, and each message at `DEBUG`. Neither metadata nor
/// what is in a message is logged: there are secrets in both.
#[derive(Clone, Copy, Debug)]
pub struct LogLayer;

impl<S> Layer<S> for LogLayer {
    type Service = LogService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LogService { inner }
    }
}
// ANCHOR_END: layer

/// See [`LogLayer`].
#[derive(Clone, Debug)]
pub struct LogService<S> {
    inner: S,
}

// ANCHOR: service
impl<S, B> Service<http::Request<Body>> for LogService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| Status::from_error(error.into()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut call = Call::new(request.uri().path());
        let request = request.map(|body| Body::new(Watched::request(body, &call)));
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await.map_err(|error| {
                let status = Status::from_error(error.into());
                call.ends(status.code());
                status
            })?;
            let response = response.map(Body::new);
            if let Some(status) = early(&response) {
                call.ends(status);
            }
            Ok(response.map(|body| Body::new(Watched::response(body, call))))
        })
    }
}
// ANCHOR_END: service

// ANCHOR: call
/// The status in headers or trailers.
fn status(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// The status, if the headers of the response tell it: a call that is refused at
/// once, or an answer of a peer that does not speak gRPC. The codes are those of
/// gRPC's document "HTTP to gRPC Status Code Mapping".
fn early(response: &http::Response<Body>) -> Option<Code> {
    status(response.headers()).or(match response.status().as_u16() {
        200 if !response.body().is_end_stream() => None,
        400 => Some(Code::Internal),
        401 => Some(Code::Unauthenticated),
        403 => Some(Code::PermissionDenied),
        404 => Some(Code::Unimplemented),
        429 | 502..=504 => Some(Code::Unavailable),
        _ => Some(Code::Unknown),
    })
}

/// A call in progress.
struct Call {
    method: Arc<str>,
    began: Instant,
    ended: bool,
}

impl Call {
    fn new(method: &str) -> Self {
        Self {
            method: method.into(),
            began: Instant::now(),
            ended: false,
        }
    }

    fn ends(&mut self, status: Code) {
        if !mem::replace(&mut self.ended, true) {
            let elapsed = self.began.elapsed();
            tracing::info!(method = %self.method, ?status, ?elapsed, "call");
        }
    }
}

/// Nobody waits for the end any more: the client has cancelled the call, its
/// deadline has passed, or its handler has panicked.
impl Drop for Call {
    fn drop(&mut self) {
        self.ends(if thread::panicking() {
            Code::Internal
        } else {
            Code::Cancelled
        });
    }
}
// ANCHOR_END: call

// ANCHOR: watched
/// A body that passes by.
struct Watched {
    body: Body,
    method: Arc<str>,
    what: &'static str,
    messages: Messages,
    /// What ends with this body: nothing, if it is a request's.
    call: Option<Call>,
}

impl Watched {
    fn request(body: Body, call: &Call) -> Self {
        Self::new(body, &call.method, "request", None)
    }

    fn response(body: Body, call: Call) -> Self {
        let method = Arc::clone(&call.method);
        Self::new(body, &method, "response", Some(call))
    }

    fn new(body: Body, method: &Arc<str>, what: &'static str, call: Option<Call>) -> Self {
        Self {
            body,
            method: Arc::clone(method),
            what,
            messages: Messages::default(),
            call,
        }
    }

    fn ends(&mut self, status: Code) {
        if let Some(call) = &mut self.call {
            call.ends(status);
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let (method, what) = (&this.method, this.what);
                    this.messages.read(data, |number, bytes| {
                        tracing::debug!(%method, number, bytes, "{what}");
                    });
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.ends(status(trailers).unwrap_or(Code::Unknown));
                }
            }
            Some(Err(status)) => this.ends(status.code()),
            None => {}
        }
        // Without a word on the status; the reader may not ask again.
        if frame.is_none() || this.body.is_end_stream() {
            this.ends(Code::Unknown);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
// ANCHOR_END: watched

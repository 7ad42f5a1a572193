//! Metadata that comes back: one value with the headers, one with the trailers.

use std::task::{Context, Poll};

use http_body_util::BodyExt;
use tonic::{
    body::Body,
    codegen::{BoxFuture, http},
};
use tower::Service;

/// The value of this key comes back in the headers.
pub const INITIAL: &str = "x-grpc-test-echo-initial";

/// The value of this key comes back in the trailers.
pub const TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// Sends back what the metadata of a call asks for, whatever its method.
///
/// It stands outside the service, because tonic has no place for the trailers of a
/// response that is not a stream.
#[derive(Clone, Debug)]
pub struct Echo<S> {
    inner: S,
}

impl<S> Echo<S> {
    /// In front of `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

// ANCHOR: echo
impl<S> Service<http::Request<Body>> for Echo<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let initial = request.headers().get(INITIAL).cloned();
        let trailing = request.headers().get(TRAILING).cloned();
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            if let Some(value) = initial {
                response.headers_mut().insert(INITIAL, value);
            }
            let Some(value) = trailing else {
                return Ok(response);
            };
            Ok(response.map(|body| {
                Body::new(body.map_frame(move |mut frame| {
                    if let Some(trailers) = frame.trailers_mut() {
                        trailers.insert(TRAILING, value.clone());
                    }
                    frame
                }))
            }))
        })
    }
}
// ANCHOR_END: echo

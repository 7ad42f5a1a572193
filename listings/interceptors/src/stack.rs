//! The registry behind layers that others wrote, and keep.

use std::{any::Any, path::PathBuf, time::Duration};

use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE},
};
use tokio::net::TcpListener;
use tonic::{
    Status,
    body::Body,
    service::LayerExt,
    transport::{self, Server, server::TcpIncoming},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    classify::{GrpcCode, GrpcErrorsAsFailures, SharedClassifier},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    trace::{DefaultOnEos, DefaultOnResponse, TraceLayer},
};
use tracing::{Level, Span};

use crate::{
    DRAIN_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_REQUEST_BYTES,
    MAX_STREAMS_PER_CONNECTION, callers::API_KEY, health, incoming, keys::KeyLayer,
    pb::person_service_server::PersonServiceServer, registry::Registry, shutdown,
};

// ANCHOR: serve
/// Serves the registry to those who are in the file `keys` when they call, and
/// its health to everybody; otherwise as [`crate::serve`].
///
/// # Errors
///
/// Fails if the transport does.
pub async fn serve(
    listener: TcpListener,
    keys: PathBuf,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<PersonServiceServer<Registry>>()
        .await;
    // For one service: the layer keeps its name, by which calls find it.
    let people =
        PersonServiceServer::new(Registry::default()).max_decoding_message_size(MAX_REQUEST_BYTES);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // First of all: these are printed as `Sensitive` from here on.
        .layer(SetSensitiveRequestHeadersLayer::new([
            HeaderName::from_static(API_KEY),
            AUTHORIZATION,
            COOKIE,
        ]))
        // Gives each call a number of its own, unless it has one.
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(
            TraceLayer::new(SharedClassifier::new(failures()))
                .make_span_with(span)
                .on_request(begins)
                .on_response(DefaultOnResponse::new().level(Level::INFO))
                .on_eos(DefaultOnEos::new().level(Level::INFO)),
        )
        .layer(PropagateRequestIdLayer::x_request_id())
        // Behind the trace, which so sees what a panic became.
        .layer(CatchPanicLayer::custom(panicked))
        .add_service(health.max_decoding_message_size(MAX_REQUEST_BYTES))
        // Only for this service, and under its name.
        .add_service(KeyLayer::new(keys).named_layer(people));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let shutdown = async {
        shutdown.await;
        health::report_shutdown::<PersonServiceServer<Registry>>(reporter, Duration::ZERO).await;
    };
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

// ANCHOR: span
/// What stands before each line that is logged during a call.
fn span<B>(request: &http::Request<B>) -> Span {
    let id = request.headers().get("x-request-id");
    let id = id.and_then(|id| id.to_str().ok());
    tracing::info_span!("call", id)
}

/// The first line of a call.
fn begins<B>(request: &http::Request<B>, _: &Span) {
    tracing::info!(method = request.uri().path(), "request");
    tracing::debug!(metadata = ?request.headers());
}
// ANCHOR_END: span

// ANCHOR: failures
/// What is logged as an error: all but `OK`, and what is a caller's own doing. The
/// list is this service's: think of the log before you add a status.
fn failures() -> GrpcErrorsAsFailures {
    GrpcErrorsAsFailures::new()
        .with_success(GrpcCode::InvalidArgument)
        .with_success(GrpcCode::NotFound)
        .with_success(GrpcCode::PermissionDenied)
        .with_success(GrpcCode::Unauthenticated)
        .with_success(GrpcCode::Unimplemented)
        .with_success(GrpcCode::Cancelled)
}
// ANCHOR_END: failures

// ANCHOR: panicked
/// The response to a call whose handler has panicked. What it said is ours to
/// know: the panic hook has printed it.
pub fn panicked(_: Box<dyn Any + Send>) -> http::Response<Body> {
    Status::internal("the server has made a mistake").into_http()
}
// ANCHOR_END: panicked

//! Makes responses harmless that tonic 0.14 cannot cope with.

use std::mem;

use http_body_util::BodyExt;
use tonic::{
    body::Body,
    codegen::http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE},
    metadata::MetadataMap,
    transport::Channel,
};
use tower::util::MapResponse;

/// The header that holds the details.
const DETAILS: &str = "grpc-status-details-bin";

/// A channel whose responses are [`repaired`].
pub type Repaired = MapResponse<Channel, fn(Response<Body>) -> Response<Body>>;

/// Applies [`drop_foreign_body`] and [`drop_malformed_details`] to the responses
/// that come through `channel`.
pub fn repaired(channel: Channel) -> Repaired {
    MapResponse::new(channel, |response| {
        drop_malformed_details(drop_foreign_body(response))
    })
}

/// Takes the body away from a response that is not gRPC, for instance from the
/// HTML page of a proxy that reaches no server.
///
/// tonic 0.14 would read the page as messages, and end the call with `INTERNAL:
/// invalid compression flag: 60`, which is the `<` of the HTML. Without a body
/// it maps the HTTP status, as gRPC's document "HTTP to gRPC Status Code
/// Mapping" has it: 503 is `UNAVAILABLE`, 401 is `UNAUTHENTICATED`.
pub fn drop_foreign_body(response: Response<Body>) -> Response<Body> {
    let content_type = response.headers().get(CONTENT_TYPE);
    let grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if grpc && response.status() == StatusCode::OK {
        return response;
    }
    response.map(|_| Body::empty())
}

/// Takes details away that are not base64, before tonic 0.14 panics at them. For
/// `tower::util::MapResponseLayer`, around a channel.
pub fn drop_malformed_details(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    check(&mut head.headers);
    let body = body.map_frame(|mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            check(trailers);
        }
        frame
    });
    Response::from_parts(head, Body::new(body))
}

fn check(headers: &mut HeaderMap) {
    let mut metadata = MetadataMap::from_headers(mem::take(headers));
    let details = metadata.get_bin(DETAILS);
    if details.is_some_and(|details| details.to_bytes().is_err()) {
        metadata.remove_bin(DETAILS);
    }
    *headers = metadata.into_headers();
}

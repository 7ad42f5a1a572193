//! Keeps a client alive whatever a server sends as details.

use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::{body::Body, metadata::MetadataMap};

/// The header that holds the details.
const DETAILS: &str = "grpc-status-details-bin";

// ANCHOR: drop
/// Takes details away that are not base64, before tonic 0.14 panics at them. For
/// `tower::util::MapResponseLayer`, round a channel.
pub fn drop_malformed_details(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    head.headers = checked(head.headers);
    let body = body.map_frame(|frame| match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(checked(trailers)),
        Err(frame) => frame,
    });
    Response::from_parts(head, Body::new(body))
}

fn checked(headers: HeaderMap) -> HeaderMap {
    let mut metadata = MetadataMap::from_headers(headers);
    let details = metadata.get_bin(DETAILS);
    if details.is_some_and(|details| details.to_bytes().is_err()) {
        metadata.remove_bin(DETAILS);
    }
    metadata.into_headers()
}
// ANCHOR_END: drop

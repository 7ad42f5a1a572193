//! Trailers for unary responses.

use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::{Code, Status, body::Body, metadata::MetadataMap};

// ANCHOR: trailers
/// Trailers that a handler puts into the extensions of its response.
///
/// tonic has no other place for the trailers of a unary response.
#[derive(Clone, Debug)]
pub struct Trailers(pub MetadataMap);

/// Adds the [`Trailers`] of a response to the frame with its status.
pub fn add_trailers(response: http::Response<Body>) -> http::Response<Body> {
    let (mut head, body) = response.into_parts();
    let Some(Trailers(trailers)) = head.extensions.remove() else {
        return http::Response::from_parts(head, body);
    };
    // A `Status` leaves out reserved keys. A `te`, for instance, would end the call.
    let mut headers = HeaderMap::new();
    let end = Status::with_metadata(Code::Ok, "", trailers);
    if let Err(status) = end.add_header(&mut headers) {
        return status.into_http();
    }
    let body = body.map_frame(move |frame| match frame.into_trailers() {
        Ok(status) => {
            let mut trailers = headers.clone();
            // The keys of the real status replace ours.
            trailers.extend(status);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    });
    http::Response::from_parts(head, Body::new(body))
}
// ANCHOR_END: trailers

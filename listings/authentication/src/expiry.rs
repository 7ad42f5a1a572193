//! A stream does not outlive the token that began it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use jsonwebtoken::get_current_timestamp;
use tokio::time::{self, Sleep};
use tonic::{Status, body::Body};

use crate::token::SKEW;

// ANCHOR: until
/// A response that ends when the token is no longer valid, if it has not ended
/// before.
///
/// The clock is looked at when the connection asks for the next frame. While a client
/// does not read, it gets nothing, and its stream stays open past the expiry: until it
/// reads again, or its connection ends. The delay is acceptable here: what waits is one
/// subscription, and no work is done for it. A stream for which the server goes on
/// working, or holds much memory, needs a timer of its own.
pub struct UntilExpiry {
    /// None from then on: what it waits for is dropped.
    body: Option<Body>,
    expiry: Pin<Box<Sleep>>,
}

impl UntilExpiry {
    /// Until this second since 1970, and the skew that clocks are granted.
    pub fn new(body: Body, expiry: u64) -> Self {
        let left = expiry
            .saturating_add(SKEW)
            .saturating_sub(get_current_timestamp());
        Self {
            body: Some(body),
            expiry: Box::pin(time::sleep(Duration::from_secs(left))),
        }
    }
}

impl http_body::Body for UntilExpiry {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        // A response that has come to its own end is not late.
        let over = match &frame {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if over || self.expiry.as_mut().poll(cx).is_pending() {
            return frame;
        }
        self.body = None;
        let mut trailers = HeaderMap::new();
        let expired = Status::unauthenticated("the token has expired: call again with a new one");
        let added = expired.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}
// ANCHOR_END: until

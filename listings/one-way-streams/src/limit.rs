//! A limit for a whole call.

use std::time::Duration;

use tokio::time::{self, Instant};
use tonic::{Code, Status};

/// Waits for `call` for `limit` at most, whatever it waits for: a connection,
/// the response, a message, the trailers.
///
/// `Endpoint::timeout` and `Request::set_timeout` are not enough: the timer of
/// tonic 0.14 stops at the response headers, so a server that sends those and
/// nothing else would be waited for forever.
///
/// # Errors
///
/// As `call`, and `DEADLINE_EXCEEDED` when the time is up. A timer of tonic's,
/// here or in the server, says `CANCELLED` then, which becomes the same.
// ANCHOR: within
pub async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let end = Instant::now() + limit;
    match time::timeout_at(end, call).await {
        Ok(Err(status)) if status.code() == Code::Cancelled && Instant::now() >= end => {
            Err(exceeded(limit))
        }
        Ok(result) => result,
        Err(_) => Err(exceeded(limit)),
    }
}
// ANCHOR_END: within

fn exceeded(limit: Duration) -> Status {
    Status::deadline_exceeded(format!("the call was not over after {limit:?}"))
}

//! A call that is made again while there is time.

use std::time::Duration;

use tokio::time::{self, Instant};
use tonic::{Code, Request, Response, Status};

use crate::backoff::Backoff;

/// How often a call is made, at most.
pub const ATTEMPTS: u32 = 10;

/// How long to wait in between.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};

// ANCHOR: retried
/// Makes a call, and makes it again while it is UNAVAILABLE, until the time is up,
/// and [`ATTEMPTS`] times at most. Returns how many times more it took.
///
/// A call that was UNAVAILABLE may have been carried out all the same: the connection
/// can break on the way back. So it has to be one that may be carried out twice.
///
/// # Errors
///
/// What the last attempt ended with.
pub async fn retried<M, T, C>(
    message: M,
    time: Duration,
    mut call: impl FnMut(Request<M>) -> C,
) -> Result<(T, u32), Status>
where
    M: Clone,
    C: Future<Output = Result<Response<T>, Status>>,
{
    let deadline = Instant::now() + time;
    let mut failures = 0;
    loop {
        let mut request = Request::new(message.clone());
        // The server, and tonic, stop when nobody waits any more.
        request.set_timeout(deadline - Instant::now());
        let status = match time::timeout_at(deadline, call(request)).await {
            Ok(Ok(response)) => return Ok((response.into_inner(), failures)),
            // A server of tonic's says CANCELLED when it has counted the time itself,
            // and on a busy machine that comes before our own alarm.
            Ok(Err(status)) if status.code() != Code::Cancelled || Instant::now() < deadline => {
                status
            }
            _ => Status::deadline_exceeded(format!("no answer in {time:?}")),
        };
        failures += 1;
        let pause = PAUSES.pause(failures);
        let late = Instant::now() + pause >= deadline;
        // At the end, the reason is of more use than that the time is up.
        if status.code() != Code::Unavailable || failures == ATTEMPTS || late {
            return Err(status);
        }
        time::sleep(pause).await;
    }
}
// ANCHOR_END: retried

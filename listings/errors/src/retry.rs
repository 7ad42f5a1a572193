//! Calls that are made again.

use std::time::Duration;

use tokio::time;
use tonic::Status;

use crate::{
    call_error::{CallError, Kind},
    escape::escape,
};

/// How often a call is made, at most.
pub const ATTEMPTS: u32 = 3;

/// A server that asks for a longer wait is not asked again.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

// ANCHOR: retried
/// Makes a call, and makes it again as long as the server asks for that: after
/// the time that it says, and [`ATTEMPTS`] times at most. The call has to be one
/// that does the same however often it is made.
///
/// # Errors
///
/// What the last attempt ended with.
pub async fn retried<T, C>(mut call: impl FnMut() -> C) -> Result<T, CallError>
where
    C: Future<Output = Result<T, Status>>,
{
    for _ in 1..ATTEMPTS {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(status) => CallError::from(status),
        };
        match error.kind {
            Kind::Busy { retry_after } if retry_after <= LONGEST_WAIT => {
                tracing::info!(error = %escape(&error.message), ?retry_after, "once more");
                time::sleep(retry_after).await;
            }
            _ => return Err(error),
        }
    }
    Ok(call().await?)
}
// ANCHOR_END: retried

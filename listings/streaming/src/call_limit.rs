//! A limit for the calls of the clients.

use std::time::Duration;

use anyhow::Context;
use tokio::time;

/// How long a call may take, with all its messages. tonic itself sets no limit.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Waits for the end of `call`, for [`CALL_LIMIT`] at most. Dropping the call then
/// cancels it.
///
/// `Endpoint::timeout` would not do: its timer stops at the response headers.
///
/// # Errors
///
/// As `call`, and when the time is up.
pub async fn within_limit(call: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    time::timeout(CALL_LIMIT, call)
        .await
        .with_context(|| format!("the call was not over after {CALL_LIMIT:?}"))?
}

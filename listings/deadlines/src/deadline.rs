//! A moment, and what is left until then.

use std::{error::Error, iter, time::Duration};

use tokio::time::{self, Instant};
use tonic::{Code, Request, Status, TimeoutExpired};

/// A caller that asks for more gets this: the clock does not go on forever.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

// ANCHOR: deadline
/// When a call has to be over. A moment, and no duration: it is the same for all
/// that is done on the way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment when `budget` will be used up.
    pub fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget.min(LONGEST))
    }

    /// The moment.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// What is left.
    ///
    /// # Errors
    ///
    /// `DEADLINE_EXCEEDED` if nothing is: whatever was to be begun now is not.
    pub fn remaining(self) -> Result<Duration, Status> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Self::exceeded());
        }
        Ok(left)
    }

    /// A request with what is left as its `grpc-timeout`.
    ///
    /// # Errors
    ///
    /// As [`Deadline::remaining`].
    pub fn request<T>(self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        request.set_timeout(self.remaining()?);
        Ok(request)
    }

    /// What a call ends with that has taken too long.
    pub fn exceeded() -> Status {
        Status::deadline_exceeded("the time for this call is up")
    }
}
// ANCHOR_END: deadline

// ANCHOR: bound
impl Deadline {
    /// Waits for `call` until the deadline and not longer, whatever it waits for:
    /// a connection, a response, a message.
    ///
    /// # Errors
    ///
    /// As the call, and `DEADLINE_EXCEEDED` when the time is up. tonic's timers
    /// say `CANCELLED` then, which becomes the same. A call that somebody has
    /// cancelled stays what it is.
    pub async fn bound<T>(
        self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        match time::timeout_at(self.0, call).await {
            Ok(Err(status)) if self.ended(&status) => Err(Self::exceeded()),
            Ok(result) => result,
            Err(_) => Err(Self::exceeded()),
        }
    }

    /// Whether it was a timer: of another process there is nothing but the code,
    /// and our clock. tonic's own timer has rounded our time, and may be early.
    fn ended(self, status: &Status) -> bool {
        let mut causes = iter::successors(status.source(), |&cause| cause.source());
        status.code() == Code::Cancelled
            && (self.remaining().is_err() || causes.any(|cause| cause.is::<TimeoutExpired>()))
    }
}
// ANCHOR_END: bound

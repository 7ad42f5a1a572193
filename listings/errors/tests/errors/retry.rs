//! When a call is made again, and when it is not. No test waits: time is paused.

use std::{cell::Cell, time::Duration};

use errors::{
    call_error::Kind,
    retry::{ATTEMPTS, LONGEST_WAIT, retried},
};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

fn busy(retry_after: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, "busy", details)
}

/// How often a call is made that fails so, and how long that takes.
async fn made(fails: impl Fn(u32) -> Option<Status>) -> (u32, Duration, Option<Kind>) {
    let (calls, began) = (Cell::new(0), Instant::now());
    let result = retried(async || {
        calls.set(calls.get() + 1);
        fails(calls.get()).map_or(Ok(()), Err)
    })
    .await;
    let kind = result.err().map(|error| error.kind);
    (calls.get(), began.elapsed(), kind)
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_again_after_the_time_that_the_server_says() {
    let wait = Duration::from_secs(2);
    let (calls, took, kind) = made(|call| (call == 1).then(|| busy(wait))).await;
    assert_eq!((calls, took), (2, wait));
    assert!(kind.is_none(), "{kind:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_given_up_after_some_attempts() {
    let wait = Duration::from_secs(2);
    let (calls, took, kind) = made(|_| Some(busy(wait))).await;
    assert_eq!((calls, took), (ATTEMPTS, wait * (ATTEMPTS - 1)));
    assert!(matches!(kind, Some(Kind::Busy { .. })), "{kind:?}");
}

/// A server can be wrong, or wicked: nobody waits 10,000 years.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_too_long() {
    for wait in [LONGEST_WAIT + Duration::from_nanos(1), Duration::MAX] {
        let (calls, took, _) = made(|_| Some(busy(wait))).await;
        assert_eq!((calls, took), (1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_good_is_not_tried_again() {
    for code in [Code::NotFound, Code::InvalidArgument, Code::Internal] {
        let (calls, _, kind) = made(|_| Some(Status::new(code, "no"))).await;
        assert_eq!(calls, 1);
        assert!(
            matches!(kind, Some(Kind::Other(it)) if it == code),
            "{kind:?}"
        );
    }
    // The server has not said when: the code alone does not promise anything.
    let (calls, _, _) = made(|_| Some(Status::resource_exhausted("for ever"))).await;
    assert_eq!(calls, 1);
}

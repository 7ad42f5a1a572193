//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use std::{cell::RefCell, time::Duration};

use errors::{language::Language, retry::retried};
use tokio::time::Instant;
use tonic::{
    Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};

/// How long a call waits before its second and its third attempt, if the server
/// is away at first.
async fn waits() -> [Duration; 2] {
    let attempts = RefCell::new(Vec::new());
    let result = retried(async || {
        attempts.borrow_mut().push(Instant::now());
        if attempts.borrow().len() < 3 {
            return Err(Status::unavailable("not yet"));
        }
        Ok(())
    })
    .await;
    assert!(result.is_ok(), "a server that is away for a moment");
    let attempts = attempts.into_inner();
    [attempts[1] - attempts[0], attempts[2] - attempts[1]]
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a server that is away for a moment")]
async fn exercise_1_an_unavailable_server_is_tried_again_with_backoff_and_jitter() {
    let mut seen = Vec::new();
    for _ in 0..20 {
        let waits = waits().await;
        for (wait, longest) in waits.into_iter().zip([100, 200]) {
            let longest = Duration::from_millis(longest);
            // tokio's timers are precise to a millisecond.
            let allowed = longest / 2..=longest + Duration::from_millis(1);
            assert!(allowed.contains(&wait), "{wait:?} is not in {allowed:?}");
        }
        seen.push(waits);
    }
    seen.dedup();
    assert!(seen.len() > 1, "all clients come back at the same time");
}

#[test]
#[should_panic(expected = "the weights are ignored")]
fn exercise_2_the_language_that_is_wanted_most_wins() {
    for (languages, wanted) in [
        ("zh;q=0.5, en", Language::English),
        ("en;q=0.5, zh;q=0.9", Language::Chinese),
        ("en;q=0, zh;q=0.001", Language::Chinese),
        ("fr, zh;q=0.8, en;q=0.8", Language::Chinese),
        ("zh;q=0", Language::English),
    ] {
        let mut metadata = MetadataMap::new();
        let value = AsciiMetadataValue::from_static(languages);
        metadata.insert("accept-language", value);
        let language = Language::asked_for(&metadata);
        assert_eq!(language, wanted, "the weights are ignored: {languages}");
    }
}

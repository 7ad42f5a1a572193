//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use std::cell::Cell;

use errors::{language::Language, retry::retried};
use tonic::{
    Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a server that is away for a moment")]
async fn exercise_1_what_is_unavailable_is_tried_again_after_a_while() {
    let calls = Cell::new(0);
    let result = retried(async || {
        calls.set(calls.get() + 1);
        let away = calls.get() == 1;
        if away {
            return Err(Status::unavailable("not yet"));
        }
        Ok(())
    })
    .await;
    assert!(result.is_ok(), "a server that is away for a moment");
}

#[test]
#[should_panic(expected = "Chinese if need be")]
fn exercise_2_the_language_that_is_wanted_most_wins() {
    let mut metadata = MetadataMap::new();
    let languages = AsciiMetadataValue::from_static("zh;q=0.5, en");
    metadata.insert("accept-language", languages);
    let language = Language::asked_for(&metadata);
    assert_eq!(language, Language::English, "Chinese if need be");
}

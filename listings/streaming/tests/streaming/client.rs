//! What the clients do with a server that is not as it should be.

use tokio::task::JoinSet;

use crate::peer::{Answer, run};

const CLIENT: &str = env!("CARGO_BIN_EXE_streaming-client");
const ENDINGS: &str = env!("CARGO_BIN_EXE_streaming-endings");

/// No answer comes to its end. `message` is a whole one.
fn unfinished(message: &'static [u8]) -> [Answer; 5] {
    [
        Answer::Nothing,
        Answer::Headers,
        Answer::HalfMessage,
        Answer::Message(message),
        Answer::ByteASecond,
    ]
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up() {
    let mut clients = JoinSet::new();
    for answer in unfinished(b"\0\0\0\0\0") {
        for method in ["get-price", "list-prices", "add-up"] {
            clients.spawn(async move { run(CLIENT, &[], &[method], answer).await });
        }
        clients.spawn(async move { run(ENDINGS, &[], &["half-close"], answer).await });
    }
    // Here the client waits for something else than the end of the call.
    for answer in [Answer::Nothing, Answer::Headers, Answer::HalfMessage] {
        clients.spawn(async move { run(CLIENT, &[], &["scan"], answer).await });
        for ending in ["status", "cancel"] {
            clients.spawn(async move { run(ENDINGS, &[], &[ending], answer).await });
        }
    }
    while let Some(client) = clients.join_next().await {
        let client = client.expect("it ends");
        let error = String::from_utf8_lossy(&client.stderr);
        assert!(!client.status.success());
        assert!(error.contains("the call was not over after 5s"), "{error}");
    }
}

//! What the clients do with a server that is not as it should be.

use tokio::task::JoinSet;

use crate::peer::{Answer, run};

const CLIENT: &str = env!("CARGO_BIN_EXE_errors-client");

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
        clients.spawn(async move { run(CLIENT, &["get", "jack", "en"], &[], answer).await });
        clients
            .spawn(async move { run(CLIENT, &["create", "jack", "18", "en"], &[], answer).await });
    }
    while let Some(client) = clients.join_next().await {
        let client = client.expect("it ends");
        let printed = String::from_utf8_lossy(&client.stdout);
        assert!(!client.status.success());
        assert_eq!(
            printed,
            "DeadlineExceeded: the call was not over after 5s\n"
        );
    }
}

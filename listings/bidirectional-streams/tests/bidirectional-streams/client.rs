//! What the clients do with a server that is not as it should be.

use tokio::task::JoinSet;

use crate::peer::{Answer, run};

const CLIENT: &str = env!("CARGO_BIN_EXE_bidirectional-streams-client");

/// `m: 你`, and what would clear a terminal.
const MESSAGE: Answer =
    Answer::Message(b"\0\0\0\0\x0e\x0a\x0c\x0a\x01m\x12\x07\xe4\xbd\xa0\x1b[2J");

#[tokio::test]
async fn a_chat_that_does_not_begin_is_given_up() {
    let client = run(CLIENT, &[], &[], Answer::Nothing).await;
    let error = String::from_utf8_lossy(&client.stderr);
    assert!(error.contains("the call was not over after 5s"), "{error}");
}

/// Its standard input is empty: it says goodbye at once.
#[tokio::test]
async fn a_goodbye_that_is_not_answered_is_given_up() {
    let mut clients = JoinSet::new();
    for answer in [
        Answer::Headers,
        Answer::HalfMessage,
        MESSAGE,
        Answer::ByteASecond,
    ] {
        clients.spawn(run(CLIENT, &[], &[], answer));
    }
    while let Some(client) = clients.join_next().await {
        let error = String::from_utf8(client.expect("it ends").stderr).expect("it is a text");
        assert!(
            error.contains("not over 10s after our half-close"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_message_cannot_control_the_terminal() {
    let client = run(CLIENT, &[], &[], MESSAGE).await;
    let printed = String::from_utf8(client.stdout).expect("it is a text");
    assert_eq!(printed, "m: 你\\u{1b}[2J\n");
}

//! What the clients do with a server that is not as it should be.

use std::time::Duration;

use tokio::{process::Command, task::JoinSet, time::timeout};

use crate::peer::{Answer, run};

const SENDER: &str = env!("CARGO_BIN_EXE_one-way-streams-sender");
const SERVER: &str = env!("CARGO_BIN_EXE_one-way-streams-server");
const RECEIVER: &str = env!("CARGO_BIN_EXE_one-way-streams-receiver");

/// A message of which tonic knows nothing but that it is there.
const EMPTY: Answer = Answer::Message(b"\0\0\0\0\0");

/// Message 1 to m: j says `你`, and what would clear a terminal.
const MESSAGE: Answer =
    Answer::Message(b"\0\0\0\0\x13\x08\x01\x12\x0f\x0a\x01j\x12\x01m\x1a\x07\xe4\xbd\xa0\x1b[2J");

/// The sender's limit is half a minute: the machine's speed does not matter to it.
#[tokio::test]
async fn an_answer_to_the_sender_that_does_not_end_is_given_up() {
    let mut clients = JoinSet::new();
    for answer in [
        Answer::Nothing,
        Answer::Headers,
        Answer::HalfMessage,
        EMPTY,
        Answer::ByteASecond,
    ] {
        clients.spawn(run(SENDER, &[], &[], answer));
    }
    while let Some(client) = clients.join_next().await {
        let client = client.expect("it ends");
        let error = String::from_utf8_lossy(&client.stderr);
        assert!(!client.status.success());
        let taken = "Error: an unknown number of 3 messages were taken";
        assert!(error.starts_with(taken), "{error}");
        assert!(error.contains("the call was not over after 30s"), "{error}");
    }
}

/// The same message is the answer to both calls of the receiver, and ends neither.
#[tokio::test]
async fn an_acknowledgement_that_is_not_answered_is_given_up() {
    let client = run(RECEIVER, &[], &["m"], MESSAGE).await;
    let error = String::from_utf8_lossy(&client.stderr);
    assert!(error.contains("the call was not over after 5s"), "{error}");
    let printed = String::from_utf8_lossy(&client.stdout);
    assert_eq!(printed, "waiting for messages to m\nj: 你\\u{1b}[2J\n");
}

#[tokio::test]
async fn a_stream_that_does_not_begin_is_given_up() {
    let client = run(RECEIVER, &[], &[], Answer::Nothing).await;
    let error = String::from_utf8_lossy(&client.stderr);
    assert!(error.contains("the call was not over after 5s"), "{error}");
}

#[tokio::test]
async fn numbers_that_the_server_cannot_use_are_refused_at_once() {
    for (what, arguments) in [
        ("seconds from 1 to 3600", &["0"][..]),
        ("seconds from 1 to 3600", &["-1"]),
        ("seconds from 1 to 3600", &["3601"]),
        ("seconds from 1 to 3600", &["18446744073709551615"]),
        ("seconds from 1 to 3600", &["five"]),
        ("seconds from 1 to 3600", &[""]),
        ("messages from 1 to 1000000", &["5", "0"]),
        ("messages from 1 to 1000000", &["5", "-1"]),
        ("messages from 1 to 1000000", &["5", "1000001"]),
        ("messages from 1 to 1000000", &["5", "18446744073709551615"]),
        ("messages from 1 to 1000000", &["5", "18446744073709551616"]),
        ("messages from 1 to 1000000", &["5", "1.5"]),
    ] {
        let server = Command::new(SERVER)
            .arg("127.0.0.1:0")
            .args(arguments)
            .output();
        let server = timeout(Duration::from_secs(60), server).await;
        let server = server.expect("it does not serve").expect("it starts");
        let error = String::from_utf8_lossy(&server.stderr);
        assert!(!server.status.success());
        assert!(
            error.contains(&format!("is not a number of {what}")),
            "{error}"
        );
    }
}

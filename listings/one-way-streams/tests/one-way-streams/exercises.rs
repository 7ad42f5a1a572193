//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use one_way_streams::{
    mailboxes::{Limits, Mailboxes},
    pb::{Message, SendMessagesRequest, message_service_client::MessageServiceClient},
    serve,
};
use tokio::net::TcpListener;
use tonic::Code;

fn message(from: &str, content: &str) -> Message {
    Message {
        from: from.to_owned(),
        to: "mike".to_owned(),
        content: content.to_owned(),
    }
}

#[tokio::test]
#[should_panic(expected = "an empty message is taken")]
async fn exercise_1_a_message_without_content_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(serve(listener, Limits::default(), std::future::pending()));
    let mut client = MessageServiceClient::connect(uri).await.expect("it runs");

    let message = Some(message("jack", ""));
    let requests = tokio_stream::iter([SendMessagesRequest { message }]);
    let status = client
        .send_messages(requests)
        .await
        .expect_err("an empty message is taken");
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// The clock is paused, so nobody waits for room.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "jack leaves no room for anna")]
async fn exercise_2_one_sender_has_at_most_half_of_a_mailbox() {
    let limits = Limits::default();
    let mailboxes = Mailboxes::new(limits);
    let mut refused = None;
    for _ in 0..limits.messages {
        if let Err(status) = mailboxes.put(message("jack", "在吗")).await {
            refused = Some(status.code());
            break;
        }
    }
    mailboxes
        .put(message("anna", "在吗"))
        .await
        .expect("jack leaves no room for anna");
    assert_eq!(refused, Some(Code::ResourceExhausted));
}

//! The exercises of the chapter. Each test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use std::{process::Stdio, time::Duration};

use bidirectional_streams::{
    pb::{ChatRequest, chat_service_client::ChatServiceClient},
    serve,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Command,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_stream::Stream;
use tonic::{Request, Status, metadata::MetadataValue};

/// Longer than anything here takes, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server in this process; its URI.
async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(serve(listener, std::future::pending()));
    uri
}

/// Opens a call, and returns how it ends.
async fn chat(
    request: Request<impl Stream<Item = ChatRequest> + Send + 'static>,
) -> Result<(), Status> {
    let client = ChatServiceClient::connect(start().await).await;
    let mut client = client.map_err(|error| Status::from_error(error.into()))?;
    let mut events = client.chat(request).await?.into_inner();
    while events.message().await?.is_some() {}
    Ok(())
}

#[tokio::test]
#[should_panic(expected = "the client was killed")]
async fn exercise_1_ctrl_c_ends_the_chat_as_ctrl_d_does() {
    // A program that was started in the background ignores SIGINT, and so do those that it
    // starts, unless it has a handler.
    let _handler = signal(SignalKind::interrupt()).expect("it can be handled");
    let mut client = Command::new(env!("CARGO_BIN_EXE_bidirectional-streams-client"))
        .arg(start().await)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    // Kept open, since its end would be a Ctrl-D.
    let _stdin = client.stdin.take().expect("it is piped");
    let mut printed = BufReader::new(client.stdout.take().expect("it is piped")).lines();
    let line = timeout(TIMEOUT, printed.next_line()).await;
    let line = line.expect("the server answers").expect("it is text");
    assert_eq!(line.as_deref(), Some("mike is not here"));

    // What a terminal sends at Ctrl-C.
    let interrupt = format!("kill -INT {}", client.id().expect("it runs"));
    let kill = Command::new("sh").args(["-c", &interrupt]).status().await;
    assert!(kill.expect("there is a shell").success());

    let ended = timeout(TIMEOUT, client.wait()).await.expect("it ends");
    let ended = ended.expect("it was started");
    assert!(ended.code().is_some(), "the client was killed: {ended}");
    assert!(ended.success(), "{ended}");
    let line = printed.next_line().await.expect("it is text");
    assert_eq!(
        line.as_deref(),
        Some("goodbye"),
        "the status was not awaited"
    );
}

/// Names in any script travel as bytes, under keys that end in `-bin`.
#[tokio::test]
#[should_panic(expected = "杰克 cannot chat")]
async fn exercise_2_names_may_be_in_any_script() {
    let mut request = Request::new(tokio_stream::empty());
    for (key, name) in [("from-bin", "杰克"), ("to-bin", "麦克")] {
        let name = MetadataValue::from_bytes(name.as_bytes());
        request.metadata_mut().insert_bin(key, name);
    }
    chat(request).await.expect("杰克 cannot chat");
}

//! The exercises of the chapter. Each test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use std::{
    pin::Pin,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_stream::try_stream;
use one_way_streams::{
    mailboxes::Limits,
    pb::{
        AcknowledgeMessagesRequest, AcknowledgeMessagesResponse, Message, ReceiveMessagesRequest,
        ReceiveMessagesResponse, SendMessagesRequest, SendMessagesResponse,
        message_service_client::MessageServiceClient,
        message_service_server::{MessageService, MessageServiceServer},
    },
    serve,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpListener,
    process::{ChildStdout, Command},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

const RECEIVER: &str = env!("CARGO_BIN_EXE_one-way-streams-receiver");

/// Longer than anything here takes, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

fn message(content: &str) -> Message {
    Message {
        from: "jack".to_owned(),
        to: "mike".to_owned(),
        content: content.to_owned(),
    }
}

/// A mailbox server on `address`, which stops when the sender is dropped.
async fn start(address: &str) -> (String, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = Limits {
        // The receiver waits while the server restarts.
        idle: TIMEOUT,
        ..Limits::default()
    };
    let server = tokio::spawn(async move {
        let stopped = async { stopped.await.unwrap_or_default() };
        serve(listener, limits, stopped).await.expect("it serves");
    });
    (address, stop, server)
}

async fn send(address: &str, content: &str) {
    let client = MessageServiceClient::connect(format!("http://{address}")).await;
    let message = Some(message(content));
    let requests = tokio_stream::iter([SendMessagesRequest { message }]);
    let sent = client.expect("it runs").send_messages(requests).await;
    sent.expect("there is room");
}

/// Reads what the receiver prints until it is `line`.
///
/// # Panics
///
/// If the receiver ends before.
async fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, line: &str) {
    let wait = async {
        loop {
            let printed = lines.next_line().await.expect("it is text");
            if printed.expect("the receiver has given up") == line {
                break;
            }
        }
    };
    timeout(TIMEOUT, wait).await.expect("it is printed");
}

#[tokio::test]
#[should_panic(expected = "the receiver has given up")]
async fn exercise_1_the_receiver_survives_a_restart_of_the_server() {
    let (address, stop, server) = start("127.0.0.1:0").await;
    let mut receiver = Command::new(RECEIVER)
        .arg(format!("http://{address}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut printed = BufReader::new(receiver.stdout.take().expect("it is piped")).lines();
    send(&address, "before").await;
    wait_for(&mut printed, "jack: before").await;

    drop(stop);
    timeout(TIMEOUT, server)
        .await
        .expect("it stops")
        .expect("no panic");
    let (_, _stop, _server) = start(&address).await;
    send(&address, "after").await;
    wait_for(&mut printed, "jack: after").await;
}

/// A server that has 100 messages, and ends the stream when all are acknowledged.
struct Counting {
    acknowledgements: Arc<AtomicU64>,
    through: watch::Sender<u64>,
}

const MESSAGES: u64 = 100;

#[tonic::async_trait]
impl MessageService for Counting {
    async fn send_messages(
        &self,
        _: Request<Streaming<SendMessagesRequest>>,
    ) -> Result<Response<SendMessagesResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    type ReceiveMessagesStream =
        Pin<Box<dyn Stream<Item = Result<ReceiveMessagesResponse, Status>> + Send>>;

    async fn receive_messages(
        &self,
        _: Request<ReceiveMessagesRequest>,
    ) -> Result<Response<Self::ReceiveMessagesStream>, Status> {
        let mut through = self.through.subscribe();
        let messages = try_stream! {
            for number in 1..=MESSAGES {
                yield ReceiveMessagesResponse {
                    number,
                    message: Some(message("在吗")),
                };
            }
            through.wait_for(|&through| through == MESSAGES).await.ok();
        };
        Ok(Response::new(Box::pin(messages)))
    }

    async fn acknowledge_messages(
        &self,
        request: Request<AcknowledgeMessagesRequest>,
    ) -> Result<Response<AcknowledgeMessagesResponse>, Status> {
        self.acknowledgements.fetch_add(1, Relaxed);
        self.through.send_replace(request.into_inner().through);
        Ok(Response::new(AcknowledgeMessagesResponse {}))
    }
}

#[tokio::test]
#[should_panic(expected = "one call for each message")]
async fn exercise_2_one_acknowledgement_covers_many_messages() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("it is bound"));
    let acknowledgements = Arc::new(AtomicU64::new(0));
    let service = MessageServiceServer::new(Counting {
        acknowledgements: acknowledgements.clone(),
        through: watch::Sender::new(0),
    });
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let receiver = Command::new(RECEIVER).arg(uri).kill_on_drop(true).output();
    let receiver = timeout(TIMEOUT, receiver).await;
    let receiver = receiver.expect("all is acknowledged").expect("it starts");
    let error = String::from_utf8_lossy(&receiver.stderr);
    assert!(receiver.status.success(), "{error}");
    let printed = String::from_utf8_lossy(&receiver.stdout);
    let received = printed.lines().filter(|line| *line == "jack: 在吗");
    assert_eq!(received.count(), 100);
    assert!(
        acknowledgements.load(Relaxed) <= 20,
        "one call for each message: {acknowledgements:?}"
    );
}

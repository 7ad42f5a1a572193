//! What the service promises, checked over a real connection.

use std::{error::Error, net::SocketAddr, time::Duration};

use one_way_streams::{
    DRAIN_TIMEOUT, MAX_REQUEST_BYTES,
    mailboxes::Limits,
    pb::{
        AcknowledgeMessagesRequest, Message, ReceiveMessagesRequest, ReceiveMessagesResponse,
        SendMessagesRequest, message_service_client::MessageServiceClient,
    },
    serve,
    service::MESSAGES_TAKEN,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};

type Client = MessageServiceClient<Channel>;
type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A server in this process, on a port that the system chose.
struct TestServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::result::Result<(), tonic::transport::Error>>,
}

impl TestServer {
    async fn open(limits: Limits) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, limits, async {
            stopped.await.ok();
        }));
        Ok(Self {
            address,
            stop,
            server,
        })
    }

    async fn client(&self) -> Result<Client> {
        Ok(Client::connect(format!("http://{}", self.address)).await?)
    }
}

fn request(from: &str, to: &str, content: &str) -> SendMessagesRequest {
    SendMessagesRequest {
        message: Some(Message {
            from: from.to_owned(),
            to: to.to_owned(),
            content: content.to_owned(),
        }),
    }
}

async fn receive(
    client: &mut Client,
    user: &str,
) -> std::result::Result<Streaming<ReceiveMessagesResponse>, Status> {
    let user = user.to_owned();
    let response = client.receive_messages(ReceiveMessagesRequest { user });
    Ok(response.await?.into_inner())
}

/// How many messages of the call were taken before it failed.
fn taken(status: &Status) -> Option<&str> {
    status.metadata().get(MESSAGES_TAKEN)?.to_str().ok()
}

#[tokio::test]
async fn takes_messages_and_hands_them_out() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut client = test_server.client().await?;
    let contents = ["在吗", "下午有没有时间一起打游戏", ""];
    let requests = contents.map(|content| request("jack", "mike", content));
    let sent = client.send_messages(tokio_stream::iter(requests)).await?;
    assert_eq!(sent.into_inner().taken, 3);

    let mut messages = receive(&mut client, "mike").await?;
    for content in contents {
        let response = messages.message().await?.ok_or("a message is lost")?;
        let message = response.message.ok_or("it is empty")?;
        assert_eq!(
            (message.from.as_str(), message.content.as_str()),
            ("jack", content)
        );
    }
    Ok(())
}

/// The clock is paused: it jumps on as soon as nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn closes_an_idle_stream_with_ok() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut messages = receive(&mut test_server.client().await?, "mike").await?;
    assert_eq!(messages.message().await?, None);
    Ok(())
}

#[tokio::test]
async fn refuses_bad_names_and_says_how_many_it_took() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut client = test_server.client().await?;
    let long = "界".repeat(65);
    for (bad, sentence) in [
        (request("", "mike", "在吗"), "from is empty"),
        (request(" \t", "mike", "在吗"), "from is empty"),
        (request("jack", "", "在吗"), "to is empty"),
        (
            request(&long, "mike", "在吗"),
            "from has 65 characters: send at most 64",
        ),
        (
            request("jack", &long, "在吗"),
            "to has 65 characters: send at most 64",
        ),
        (SendMessagesRequest::default(), "message is missing"),
    ] {
        let good = request("jack", "mike", "在吗");
        let requests = tokio_stream::iter([good.clone(), good, bad]);
        let status = client
            .send_messages(requests)
            .await
            .expect_err("a name is bad");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), sentence);
        assert_eq!(taken(&status), Some("2"));
    }
    let status = receive(&mut client, "").await.expect_err("a name is bad");
    assert_eq!(status.message(), "user is empty");
    let status = receive(&mut client, &long).await.expect_err("too long");
    assert_eq!(status.code(), Code::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_call() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut client = test_server.client().await?;
    let long = "界".repeat(MAX_REQUEST_BYTES / 3);
    let requests = [
        request("jack", "mike", "在吗"),
        request("jack", "mike", &long),
    ];
    let status = client
        .send_messages(tokio_stream::iter(requests))
        .await
        .expect_err("it is too large");
    // gRPC's own code for this is RESOURCE_EXHAUSTED; this is tonic's.
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("4096 bytes"), "{status}");
    assert_eq!(taken(&status), Some("1"));
    Ok(())
}

/// One that reads nothing, and one that reads and acknowledges nothing: the
/// mailbox holds what it holds, and no more is taken.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_stops_stops_the_sender() -> Result {
    let limits = Limits::default();
    let test_server = TestServer::open(limits).await?;
    let mut client = test_server.client().await?;
    let _unread = receive(&mut client, "mike").await?;

    let content = "界".repeat(1000);
    let endless = tokio_stream::iter(std::iter::repeat(request("jack", "mike", &content)));
    let status = client
        .send_messages(endless)
        .await
        .expect_err("the mailbox is full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(taken(&status), Some(limits.messages.to_string().as_str()));
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_comes_back_goes_on_where_it_was() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut client = test_server.client().await?;
    let requests = ["一", "二", "三"].map(|content| request("jack", "mike", content));
    client.send_messages(tokio_stream::iter(requests)).await?;

    let mut messages = receive(&mut client, "mike").await?;
    let first = messages.message().await?.ok_or("the first is lost")?;
    let second = messages.message().await?.ok_or("the second is lost")?;
    let acknowledge = AcknowledgeMessagesRequest {
        user: "mike".to_owned(),
        through: first.number,
    };
    client.acknowledge_messages(acknowledge).await?;
    drop(messages);

    let mut messages = receive(&mut test_server.client().await?, "mike").await?;
    assert_eq!(messages.message().await?, Some(second));
    Ok(())
}

#[tokio::test]
async fn a_second_receiver_ends_the_first() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut first = receive(&mut test_server.client().await?, "mike").await?;
    let _second = receive(&mut test_server.client().await?, "mike").await?;
    let status = first.message().await.expect_err("it was taken over");
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(
        status.message(),
        "another receiver has taken over the mailbox"
    );
    Ok(())
}

#[tokio::test]
async fn a_shutdown_ends_every_open_call() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut client = test_server.client().await?;
    let mut messages = receive(&mut client, "mike").await?;
    let (sender, requests) = mpsc::channel(1);
    sender.send(request("jack", "mike", "在吗")).await?;
    let mut sending = client.clone();
    let sending =
        tokio::spawn(async move { sending.send_messages(ReceiverStream::new(requests)).await });
    assert!(messages.message().await?.is_some());

    test_server.stop.send(()).expect("the server runs");
    let status = messages.message().await.expect_err("the server stops");
    assert_eq!(status.code(), Code::Unavailable);
    let status = sending.await?.expect_err("the server stops");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(taken(&status), Some("1"));
    test_server.server.await??;
    Ok(())
}

/// Calls that are held up leave room for the others on their connection.
#[tokio::test]
async fn waiting_senders_do_not_block_an_acknowledgement() -> Result {
    let limits = Limits {
        messages: 1,
        // Longer than the test: no sender gives up and makes room.
        patience: Duration::from_secs(3600),
        ..Limits::default()
    };
    let test_server = TestServer::open(limits).await?;
    let mut client = test_server.client().await?;
    let mut messages = receive(&mut client, "mike").await?;
    let content = "界".repeat(1000);
    let mut held_up = JoinSet::new();
    for _ in 0..100 {
        let mut client = client.clone();
        let many = std::iter::repeat_n(request("jack", "mike", &content), 20);
        held_up.spawn(async move { client.send_messages(tokio_stream::iter(many)).await });
    }
    let first = messages.message().await?.ok_or("a message is lost")?;
    let acknowledge = AcknowledgeMessagesRequest {
        user: "mike".to_owned(),
        through: first.number,
    };
    // It would never be answered: a test that fails is better than one that hangs.
    let hung = Duration::from_secs(60);
    timeout(hung, client.acknowledge_messages(acknowledge)).await??;
    assert!(timeout(hung, messages.message()).await??.is_some());
    Ok(())
}

/// h2 counts unread frames of less than 256 bytes, and gives up the connection.
#[tokio::test]
async fn many_waiting_senders_of_tiny_messages_lose_their_connection() -> Result {
    let limits = Limits {
        messages: 1,
        patience: Duration::from_secs(3600),
        ..Limits::default()
    };
    let test_server = TestServer::open(limits).await?;
    let client = test_server.client().await?;
    let mut senders = JoinSet::new();
    for _ in 0..100 {
        let mut client = client.clone();
        senders.spawn(async move {
            let (messages, requests) = mpsc::channel(1);
            let send = client.send_messages(ReceiverStream::new(requests));
            let fill = async {
                while messages.send(request("j", "mike", "")).await.is_ok() {}
                std::future::pending::<()>().await;
            };
            tokio::select! {
                response = send => response.map(drop),
                () = fill => unreachable!("it does not end"),
            }
        });
    }
    let all = timeout(Duration::from_secs(60), senders.join_all()).await?;
    for ended in all {
        let status = ended.expect_err("the mailbox holds one message");
        assert_eq!(taken(&status), None, "{status}");
    }
    Ok(())
}

/// The server cannot tell a receiver that does not read. It stops all the same.
#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_stalled_receiver() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let channel = Endpoint::from_shared(format!("http://{}", test_server.address))?
        .initial_stream_window_size(65_535)
        .connect()
        .await?;
    let mut client = Client::new(channel);
    let _unread = receive(&mut client, "mike").await?;
    let content = "界".repeat(1000);
    let messages = std::iter::repeat_n(request("jack", "mike", &content), 100);
    client.send_messages(tokio_stream::iter(messages)).await?;

    let told = Instant::now();
    test_server.stop.send(()).expect("the server runs");
    test_server.server.await??;
    assert!(told.elapsed() >= DRAIN_TIMEOUT, "everything was read");
    Ok(())
}

/// The deadline covers the whole call to send: its headers come at its end.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_to_send() -> Result {
    let test_server = TestServer::open(Limits::default()).await?;
    let mut client = test_server.client().await?;
    let first = tokio_stream::iter([request("jack", "mike", "在吗")]);
    let mut request = tonic::Request::new(first.chain(tokio_stream::pending()));
    request.set_timeout(Duration::from_secs(30));
    let status = client
        .send_messages(request)
        .await
        .expect_err("it never ends");
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(status.message(), "Timeout expired");

    // What was taken stays.
    let mut messages = receive(&mut client, "mike").await?;
    assert!(messages.message().await?.is_some());
    Ok(())
}

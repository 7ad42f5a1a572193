//! What a chat promises, checked over real connections.

use std::{error::Error, net::SocketAddr};

use bidirectional_streams::{
    DRAIN_TIMEOUT, MAX_REQUEST_BYTES, MAX_UNREAD, PATIENCE, STREAM_WINDOW_BYTES,
    pb::{
        ChatRequest, ChatResponse, Message, Presence, chat_response::Event,
        chat_service_client::ChatServiceClient,
    },
    serve,
    service::FinalStatus,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Duration, Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    CancellationHandle, Code, Request, Status, Streaming,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A server in this process, on a port that the system chose.
struct TestServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::result::Result<(), tonic::transport::Error>>,
}

/// One side of a chat.
struct Side {
    says: mpsc::Sender<ChatRequest>,
    hears: Streaming<ChatResponse>,
    cancellation: CancellationHandle,
}

impl TestServer {
    async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, async {
            stopped.await.ok();
        }));
        Ok(Self {
            address,
            stop,
            server,
        })
    }

    async fn client(&self) -> Result<ChatServiceClient<Channel>> {
        let channel = Endpoint::from_shared(format!("http://{}", self.address))?
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .connect()
            .await?;
        Ok(ChatServiceClient::new(channel))
    }

    /// Opens a call before anything is said.
    async fn come(&self, from: &str, to: &str) -> Result<Side> {
        let (says, requests) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(requests));
        request.metadata_mut().insert("from", from.parse()?);
        request.metadata_mut().insert("to", to.parse()?);
        let cancellation = request.cancellation_handle();
        let hears = self.client().await?.chat(request).await?.into_inner();
        Ok(Side {
            says,
            hears,
            cancellation,
        })
    }

    /// Opens both calls of a chat, and reads what they say of each other.
    async fn two(&self) -> Result<(Side, Side)> {
        let mut jack = self.come("jack", "mike").await?;
        assert_eq!(jack.hear().await?, is_here("mike", false));
        let mut mike = self.come("mike", "jack").await?;
        assert_eq!(mike.hear().await?, is_here("jack", true));
        assert_eq!(jack.hear().await?, is_here("mike", true));
        Ok((jack, mike))
    }
}

impl Side {
    async fn say(&self, content: &str) -> Result {
        let content = content.to_owned();
        Ok(self.says.send(ChatRequest { content }).await?)
    }

    async fn hear(&mut self) -> std::result::Result<Option<Event>, Status> {
        Ok(self.hears.message().await?.and_then(|heard| heard.event))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as `hear` returns it")]
fn is_here(name: &str, here: bool) -> Option<Event> {
    let name = name.to_owned();
    Some(Event::Presence(Presence { name, here }))
}

#[expect(clippy::unnecessary_wraps, reason = "as `hear` returns it")]
fn said(from: &str, content: &str) -> Option<Event> {
    Some(Event::Message(Message {
        from: from.to_owned(),
        content: content.to_owned(),
    }))
}

#[tokio::test]
async fn two_people_talk_and_part() -> Result {
    let server = TestServer::open().await?;
    let (mut jack, mut mike) = server.two().await?;
    jack.say("有没有时间一起打游戏？").await?;
    assert_eq!(mike.hear().await?, said("jack", "有没有时间一起打游戏？"));
    mike.say("没有").await?;
    assert_eq!(jack.hear().await?, said("mike", "没有"));

    drop(jack.says);
    assert_eq!(jack.hears.message().await?, None, "the end is OK");
    assert_eq!(mike.hear().await?, is_here("jack", false));
    drop(mike.says);
    assert_eq!(mike.hears.message().await?, None, "the end is OK");
    Ok(())
}

/// Two clients that join at the same moment are told of each other once.
#[tokio::test(flavor = "multi_thread")]
async fn presence_is_announced_once() -> Result {
    let server = TestServer::open().await?;
    for round in 0..200 {
        let (jack, mike) = (format!("jack-{round}"), format!("mike-{round}"));
        let (mut jack_s, mut mike_s) =
            tokio::try_join!(server.come(&jack, &mike), server.come(&mike, &jack))?;
        let (first, second) = (jack_s.hear().await?, mike_s.hear().await?);
        // One of them was the second, and the first hears of them.
        for (side, heard, other) in [(&mut jack_s, first, &mike), (&mut mike_s, second, &jack)] {
            if heard == is_here(other, false) {
                assert_eq!(side.hear().await?, is_here(other, true));
            }
        }
        jack_s.say("你好").await?;
        assert_eq!(mike_s.hear().await?, said(&jack, "你好"));
        mike_s.say("再见").await?;
        assert_eq!(jack_s.hear().await?, said(&mike, "再见"));
    }
    Ok(())
}

/// Otherwise the stream would end without an error, which is `OK`.
#[tokio::test]
async fn a_call_whose_task_panics_does_not_end_with_ok() -> Result {
    let (events, mut responses) = mpsc::channel(1);
    let final_status = FinalStatus::reserve(&events)?;
    drop(events);
    let task = tokio::spawn(async move {
        let _final_status = final_status;
        panic!("a bug");
    });
    task.await.expect_err("it panics");
    let status = responses.recv().await.ok_or("no status")?;
    assert_eq!(status.expect_err("it failed").code(), Code::Internal);
    assert!(responses.recv().await.is_none());
    Ok(())
}

/// The client waits for the server before it says anything.
#[tokio::test]
async fn the_server_speaks_first() -> Result {
    let server = TestServer::open().await?;
    let come = server.come("jack", "mike");
    let mut jack = timeout(Duration::from_secs(60), come).await??;
    assert_eq!(jack.hear().await?, is_here("mike", false));
    Ok(())
}

#[tokio::test]
async fn both_talk_at_once_and_each_is_heard_in_order() -> Result {
    const MANY: usize = 1000;
    let server = TestServer::open().await?;
    let (jack, mike) = server.two().await?;
    let talk = async |says: mpsc::Sender<ChatRequest>| {
        for content in 0..MANY {
            let content = content.to_string();
            says.send(ChatRequest { content }).await?;
        }
        Ok::<_, Box<dyn Error>>(says)
    };
    let listen = async |mut hears: Streaming<ChatResponse>, from: &str| {
        for content in 0..MANY {
            let heard = hears.message().await?.and_then(|heard| heard.event);
            assert_eq!(heard, said(from, &content.to_string()));
        }
        Ok::<_, Box<dyn Error>>(hears)
    };
    tokio::try_join!(
        talk(jack.says),
        talk(mike.says),
        listen(jack.hears, "mike"),
        listen(mike.hears, "jack"),
    )?;
    Ok(())
}

#[tokio::test]
async fn a_message_to_an_absent_person_is_reported() -> Result {
    let server = TestServer::open().await?;
    let mut jack = server.come("jack", "mike").await?;
    assert_eq!(jack.hear().await?, is_here("mike", false));
    jack.say("在吗").await?;
    assert_eq!(jack.hear().await?, is_here("mike", false));

    // Who talks to somebody else is not there either.
    let _mike = server.come("mike", "anna").await?;
    jack.say("在吗").await?;
    assert_eq!(jack.hear().await?, is_here("mike", false));
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_cancelled_is_noticed() -> Result {
    let server = TestServer::open().await?;
    let (jack, mut mike) = server.two().await?;
    jack.cancellation.cancel();
    assert_eq!(mike.hear().await?, is_here("jack", false));
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_is_noticed() -> Result {
    let server = TestServer::open().await?;
    let mut mike = server.come("mike", "jack").await?;
    assert_eq!(mike.hear().await?, is_here("jack", false));

    let socket = TcpStream::connect(server.address).await?;
    let (mut jack, connection) = h2::client::handshake(socket).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!(
        "http://{}/chat.v1.ChatService/Chat",
        server.address
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .header("from", "jack")
    .header("to", "mike")
    .body(())?;
    let (_response, _requests) = jack.send_request(request, false)?;
    assert_eq!(mike.hear().await?, is_here("jack", true));
    connection.abort();
    assert_eq!(mike.hear().await?, is_here("jack", false));
    Ok(())
}

#[tokio::test]
async fn names_are_checked() -> Result {
    let server = TestServer::open().await?;
    let mut client = server.client().await?;
    let long = "j".repeat(65);
    for (from, sentence) in [
        (None, "metadata `from` is missing: send a name"),
        (Some(""), "metadata `from` is empty: send a name"),
        (
            Some("jack the third"),
            "metadata `from` has a space or a tab in it: send one word",
        ),
        (
            Some("jack\tthe\tthird"),
            "metadata `from` has a space or a tab in it: send one word",
        ),
        (
            Some("杰克"),
            "metadata `from` is not ASCII: send ASCII letters",
        ),
        (
            Some(&long),
            "metadata `from` has 65 characters: send at most 64",
        ),
        (
            Some("mike"),
            "metadata `from` and `to` are the same: name two people",
        ),
    ] {
        let mut request = Request::new(tokio_stream::pending());
        request.metadata_mut().insert("to", "mike".parse()?);
        if let Some(from) = from {
            let from = AsciiMetadataValue::try_from(from.as_bytes())?;
            request.metadata_mut().insert("from", from);
        }
        let status = client.chat(request).await.expect_err("the name is bad");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), sentence);
    }
    let mut request = Request::new(tokio_stream::pending());
    request.metadata_mut().insert("from", "jack".parse()?);
    let status = client.chat(request).await.expect_err("a name is missing");
    assert_eq!(status.message(), "metadata `to` is missing: send a name");

    // And the server lives.
    server.two().await?;
    Ok(())
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_call() -> Result {
    let server = TestServer::open().await?;
    let (mut jack, mut mike) = server.two().await?;
    jack.say(&"界".repeat(MAX_REQUEST_BYTES / 3)).await?;
    let status = jack.hear().await.expect_err("it is too large");
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(mike.hear().await?, is_here("jack", false));
    Ok(())
}

#[tokio::test]
async fn a_newer_call_replaces_an_older_one() -> Result {
    let server = TestServer::open().await?;
    let (mut old, mut mike) = server.two().await?;
    let mut new = server.come("jack", "mike").await?;
    let status = old.hear().await.expect_err("it was taken over");
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.message(), "a newer call has the same names");

    assert_eq!(new.hear().await?, is_here("mike", true));
    new.say("回来了").await?;
    loop {
        match mike.hear().await? {
            Some(Event::Presence(Presence { here, .. })) => assert!(here, "he never left"),
            heard => {
                assert_eq!(heard, said("jack", "回来了"));
                return Ok(());
            }
        }
    }
}

/// However an old call's end and a new one's beginning fall together, what is
/// heard last is true.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_presence_event_is_true() -> Result {
    let server = TestServer::open().await?;
    let (mut jack, mut mike) = server.two().await?;
    for _ in 0..200 {
        let (_, again) = tokio::join!(
            async { jack.cancellation.cancel() },
            server.come("jack", "mike")
        );
        jack = again?;
        // Comes behind all that was told before.
        jack.say("在").await?;
        let mut last = None;
        loop {
            match mike.hear().await? {
                Some(Event::Presence(Presence { here, .. })) => last = Some(here),
                Some(Event::Message(_)) => break,
                None => return Err("mike hears nothing more".into()),
            }
        }
        assert_ne!(last, Some(false));
    }
    Ok(())
}

/// One does not read: the other one is held up, and nothing piles up. (The clock
/// is paused: it jumps on once nothing else is left to do.)
#[tokio::test(start_paused = true)]
async fn a_sender_to_a_stalled_client_is_held_up_and_can_leave() -> Result {
    let server = TestServer::open().await?;
    let (jack, _stalled) = server.two().await?;
    let content = "界".repeat(1000);
    let mut said = 0;
    while let Ok(sent) = timeout(Duration::from_secs(1), jack.say(&content)).await {
        sent?;
        said += 1;
    }
    // Two windows, what waits for Mike, and what is on its way in between.
    let room = 2 * usize::try_from(STREAM_WINDOW_BYTES)? / content.len() + MAX_UNREAD + 16;
    assert!((MAX_UNREAD..room).contains(&said), "{said} of {room}");

    jack.cancellation.cancel();
    let mut jack = server.come("jack", "mike").await?;
    assert_eq!(jack.hear().await?, is_here("mike", true));
    Ok(())
}

/// Mike does not read, and still answers PINGs. All that Jack has sent lies before
/// his goodbye.
#[tokio::test(start_paused = true)]
async fn a_goodbye_does_not_wait_for_a_stalled_client() -> Result {
    let server = TestServer::open().await?;
    let (mut jack, _stalled) = server.two().await?;
    let content = "界".repeat(1000);
    while let Ok(sent) = timeout(Duration::from_secs(1), jack.say(&content)).await {
        sent?;
    }
    drop(jack.says);
    let ended = timeout(PATIENCE * 2, jack.hears.message()).await?;
    let status = ended.expect_err("not all was passed on");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "mike has not read for 5s: try again later"
    );
    let mut mike = server.come("mike", "jack").await?;
    assert_eq!(mike.hear().await?, is_here("jack", false));
    Ok(())
}

/// A client that joins while the other one does not read cannot be announced.
#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_wait_for_a_stalled_client() -> Result {
    let server = TestServer::open().await?;
    let (jack, _stalled) = server.two().await?;
    let content = "界".repeat(1000);
    while let Ok(sent) = timeout(Duration::from_secs(1), jack.say(&content)).await {
        sent?;
    }
    let mut again = server.come("jack", "mike").await?;
    assert_eq!(again.hear().await?, is_here("mike", true));
    drop(again.says);
    let ended = timeout(PATIENCE * 2, again.hears.message()).await?;
    let status = ended.expect_err("mike does not know that he is here");
    assert_eq!(status.code(), Code::ResourceExhausted);
    Ok(())
}

/// Jack talks to an empty seat, and does not read that it is empty.
#[tokio::test(start_paused = true)]
async fn a_stalled_client_does_not_keep_its_place_after_a_goodbye() -> Result {
    let server = TestServer::open().await?;
    let jack = server.come("jack", "mike").await?;
    // Presence is short: it takes many to fill the window.
    for _ in 0..10_000 {
        match timeout(Duration::from_secs(1), jack.say("在吗")).await {
            Ok(sent) => sent?,
            Err(_) => break,
        }
    }
    drop(jack.says);
    timeout(PATIENCE * 2, std::future::pending::<()>())
        .await
        .expect_err("nothing else happens");
    let mut mike = server.come("mike", "jack").await?;
    assert_eq!(mike.hear().await?, is_here("jack", false));
    Ok(())
}

/// A client that starts again gets the message that the other one was held up with.
#[tokio::test(start_paused = true)]
async fn a_stalled_client_that_reconnects_gets_the_message() -> Result {
    let server = TestServer::open().await?;
    let (jack, _stalled) = server.two().await?;
    let content = "界".repeat(1000);
    while let Ok(sent) = timeout(Duration::from_secs(1), jack.say(&content)).await {
        sent?;
    }
    let mut mike = server.come("mike", "jack").await?;
    assert_eq!(mike.hear().await?, is_here("jack", true));
    let heard = timeout(Duration::from_secs(1), mike.hear()).await??;
    assert_eq!(heard, said("jack", &content));
    Ok(())
}

/// The status that ends a call has room, however much lies before it.
#[tokio::test(start_paused = true)]
async fn a_late_reader_learns_how_the_call_ended() -> Result {
    let server = TestServer::open().await?;
    let (jack, mut late) = server.two().await?;
    let content = "界".repeat(1000);
    while let Ok(sent) = timeout(Duration::from_secs(1), jack.say(&content)).await {
        sent?;
    }
    let _mike = server.come("mike", "jack").await?;
    timeout(PATIENCE * 2, std::future::pending::<()>())
        .await
        .expect_err("nothing else happens");
    let status = loop {
        match late.hear().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err("the end looks good".into()),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Aborted);
    Ok(())
}

/// The server cannot tell somebody who does not read. It stops all the same.
#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_stalled_client() -> Result {
    let server = TestServer::open().await?;
    let (jack, _stalled) = server.two().await?;
    let content = "界".repeat(1000);
    while let Ok(sent) = timeout(Duration::from_secs(1), jack.say(&content)).await {
        sent?;
    }
    let told = Instant::now();
    server.stop.send(()).expect("the server runs");
    server.server.await??;
    assert!(told.elapsed() >= DRAIN_TIMEOUT, "everything was read");
    Ok(())
}

#[tokio::test]
async fn a_shutdown_ends_every_chat() -> Result {
    let server = TestServer::open().await?;
    let (mut jack, mut mike) = server.two().await?;
    server.stop.send(()).expect("the server runs");
    for side in [&mut jack, &mut mike] {
        let status = loop {
            match side.hear().await {
                Ok(heard) => assert!(matches!(heard, Some(Event::Presence(_)))),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::Unavailable);
    }
    server.server.await??;
    Ok(())
}

/// The two handles of a call: to let go of the responses alone does not cancel
/// it while requests may follow.
#[tokio::test]
async fn a_call_lives_as_long_as_its_requests_do() -> Result {
    let server = TestServer::open().await?;
    let (jack, mut mike) = server.two().await?;
    let Side { says, hears, .. } = jack;
    drop(hears);
    let content = "在吗".to_owned();
    says.send(ChatRequest { content }).await?;
    assert_eq!(mike.hear().await?, said("jack", "在吗"));
    Ok(())
}

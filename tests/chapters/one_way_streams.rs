//! The chapter `one-way-streams`, as its reader runs it: real programs, real
//! sockets, and more of both than a reader would open terminals for.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server, workspace};
use one_way_streams::{
    KEEPALIVE_INTERVAL, MAX_REQUEST_BYTES, MAX_STREAMS_PER_CONNECTION,
    mailboxes::Limits,
    pb::{
        AcknowledgeMessagesRequest, Message, ReceiveMessagesRequest, ReceiveMessagesResponse,
        SendMessagesRequest, message_service_client::MessageServiceClient,
    },
};
use stage::bench::Results;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};

const SERVER: &str = "one-way-streams-server";
const SENDER: &str = "one-way-streams-sender";
const RECEIVER: &str = "one-way-streams-receiver";

/// Longer than anything here takes, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

const SENDERS: usize = 1000;
const MESSAGES: usize = 100;
const RECEIVERS: usize = 10;

fn start_server(arguments: &[&str]) -> Result<(Listing, Server)> {
    let listing = Listing::build("one-way-streams")?;
    let server = listing.server_with_args(SERVER, arguments)?;
    Ok((listing, server))
}

async fn client(server: &Server) -> Result<MessageServiceClient<Channel>> {
    Ok(MessageServiceClient::connect(server.uri()).await?)
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

#[harness::test]
async fn thousand_senders_lose_duplicate_and_reorder_nothing() -> Result {
    let (_, server) = start_server(&["60"])?;
    assert_all_arrive(&server, |_| usize::MAX).await
}

/// Each receiver disconnects again and again without notice, with messages that it has not yet
/// acknowledged, and with messages still on their way to it.
#[harness::test]
async fn reconnecting_receivers_lose_and_reorder_nothing() -> Result {
    let (_, server) = start_server(&["60"])?;
    assert_all_arrive(&server, |connection| 1 + connection * 37 % 400).await
}

/// Sends a hundred messages from each of a thousand senders to ten receivers. A receiver reads
/// `messages_per_connection` messages on each of its connections, and opens a new one until it has all.
async fn assert_all_arrive(server: &Server, messages_per_connection: fn(usize) -> usize) -> Result {
    let mut receiving = JoinSet::new();
    for user in 0..RECEIVERS {
        let client = client(server).await?;
        receiving.spawn(receive_all(
            client,
            format!("收件人-{user}"),
            messages_per_connection,
        ));
    }
    let mut sending = JoinSet::new();
    let mut channel = client(server).await?;
    for sender in 0..SENDERS {
        if sender % 250 == 0 {
            channel = client(server).await?;
        }
        let mut client = channel.clone();
        sending.spawn(async move {
            let from = format!("sender-{sender}");
            let to = format!("收件人-{}", sender % RECEIVERS);
            let requests: Vec<_> = (0..MESSAGES)
                .map(|content| request(&from, &to, &content.to_string()))
                .collect();
            client.send_messages(tokio_stream::iter(requests)).await
        });
    }
    while let Some(sent) = sending.join_next().await {
        assert_eq!(sent??.into_inner().taken, MESSAGES as u64);
    }
    let expected: Vec<_> = (0..MESSAGES).map(|content| content.to_string()).collect();
    let mut senders = 0;
    while let Some(received) = receiving.join_next().await {
        for (from, contents) in received?? {
            assert_eq!(contents, expected, "from {from}");
            senders += 1;
        }
    }
    assert_eq!(senders, SENDERS);
    Ok(())
}

/// Receives all messages for `user`, grouped by sender. The number of a message tells whether it was
/// delivered before.
async fn receive_all(
    mut client: MessageServiceClient<Channel>,
    user: String,
    messages_per_connection: fn(usize) -> usize,
) -> Result<BTreeMap<String, Vec<String>>> {
    let mut by_sender: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen: BTreeMap<u64, Message> = BTreeMap::new();
    for connection in 0.. {
        let request = ReceiveMessagesRequest { user: user.clone() };
        let mut messages = client.receive_messages(request).await?.into_inner();
        let mut received = 0;
        while received < messages_per_connection(connection)
            && seen.len() < SENDERS * MESSAGES / RECEIVERS
        {
            let response = messages.message().await?;
            let ReceiveMessagesResponse { number, message } =
                response.context("the stream has ended")?;
            let message = message.context("no message")?;
            received += 1;
            if let Some(before) = seen.get(&number) {
                ensure!(*before == message, "{number} is a different message now");
            } else {
                let from_sender = by_sender.entry(message.from.clone()).or_default();
                from_sender.push(message.content.clone());
                ensure!(
                    seen.last_key_value().is_none_or(|(&last, _)| last < number),
                    "{number} is out of order"
                );
                seen.insert(number, message);
            }
            // Not after every message: those since the last acknowledgement are delivered again.
            if received % 32 == 0 {
                let user = user.clone();
                let through = number;
                let request = AcknowledgeMessagesRequest { user, through };
                client.acknowledge_messages(request).await?;
            }
        }
        if seen.len() == SENDERS * MESSAGES / RECEIVERS {
            break;
        }
    }
    Ok(by_sender)
}

/// The receiver of the chapter is killed, and started again.
#[harness::test]
async fn killed_receiver_resumes_where_it_stopped() -> Result {
    let (listing, server) = start_server(&["2"])?;
    let (sender, requests) = mpsc::channel(1);
    let mut sending = client(&server).await?;
    let sending =
        tokio::spawn(async move { sending.send_messages(ReceiverStream::new(requests)).await });

    let mut receiver = listing.start(RECEIVER, [server.uri()])?;
    for content in 0..20 {
        sender
            .send(request("jack", "mike", &format!("第{content}。")))
            .await?;
    }
    receiver.wait_for_text("第9。")?;
    receiver.kill()?;
    let first = receiver.wait()?.text;
    for content in 20..40 {
        sender
            .send(request("jack", "mike", &format!("第{content}。")))
            .await?;
    }
    drop(sender);
    assert_eq!(sending.await??.into_inner().taken, 40);
    let second = listing.run(RECEIVER, [server.uri()])?.text;

    let numbers = |output: &str| -> Vec<usize> {
        let number = |line: &str| {
            line.strip_prefix("jack: 第")?
                .strip_suffix("。")?
                .parse()
                .ok()
        };
        output.lines().filter_map(number).collect()
    };
    let (first, second) = (numbers(&first), numbers(&second));
    let last = *first.last().context("nothing was received")?;
    assert_eq!(first, (0..=last).collect::<Vec<_>>());
    // The last message is delivered again if it was printed, but not yet acknowledged.
    let start = *second.first().context("nothing was left to receive")?;
    assert!(start == last + 1 || start == last, "{start} after {last}");
    assert_eq!(second, (start..40).collect::<Vec<_>>());
    Ok(())
}

/// Sender and receiver learn of it immediately, not only when a keepalive ping times out, and a new
/// server can be used at once.
#[harness::test]
async fn killing_the_server_ends_every_stream() -> Result {
    let (listing, mut server) = start_server(&[])?;
    let mut client = client(&server).await?;
    let user = "mike".to_owned();
    let messages = client.receive_messages(ReceiveMessagesRequest { user });
    let mut messages = messages.await?.into_inner();
    let (sender, requests) = mpsc::channel(1);
    let mut sending = client.clone();
    let sending =
        tokio::spawn(async move { sending.send_messages(ReceiverStream::new(requests)).await });
    sender.send(request("jack", "mike", "在吗")).await?;
    messages.message().await?.context("no message")?;

    server.process.kill()?;
    let before_a_ping = KEEPALIVE_INTERVAL / 2;
    let status = timeout(before_a_ping, messages.message()).await?;
    assert_eq!(
        status.expect_err("the server was killed").code(),
        Code::Unknown
    );
    let status = timeout(before_a_ping, sending).await??;
    let status = status.expect_err("the server was killed");
    // How many messages the server took is unknown.
    assert!(status.metadata().is_empty(), "{status:?}");

    let address = server.address.to_string();
    let mut restarted = listing.start(SERVER, [&address])?;
    restarted.wait_for("listening on ")?;
    let sent = listing.run(SENDER, [server.uri()])?;
    assert_eq!(sent.text, "3 messages sent\n");
    Ok(())
}

/// A frozen server closes no connection: only the receiver's keepalive pings can tell.
#[harness::test]
fn frozen_server_is_detected() -> Result {
    let (listing, mut server) = start_server(&["600"])?;
    let mut receiver = listing.start(RECEIVER, [server.uri()])?;
    receiver.wait_for("waiting for messages")?;
    server.process.freeze()?;
    let receiver = receiver.wait()?;
    assert_eq!(receiver.code, 1);
    assert!(receiver.text.contains("Error: Unknown: "), "{receiver:?}");
    Ok(())
}

#[harness::test]
async fn ten_thousand_idle_streams_stay_open() -> Result {
    const STREAMS: usize = 10_000;
    let (_, server) = start_server(&[])?;
    let mut open = JoinSet::new();
    let mut senders = Vec::new();
    let mut channel = client(&server).await?;
    for stream in 0..STREAMS {
        if stream % 1000 == 0 {
            channel = client(&server).await?;
        }
        let (sender, requests) = mpsc::channel(1);
        let mut client = channel.clone();
        open.spawn(async move { client.send_messages(ReceiverStream::new(requests)).await });
        senders.push(sender);
    }
    // Each stream carries a message, to one of a hundred mailboxes, so each is open.
    for (index, sender) in senders.iter().enumerate() {
        sender
            .send(request("jack", &format!("user-{}", index % 100), "在吗"))
            .await?;
    }
    let mut receiver = client(&server).await?;
    for user in 0..100 {
        let user = format!("user-{user}");
        let messages = receiver.receive_messages(ReceiveMessagesRequest { user });
        let mut messages = messages.await?.into_inner();
        for _ in 0..STREAMS / 100 {
            messages
                .message()
                .await?
                .context("no message: a stream is not open")?;
        }
    }
    drop(senders);
    let mut taken = 0;
    while let Some(sent) = open.join_next().await {
        taken += sent??.into_inner().taken;
    }
    assert_eq!(taken, STREAMS as u64);
    Ok(())
}

/// A connection carries a limited number of calls at once. The client queues the next one, without
/// an error.
#[harness::test]
async fn call_above_the_stream_limit_waits() -> Result {
    let (_, server) = start_server(&[])?;
    let client = client(&server).await?;
    let acknowledge = async |mut client: MessageServiceClient<Channel>| {
        let user = "mike".to_owned();
        let request = AcknowledgeMessagesRequest { user, through: 0 };
        client.acknowledge_messages(request).await
    };
    // The client knows the limit, which is in the server's SETTINGS, once it has a response.
    acknowledge(client.clone()).await?;
    let mut second_connection = MessageServiceClient::connect(server.uri()).await?;
    let mut open = Vec::new();
    for index in 0..MAX_STREAMS_PER_CONNECTION {
        let user = format!("user-{index}");
        let (sender, requests) = mpsc::channel(1);
        let mut client = client.clone();
        let call =
            tokio::spawn(async move { client.send_messages(ReceiverStream::new(requests)).await });
        sender.send(request("jack", &user, "在吗")).await?;
        // The call has begun once its message can be received.
        let messages = second_connection.receive_messages(ReceiveMessagesRequest { user });
        let message = messages.await?.into_inner().message().await?;
        message.context("the call has not begun")?;
        open.push((sender, call));
    }
    let one_more = tokio::spawn(acknowledge(client.clone()));
    // The second connection has a limit of its own, so its calls do not wait.
    for _ in 0..100 {
        acknowledge(second_connection.clone()).await?;
    }
    assert!(!one_more.is_finished(), "the call did not wait");
    open.pop();
    timeout(TIMEOUT, one_more).await???;
    Ok(())
}

/// 300 MB are sent to a receiver that does not read.
#[cfg(target_os = "linux")]
#[harness::test]
async fn stalled_receiver_uses_bounded_memory() -> Result {
    fn peak_kib(server: &Server) -> Result<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(value.context("no VmHWM")?.parse()?)
    }
    let (_, server) = start_server(&[])?;
    let mut client = client(&server).await?;
    let user = "mike".to_owned();
    let _unread = client
        .receive_messages(ReceiveMessagesRequest { user })
        .await?;
    let before = peak_kib(&server)?;

    let content = "界".repeat(1000);
    let messages = std::iter::repeat_n(request("jack", "mike", &content), 100_000);
    let status = client
        .send_messages(tokio_stream::iter(messages))
        .await
        .expect_err("the mailbox is full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let taken = status.metadata().get("messages-taken");
    assert_eq!(taken.context("no `messages-taken`")?, "256");

    // The mailbox, a copy in the buffers of the connection, and as much again for everything else.
    let bound_kib = 4 * Limits::default().messages * MAX_REQUEST_BYTES / 1024;
    let grown = peak_kib(&server)? - before;
    assert!(grown < bound_kib, "{grown} KiB is not below {bound_kib}");
    Ok(())
}

#[harness::test]
fn invalid_number_is_reported() -> Result {
    let listing = Listing::build("one-way-streams")?;
    for (arguments, message) in [
        (
            ["127.0.0.1:0", "soon", "1"],
            "Error: \"soon\" is not a number of seconds",
        ),
        (
            ["127.0.0.1:0", "5", "many"],
            "Error: \"many\" is not a number",
        ),
    ] {
        let output = listing.run(SERVER, arguments)?;
        ensure!(
            output.code == 1 && output.text.starts_with(message),
            "{output:?}"
        );
    }
    Ok(())
}

/// The statements of the page hold for the recorded results.
#[harness::test]
fn page_agrees_with_the_benchmark() -> Result {
    let results =
        Results::read(&workspace(), "one-way-streams")?.context("there are no results")?;
    for senders in ["1", "10", "100", "1000"] {
        let number = |scheme, column: &str| results.number(&[scheme, senders], column);
        assert!(number("mailbox", "p99 latency (ms)")? < 5.0);
        assert!(number("polling", "p50 latency (ms)")? > 50.0);
        assert!(number("polling", "p99 latency (ms)")? > 100.0);
        assert!(number("mailbox", "messages/s")? > 100_000.0);
        assert!(number("polling", "messages/s")? < 100.0);
        assert!(number("mailbox", "memory (MiB)")? < 100.0);
        assert!(number("polling", "memory (MiB)")? > 500.0);
    }
    let each = results.number(&["10000"], "memory for each (KiB)")?;
    assert!((6.0..12.0).contains(&each), "{each}");
    Ok(())
}

#[harness::test]
fn memory_limits_are_those_on_the_page() {
    let Limits {
        mailboxes,
        messages,
        ..
    } = Limits::default();
    assert_eq!(
        messages * MAX_REQUEST_BYTES,
        1024 * 1024,
        "1 MiB for a mailbox"
    );
    assert_eq!(mailboxes, 1000, "1 GiB in all");
    assert_eq!(Limits::default().idle, Duration::from_secs(5));
}

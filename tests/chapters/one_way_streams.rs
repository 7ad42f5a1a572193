//! The chapter `one-way-streams`, as its reader runs it: real programs, real
//! sockets, and more of both than a reader has terminals.

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
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};
use xtask::bench::Measured;

const SERVER: &str = "one-way-streams-server";
const SENDER: &str = "one-way-streams-sender";
const RECEIVER: &str = "one-way-streams-receiver";

/// More than any of this takes: what has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

const SENDERS: usize = 1000;
const MESSAGES: usize = 100;
const RECEIVERS: usize = 10;

fn started(arguments: &[&str]) -> Result<(Listing, Server)> {
    let listing = Listing::build("one-way-streams")?;
    let server = listing.server_with(SERVER, arguments)?;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_senders_lose_double_and_reorder_nothing() -> Result {
    let (_, server) = started(&["60"])?;
    everything_arrives(&server, |_| usize::MAX).await
}

/// Each receiver leaves again and again, without a word, with messages that it
/// has and has not acknowledged, and with messages under way to it.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_while_receivers_come_and_go() -> Result {
    let (_, server) = started(&["60"])?;
    everything_arrives(&server, |visit| 1 + visit * 37 % 400).await
}

/// Sends a hundred messages from each of a thousand senders, to ten receivers
/// who stay for so many messages in each of their visits.
async fn everything_arrives(server: &Server, stays: fn(usize) -> usize) -> Result {
    let mut receiving = JoinSet::new();
    for user in 0..RECEIVERS {
        let client = client(server).await?;
        receiving.spawn(receive_all(client, format!("收件人-{user}"), stays));
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
            assert_eq!(contents, expected, "of {from}");
            senders += 1;
        }
    }
    assert_eq!(senders, SENDERS);
    Ok(())
}

/// Everything for `user`, by sender. What comes again is known by its number.
async fn receive_all(
    mut client: MessageServiceClient<Channel>,
    user: String,
    stays: fn(usize) -> usize,
) -> Result<BTreeMap<String, Vec<String>>> {
    let mut by_sender: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen: BTreeMap<u64, Message> = BTreeMap::new();
    for visit in 0.. {
        let request = ReceiveMessagesRequest { user: user.clone() };
        let mut messages = client.receive_messages(request).await?.into_inner();
        let mut in_this_visit = 0;
        while in_this_visit < stays(visit) && seen.len() < SENDERS * MESSAGES / RECEIVERS {
            let response = messages.message().await?;
            let ReceiveMessagesResponse { number, message } = response.context("it goes on")?;
            let message = message.context("it is whole")?;
            in_this_visit += 1;
            if let Some(before) = seen.get(&number) {
                ensure!(*before == message, "{number} is another message now");
            } else {
                let of_sender = by_sender.entry(message.from.clone()).or_default();
                of_sender.push(message.content.clone());
                ensure!(
                    seen.last_key_value().is_none_or(|(&last, _)| last < number),
                    "{number} comes late"
                );
                seen.insert(number, message);
            }
            // Not each: some that were received come again in the next visit.
            if in_this_visit % 32 == 0 {
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

/// The program of the chapter is killed, and started again.
#[tokio::test]
async fn a_receiver_that_is_killed_goes_on_where_it_was() -> Result {
    let (listing, server) = started(&["2"])?;
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
    let first = receiver.end()?.output;
    for content in 20..40 {
        sender
            .send(request("jack", "mike", &format!("第{content}。")))
            .await?;
    }
    drop(sender);
    assert_eq!(sending.await??.into_inner().taken, 40);
    let second = listing.run(RECEIVER, [server.uri()])?.output;

    let numbers = |output: &str| -> Vec<usize> {
        let after = |line: &str| {
            line.strip_prefix("jack: 第")?
                .strip_suffix("。")?
                .parse()
                .ok()
        };
        output.lines().filter_map(after).collect()
    };
    let (first, second) = (numbers(&first), numbers(&second));
    let end = *first.last().context("something was received")?;
    assert_eq!(first, (0..=end).collect::<Vec<_>>());
    // The last one comes again if it was printed and not yet acknowledged.
    let start = *second.first().context("something was left")?;
    assert!(start == end + 1 || start == end, "{start} after {end}");
    assert_eq!(second, (start..40).collect::<Vec<_>>());
    Ok(())
}

/// Sender and receiver both know at once, and long before a keepalive would
/// tell; and they can start again.
#[tokio::test]
async fn a_server_that_is_killed_ends_every_stream() -> Result {
    let (listing, mut server) = started(&[])?;
    let mut client = client(&server).await?;
    let user = "mike".to_owned();
    let messages = client.receive_messages(ReceiveMessagesRequest { user });
    let mut messages = messages.await?.into_inner();
    let (sender, requests) = mpsc::channel(1);
    let mut sending = client.clone();
    let sending =
        tokio::spawn(async move { sending.send_messages(ReceiverStream::new(requests)).await });
    sender.send(request("jack", "mike", "在吗")).await?;
    messages.message().await?.context("a message comes")?;

    server.program.kill()?;
    let before_a_ping = KEEPALIVE_INTERVAL / 2;
    let status = timeout(before_a_ping, messages.message()).await?;
    assert_eq!(status.expect_err("it is dead").code(), Code::Unknown);
    let status = timeout(before_a_ping, sending).await??;
    let status = status.expect_err("it is dead");
    // Nobody knows how many were taken.
    assert!(status.metadata().is_empty(), "{status:?}");

    let address = server.address.to_string();
    let mut again = listing.start(SERVER, [&address])?;
    again.wait_for("listening on ")?;
    let sent = listing.run(SENDER, [server.uri()])?;
    assert_eq!(sent.output, "3 messages sent\n");
    Ok(())
}

/// A server that is frozen keeps its connections: only the receiver's own pings
/// find out.
#[test]
fn a_server_that_is_frozen_is_noticed() -> Result {
    let (listing, mut server) = started(&["600"])?;
    let mut receiver = listing.start(RECEIVER, [server.uri()])?;
    receiver.wait_for("waiting for messages")?;
    server.program.freeze()?;
    let receiver = receiver.end()?;
    assert_eq!(receiver.code, 1);
    assert!(receiver.output.contains("Error: Unknown: "), "{receiver:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_streams_are_held_open() -> Result {
    const STREAMS: usize = 10_000;
    let (_, server) = started(&[])?;
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
    // Each is open: a message goes through it, to one of a hundred mailboxes.
    for (at, sender) in senders.iter().enumerate() {
        sender
            .send(request("jack", &format!("user-{}", at % 100), "在吗"))
            .await?;
    }
    let mut other = client(&server).await?;
    for user in 0..100 {
        let user = format!("user-{user}");
        let messages = other.receive_messages(ReceiveMessagesRequest { user });
        let mut messages = messages.await?.into_inner();
        for _ in 0..STREAMS / 100 {
            messages.message().await?.context("a stream is not open")?;
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

/// One connection carries so many calls at once. The next one waits in the
/// client, in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_too_many_waits_for_another_to_end() -> Result {
    let (_, server) = started(&[])?;
    let client = client(&server).await?;
    let acknowledge = async |mut client: MessageServiceClient<Channel>| {
        let user = "mike".to_owned();
        let request = AcknowledgeMessagesRequest { user, through: 0 };
        client.acknowledge_messages(request).await
    };
    // The server has said what it allows once it has answered.
    acknowledge(client.clone()).await?;
    let mut other = MessageServiceClient::connect(server.uri()).await?;
    let mut open = Vec::new();
    for at in 0..MAX_STREAMS_PER_CONNECTION {
        let user = format!("user-{at}");
        let (sender, requests) = mpsc::channel(1);
        let mut client = client.clone();
        let call =
            tokio::spawn(async move { client.send_messages(ReceiverStream::new(requests)).await });
        sender.send(request("jack", &user, "在吗")).await?;
        // It has begun when a message of it can be received.
        let messages = other.receive_messages(ReceiveMessagesRequest { user });
        let message = messages.await?.into_inner().message().await?;
        message.context("the call has not begun")?;
        open.push((sender, call));
    }
    let one_more = tokio::spawn(acknowledge(client.clone()));
    // Another connection is not concerned, and answers while that one waits.
    for _ in 0..100 {
        acknowledge(other.clone()).await?;
    }
    assert!(!one_more.is_finished(), "there is no such limit");
    open.pop();
    timeout(PATIENCE, one_more).await???;
    Ok(())
}

/// 300 MB are sent to somebody who has stopped reading.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_stops_reading_costs_no_more_than_its_mailbox() -> Result {
    fn peak_kib(server: &Server) -> Result<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.program.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(value.context("Linux says so")?.parse()?)
    }
    let (_, server) = started(&[])?;
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
    assert_eq!(taken.context("it is told")?, "256");

    // The mailbox, a copy that is on its way, and as much again for the rest.
    let bound_kib = 4 * Limits::default().messages * MAX_REQUEST_BYTES / 1024;
    let grown = peak_kib(&server)? - before;
    assert!(grown < bound_kib, "{grown} KiB, and not {bound_kib}");
    Ok(())
}

#[test]
fn a_number_that_is_none_is_said_so() -> Result {
    let listing = Listing::build("one-way-streams")?;
    for (arguments, sentence) in [
        (
            ["127.0.0.1:0", "soon", "1"],
            "Error: \"soon\" is no number of seconds",
        ),
        (["127.0.0.1:0", "5", "many"], "Error: \"many\" is no number"),
    ] {
        let end = listing.run(SERVER, arguments)?;
        ensure!(end.code == 1 && end.output.starts_with(sentence), "{end:?}");
    }
    Ok(())
}

/// What the page says of the figures is true of the last that were measured.
#[test]
fn the_page_draws_its_conclusions_from_the_figures() -> Result {
    let measured = Measured::read(&workspace(), "one-way-streams")?.context("it was measured")?;
    for senders in ["1", "10", "100", "1000"] {
        let of = |scheme, column: &str| measured.number(&[scheme, senders], column);
        assert!(of("mailbox", "p99 latency (ms)")? < 5.0);
        assert!(of("polling", "p50 latency (ms)")? > 50.0);
        assert!(of("polling", "p99 latency (ms)")? > 100.0);
        assert!(of("mailbox", "messages/s")? > 100_000.0);
        assert!(of("polling", "messages/s")? < 100.0);
        assert!(of("mailbox", "memory (MiB)")? < 100.0);
        assert!(of("polling", "memory (MiB)")? > 500.0);
    }
    let each = measured.number(&["10000"], "memory for each (KiB)")?;
    assert!((6.0..12.0).contains(&each), "{each}");
    Ok(())
}

#[test]
fn the_bound_on_the_page_is_the_program_s() {
    let Limits {
        mailboxes,
        messages,
        ..
    } = Limits::default();
    assert_eq!(messages * MAX_REQUEST_BYTES, 1024 * 1024, "1 MiB a mailbox");
    assert_eq!(mailboxes, 1000, "1 GiB in all");
    assert_eq!(Limits::default().idle, Duration::from_secs(5));
}

//! One channel over many servers.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use service_discovery::{
    channel::Balanced,
    name::{Known, Name},
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
    retry::retried,
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{Code, Status, transport::Endpoint};

use super::{PATIENCE, Server, Slow, hello, known, nobody, soon, tcp};

fn fixed<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Balanced {
    Balanced::new(Name::fixed("hello:myworld", known(servers)))
}

async fn call(channel: &Balanced, time: Duration) -> Result<(String, u32), Status> {
    let name = "李雷".to_owned();
    let answer = retried(SayHelloRequest { name }, time, |request| {
        let mut client = GreeterServiceClient::new(channel.clone());
        async move { client.say_hello(request).await }
    });
    answer
        .await
        .map(|(response, more)| (response.message, more))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_take_strict_turns() -> Result<()> {
    let servers = [Server::start().await?, Server::start().await?];
    let mut channel = fixed(&servers);
    channel.settled().await;
    // In the order of the answer.
    for address in servers
        .each_ref()
        .map(|server| server.address)
        .iter()
        .cycle()
        .take(10)
    {
        let message = hello(channel.clone()).await?;
        assert_eq!(message, format!("Hello, 李雷! This is {address}."));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_share_three_servers_evenly() -> Result<()> {
    let servers = [
        Server::start().await?,
        Server::start().await?,
        Server::start().await?,
    ];
    let mut channel = fixed(&servers);
    channel.settled().await;
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let channel = channel.clone();
        callers.spawn(async move { hello(channel).await });
    }
    let mut shares = BTreeMap::new();
    while let Some(message) = callers.join_next().await {
        *shares.entry(message??).or_insert(0) += 1;
    }
    let mut shares: Vec<i32> = shares.into_values().collect();
    shares.sort_unstable();
    assert_eq!(shares, [33, 33, 34]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_passed_over_and_comes_back() -> Result<()> {
    let server = Server::start().await?;
    let late = nobody()?;
    let mut set = known([&server]);
    set.addresses.extend(tcp(&[late]));
    let mut channel = Balanced::new(Name::fixed("hello:myworld", set));
    channel.settled().await;
    for _ in 0..5 {
        let message = hello(channel.clone()).await?;
        assert!(message.contains(&server.address.to_string()), "{message}");
    }
    let _late = Server::start_at(&late.to_string()).await?;
    soon("it is connected to", async {
        while channel.servers().len() < 2 {
            channel.changed().await;
        }
    })
    .await?;
    // It was away, so it is behind the one that was there.
    for address in [server.address, late] {
        let message = hello(channel.clone()).await?;
        assert!(message.contains(&address.to_string()), "{message}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_set_is_said_in_time_and_mends() -> Result<()> {
    let (known_by, name) = Name::new("hello:myworld");
    let channel = Balanced::new(name);
    // Until there is an answer, it is not known that there is nobody.
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { hello(channel).await }
    });
    let (problem, nobody) = ("there is no such name", "nobody is there");
    let empty = |problem: Option<&str>| Known {
        problem: problem.map(str::to_owned),
        ..Known::default()
    };
    known_by.send_replace(Some(empty(Some(problem))));
    let status = waiting.await?.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), format!("hello:myworld: {problem}"));

    known_by.send_replace(Some(empty(None)));
    // With the reason instead of `DEADLINE_EXCEEDED`.
    let status = call(&channel, Duration::from_millis(300)).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), format!("hello:myworld: {nobody}"));

    let server = Server::start().await?;
    let mending = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel, PATIENCE).await }
    });
    known_by.send_replace(Some(known([&server])));
    assert!(mending.await??.0.contains(&server.address.to_string()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn that_all_are_down_is_said_in_time_and_mends() -> Result<()> {
    let addresses = [nobody()?, nobody()?].map(|address| address.to_string());
    let servers = [
        Server::start_at(&addresses[0]).await?,
        Server::start_at(&addresses[1]).await?,
    ];
    let mut channel = fixed(&servers);
    channel.settled().await;
    hello(channel.clone()).await?;
    drop(servers);
    let status = call(&channel, Duration::from_millis(500)).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let refused = status.message().matches("Connection refused").count();
    // Which of them was tried last, or all.
    assert!((1..=2).contains(&refused), "{}", status.message());

    let _back = Server::start_at(&addresses[1]).await?;
    let (message, _) = call(&channel, PATIENCE).await?;
    assert!(message.contains(&addresses[1]), "{message}");
    Ok(())
}

/// What tonic's own channel says of it, and what ours does.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_unavailable() -> Result<()> {
    let slow = Slow::new();
    let server = Server::slow(slow.clone()).await?;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address))?;
    let tonics = tokio::spawn(hello(endpoint.connect().await?));
    let ours = tokio::spawn(hello(fixed([&server])));
    slow.called.acquire_many(2).await?.forget();
    drop(server);
    let status = tonics.await?.unwrap_err();
    assert!(
        matches!(status.code(), Code::Unknown | Code::Cancelled),
        "{status}"
    );
    let status = ours.await?.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_server_dies_is_made_again_elsewhere() -> Result<()> {
    let slow = Slow::new();
    let dying = Server::slow(slow.clone()).await?;
    let (known_by, name) = Name::new("hello:myworld");
    known_by.send_replace(Some(known([&dying])));
    let channel = Balanced::new(name);
    let calling = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel, PATIENCE).await }
    });
    slow.called.acquire().await?.forget();
    let other = Server::start().await?;
    known_by.send_replace(Some(known([&dying, &other])));
    drop(dying);
    let (message, more) = calling.await??;
    assert!(message.contains(&other.address.to_string()), "{message}");
    assert!(more >= 1, "it was not made again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_taken_out_ends_its_calls_and_gets_no_more() -> Result<()> {
    let slow = Slow::new();
    let leaving = Server::slow(slow.clone()).await?;
    let staying = Server::start().await?;
    let (known_by, name) = Name::new("hello:myworld");
    known_by.send_replace(Some(known([&leaving])));
    let mut channel = Balanced::new(name);
    let under_way = tokio::spawn(hello(channel.clone()));
    slow.called.acquire().await?.forget();

    known_by.send_replace(Some(known([&staying])));
    soon("the other one is connected", async {
        while channel.servers() != Vec::from_iter(tcp(&[staying.address])) {
            channel.changed().await;
        }
    })
    .await?;
    for _ in 0..10 {
        let message = hello(channel.clone()).await?;
        assert!(message.contains(&staying.address.to_string()), "{message}");
    }
    slow.let_go.add_permits(1);
    assert_eq!(under_way.await??, "李雷");
    assert_eq!(slow.called.available_permits(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_no_broken_connection() -> Result<()> {
    let slow = Slow::new();
    let server = Server::slow(slow.clone()).await?;
    let mut channel = fixed([&server]);
    channel.settled().await;
    let status = call(&channel, Duration::from_millis(100))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    // The same connection serves the next one: nobody had to connect.
    assert_eq!(channel.servers(), Vec::from_iter(tcp(&[server.address])));
    slow.let_go.add_permits(2);
    let (message, more) = call(&channel, PATIENCE).await?;
    assert_eq!((message.as_str(), more), ("李雷", 0));
    Ok(())
}

/// The server takes one connection, and resets each call on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_server_resets_is_no_broken_connection() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (connection, _) = listener.accept().await?;
        let mut connection = h2::server::handshake(connection).await?;
        while let Some(call) = connection.accept().await {
            let (_, mut response) = call?;
            response.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
        }
        anyhow::Ok(())
    });
    let mut set = known([]);
    set.addresses.extend(tcp(&[address]));
    let mut channel = Balanced::new(Name::fixed("hello:myworld", set));
    channel.settled().await;
    for _ in 0..3 {
        let status = hello(channel.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert_eq!(channel.servers(), Vec::from_iter(tcp(&[address])));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_is_passed_on_and_not_tried_again() -> Result<()> {
    let server = Server::start().await?;
    let channel = fixed([&server]);
    let mut calls = 0;
    let name = " ".to_owned();
    let answer = retried(SayHelloRequest { name }, PATIENCE, |request| {
        calls += 1;
        let mut client = GreeterServiceClient::new(channel.clone());
        async move { client.say_hello(request).await }
    });
    let status = answer.await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "name is empty: say whom to greet");
    assert_eq!(calls, 1);
    Ok(())
}

/// Nothing is called, and nothing has to be: the connection itself tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_taken_out_before_it_is_called() -> Result<()> {
    let (dying, staying) = (Server::start().await?, Server::start().await?);
    let mut channel = fixed([&dying, &staying]);
    channel.settled().await;
    drop(dying);
    soon("it is taken out", async {
        while channel.servers() != Vec::from_iter(tcp(&[staying.address])) {
            channel.changed().await;
        }
    })
    .await
}

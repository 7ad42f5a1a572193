//! Servers that are dead, leaving, or say that they do not serve.

use std::sync::Arc;

use anyhow::Result;
use load_balancing::{
    SERVICE,
    backend::{Backend, State},
    balanced::Balanced,
    pb::greeter_service_server::GreeterServiceServer,
    policy::RoundRobin,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};
use tonic::{
    Code,
    codegen::http,
    transport::{self, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{Server, Slow, balanced, hello, is_out, is_ready, nobody, over, shares, soon};

/// A slow server, and what it says of its health.
async fn moody(slow: Slow) -> Result<(Server, HealthReporter)> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status(SERVICE, ServingStatus::Serving)
        .await;
    let server = Server::run(|listener, _| {
        transport::Server::builder()
            .add_service(health)
            .add_service(GreeterServiceServer::new(slow))
            .serve_with_incoming(TcpIncoming::from(listener))
    });
    Ok((server.await?, reporter))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_not_to_is_not_called_and_its_calls_end() -> Result<()> {
    let slow = Slow::new();
    let (server, reporter) = moody(slow.clone()).await?;
    let mut channel = balanced(RoundRobin::default(), &[&server]).await?;
    let under_way = tokio::spawn(hello(channel.clone()));
    slow.called.acquire().await?.forget();

    reporter
        .set_service_status(SERVICE, ServingStatus::NotServing)
        .await;
    soon("it is out", channel.until(is_out)).await?;
    let status = hello(channel.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let address = server.address;
    assert_eq!(
        status.message(),
        format!("nobody can be called: {address}: it says not to")
    );
    slow.let_go.add_permits(2);
    assert_eq!(under_way.await??, "李雷");

    reporter
        .set_service_status(SERVICE, ServingStatus::Serving)
        .await;
    soon("it is ready", channel.until(is_ready)).await?;
    assert_eq!(hello(channel).await?, "李雷");
    Ok(())
}

/// As grpc-go has it.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_health_service_is_well() -> Result<()> {
    let slow = Slow::new();
    slow.let_go.add_permits(1);
    let server = Server::slow(slow).await?;
    let channel = balanced(RoundRobin::default(), &[&server]).await?;
    assert_eq!(hello(channel).await?, "李雷");
    Ok(())
}

/// The watch is on the same connection: it tells, and no call has to.
#[tokio::test(flavor = "multi_thread")]
async fn that_one_is_dead_is_known_before_it_is_called() -> Result<()> {
    let (a, b) = (Server::start().await?, Server::start().await?);
    let mut channel = balanced(RoundRobin::default(), &[&a]).await?;
    drop(a);
    soon("it is out", channel.until(is_out)).await?;
    let status = hello(channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    // Beside another one, nobody notices.
    let dead = nobody()?;
    let backends = [dead, b.address].map(|address| Backend::new(address, 1));
    let mut channel = Balanced::new(RoundRobin::default(), backends);
    soon("it settles", channel.settled()).await?;
    for _ in 0..20 {
        assert!(
            hello(channel.clone())
                .await?
                .contains(&b.address.to_string())
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_under_a_call_is_unavailable() -> Result<()> {
    let slow = Slow::new();
    let server = Server::slow(slow.clone()).await?;
    let mut channel = balanced(RoundRobin::default(), &[&server]).await?;
    let under_way = tokio::spawn(hello(channel.clone()));
    slow.called.acquire().await?.forget();
    drop(server);
    let status = under_way.await?.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    // It has no health service: the call has told.
    soon("it is out", channel.until(is_out)).await?;
    assert_eq!(channel.backends()[0].pending(), 0);
    Ok(())
}

/// What stands between is cut once, under a call. Then there is one new connection,
/// which nobody takes for the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_broke_leaves_the_next_one_alone() -> Result<()> {
    let slow = Slow::new();
    let (server, _reporter) = moody(slow.clone()).await?;
    let between = TcpListener::bind("127.0.0.1:0").await?;
    let backend = Backend::new(between.local_addr()?, 1);
    let (connections, mut connected) = watch::channel(0);
    let cut = Arc::<Notify>::default();
    let cutting = cut.clone();
    let address = server.address;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = between.accept().await {
            let mut server = TcpStream::connect(address).await?;
            connections.send_modify(|connections| *connections += 1);
            let cut = cutting.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    () = cut.notified() => {}
                }
            });
        }
        anyhow::Ok(())
    });
    let mut channel = Balanced::new(RoundRobin::default(), [backend]);
    soon("it is ready", channel.until(is_ready)).await?;
    let under_way = tokio::spawn(hello(channel.clone()));
    slow.called.acquire().await?.forget();
    cut.notify_one();
    let status = under_way.await?.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");

    soon(
        "it connects",
        connected.wait_for(|connections| *connections == 2),
    )
    .await??;
    soon("it is ready", channel.until(is_ready)).await?;
    slow.let_go.add_permits(100);
    for _ in 0..100 {
        assert_eq!(hello(channel.clone()).await?, "李雷");
    }
    assert_eq!(*connected.borrow(), 2);
    Ok(())
}

/// The server takes one connection, knows nothing of health, and resets each call.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_server_resets_is_no_broken_connection() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (connection, _) = listener.accept().await?;
        let mut connection = h2::server::handshake(connection).await?;
        while let Some(call) = connection.accept().await {
            let (request, mut response) = call?;
            if request.uri().path().starts_with("/grpc.health.") {
                let unimplemented = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "12");
                response.send_response(unimplemented.body(())?, true)?;
            } else {
                response.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
            }
        }
        anyhow::Ok(())
    });
    let backend = Backend::new(address, 1);
    let mut channel = Balanced::new(RoundRobin::default(), [backend]);
    soon("it is ready", channel.until(is_ready)).await?;
    for _ in 0..3 {
        let status = hello(channel.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_loses_no_call() -> Result<()> {
    let stop = Arc::<Notify>::default();
    let stopped = stop.clone();
    let leaving = Server::until(async move { stopped.notified().await }).await?;
    let staying = Server::start().await?;
    let servers = [&leaving, &staying];
    let mut watched = balanced(RoundRobin::default(), &servers).await?;
    let channel = over("round-robin", &servers).await?;
    let before = shares(&channel, 100, &servers).await?;
    assert_eq!(before, [50, 50, 0]);
    stop.notify_one();
    // Calls all the time, until it has gone.
    let mut failed = 0;
    soon("it has gone", async {
        while !watched
            .backends()
            .iter()
            .any(|one| matches!(one.state(), State::Out(why) if why.contains("refused")))
        {
            failed += shares(&channel, 20, &servers).await?[2];
        }
        anyhow::Ok(())
    })
    .await??;
    assert_eq!(failed, 0);
    assert_eq!(shares(&channel, 20, &servers).await?, [0, 20, 0]);
    watched.settled().await;
    Ok(())
}

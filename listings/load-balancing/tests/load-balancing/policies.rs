//! Which servers each policy calls.

use anyhow::Result;
use load_balancing::{
    backend::Backend,
    balanced::Balanced,
    channels::channel,
    policy::{LeastPending, PickFirst, RoundRobin, Weighted},
};

use http_body_util::{BodyExt, Full};
use tonic::{body::Body, codegen::http};
use tower::Service;

use super::{Server, Slow, balanced, hello, is_out, over, shares, soon};

#[tokio::test(flavor = "multi_thread")]
async fn in_turn_the_shares_are_equal() -> Result<()> {
    let (a, b, c) = (
        Server::start().await?,
        Server::start().await?,
        Server::start().await?,
    );
    let channel = over("round-robin", &[&a, &b, &c]).await?;
    assert_eq!(
        shares(&channel, 3000, &[&a, &b, &c]).await?,
        [1000, 1000, 1000, 0]
    );
    // And with a call that is left over.
    let mut shares = shares(&channel, 100, &[&a, &b, &c]).await?;
    shares.sort_unstable();
    assert_eq!(shares, [0, 33, 33, 34]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_is_called_until_it_dies() -> Result<()> {
    let (a, b) = (Server::start().await?, Server::start().await?);
    let mut channel = balanced(PickFirst, &[&a, &b]).await?;
    for _ in 0..10 {
        assert!(
            hello(channel.clone())
                .await?
                .contains(&a.address.to_string())
        );
    }
    drop(a);
    let first = channel.backends()[0].clone();
    soon("the first is out", async {
        while !is_out(&first.state()) {
            channel.changed().await;
        }
    })
    .await?;
    for _ in 0..10 {
        assert!(
            hello(channel.clone())
                .await?
                .contains(&b.address.to_string())
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_is_kept_and_spread() -> Result<()> {
    let (a, b, c) = (
        Server::start().await?,
        Server::start().await?,
        Server::start().await?,
    );
    let weights = [(&a, 3), (&b, 1), (&c, 1)];
    let backends = weights.map(|(server, weight)| Backend::new(server.address, weight));
    let mut ours = Balanced::new(Weighted::default(), backends);
    soon("it settles", ours.settled()).await?;
    let mut order = String::new();
    for _ in 0..10 {
        let message = hello(ours.clone()).await?;
        let who = weights
            .iter()
            .position(|(server, _)| message.contains(&server.address.to_string()));
        order += ["a", "b", "c"][who.unwrap()];
    }
    assert_eq!(order, "abacaabaca");
    let servers = weights.map(|(server, weight)| (server.address, weight));
    let channel = channel("weighted", &servers).await?;
    assert_eq!(
        shares(&channel, 3000, &[&a, &b, &c]).await?,
        [1800, 600, 600, 0]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_answered_gets_no_more_while_others_have() -> Result<()> {
    let slow = Slow::new();
    let (a, b) = (Server::slow(slow.clone()).await?, Server::start().await?);
    let channel = balanced(LeastPending::default(), &[&a, &b]).await?;
    // Of two that are idle, one after the other.
    let stuck = tokio::spawn(hello(channel.clone()));
    slow.called.acquire().await?.forget();
    assert_eq!(channel.backends()[0].pending(), 1);
    for _ in 0..100 {
        assert!(
            hello(channel.clone())
                .await?
                .contains(&b.address.to_string())
        );
    }
    slow.let_go.add_permits(1);
    assert_eq!(stuck.await??, "李雷");
    assert_eq!(channel.backends()[0].pending(), 0);
    Ok(())
}

/// A stream is in progress until its last message, and so is any other body.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_counts_until_its_body_is_gone() -> Result<()> {
    let server = Server::start().await?;
    let mut channel = balanced(LeastPending::default(), &[&server]).await?;
    let pending = channel.backends()[0].clone();
    // What a generated client sends for the name "a", but with a hand on the answer.
    let message = Full::from(&b"\0\0\0\0\x03\n\x01a"[..]);
    let request = http::Request::post("http://localhost/hello.v1.GreeterService/SayHello")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(message.map_err(|never| match never {})))?;
    let response = channel.call(request).await?;
    assert_eq!(pending.pending(), 1);
    drop(response);
    assert_eq!(pending.pending(), 0);
    Ok(())
}

/// In turn, every second call of as many waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn in_turn_a_slow_one_gets_as_many_as_others() -> Result<()> {
    let slow = Slow::new();
    let (a, b) = (Server::slow(slow.clone()).await?, Server::start().await?);
    let channel = balanced(RoundRobin::default(), &[&a, &b]).await?;
    let calls: Vec<_> = (0..20)
        .map(|_| tokio::spawn(hello(channel.clone())))
        .collect();
    slow.called.acquire_many(10).await?.forget();
    assert_eq!(channel.backends()[0].pending(), 10);
    slow.let_go.add_permits(10);
    for call in calls {
        call.await??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn towers_balancers_call_all_of_them() -> Result<()> {
    let (a, b, c) = (
        Server::start().await?,
        Server::start().await?,
        Server::start().await?,
    );
    for policy in ["p2c-pending", "p2c-ewma"] {
        let channel = over(policy, &[&a, &b, &c]).await?;
        let shares = shares(&channel, 300, &[&a, &b, &c]).await?;
        assert_eq!(shares[3], 0, "{policy}: {shares:?}");
        assert!(
            shares[..3].iter().all(|share| *share > 0),
            "{policy}: {shares:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_nobody_knows_is_said_so() {
    let address = "127.0.0.1:9".parse().unwrap();
    let error = channel("fastest", &[(address, 1)]).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("nobody knows `fastest`, only one, tonic, "),
        "{said}"
    );
    let error = channel("round-robin", &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "there is nobody to call");
}

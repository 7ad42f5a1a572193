//! What tonic has, and what it does not do.

use anyhow::Result;
use load_balancing::channels::channel;
use tonic::Code;

use super::{Server, hello, nobody, over, shares};

// ANCHOR: chance
/// 60 calls, one after the other: by chance instead of in turn.
#[tokio::test(flavor = "multi_thread")]
async fn tonics_balancer_leaves_it_to_chance() -> Result<()> {
    let (a, b, c) = (
        Server::start().await?,
        Server::start().await?,
        Server::start().await?,
    );
    let channel = over("tonic", &[&a, &b, &c]).await?;
    let mut order = Vec::new();
    for _ in 0..60 {
        order.push(hello(channel.clone()).await?);
    }
    // By chance, two of the sixty are the same in a row; in turn, never. (That this
    // fails although it is left to chance has a probability of 10 to the power of -10.)
    assert!(order.windows(2).any(|two| two[0] == two[1]), "{order:?}");
    assert!(
        shares(&channel, 600, &[&a, &b, &c]).await?[..3]
            .iter()
            .all(|share| *share > 100)
    );
    Ok(())
}

// ANCHOR_END: chance
/// It goes on calling who is not there.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_down_some_calls_fail_and_ours_do_not() -> Result<()> {
    let (a, b) = (Server::start().await?, Server::start().await?);
    let servers = [a.address, b.address, nobody()?].map(|address| (address, 1));
    for (policy, fail) in [
        ("tonic", true),
        ("p2c-pending", true),
        ("p2c-ewma", true),
        ("round-robin", false),
        ("least-pending", false),
    ] {
        let channel = channel(policy, &servers).await?;
        let failed = shares(&channel, 300, &[&a, &b]).await?[2];
        assert_eq!(failed > 0, fail, "{policy}: {failed} failed");
    }
    // All fail, if nobody is there.
    let status = hello(channel("tonic", &servers[2..]).await?)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    Ok(())
}

/// One connection, whatever is at its other end.
#[tokio::test(flavor = "multi_thread")]
async fn one_channel_is_one_server() -> Result<()> {
    let (a, b) = (Server::start().await?, Server::start().await?);
    let channel = over("one", &[&a, &b]).await?;
    assert_eq!(shares(&channel, 100, &[&a, &b]).await?, [100, 0, 0]);
    Ok(())
}

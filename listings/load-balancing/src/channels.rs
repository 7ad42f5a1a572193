//! Every way to call many servers, by its name.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time;
use tonic::{
    Status,
    body::Body,
    codegen::{StdError, http},
    transport::{self, Channel},
};
use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwmaDiscover, PendingRequestsDiscover},
    util::BoxCloneSyncService,
};

use crate::{
    backend::{Backend, CONNECT, endpoint},
    balanced::Balanced,
    policy::{LeastPending, PickFirst, Policy, RoundRobin, Weighted},
};

/// Whatever a generated client can call.
pub type AnyChannel = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// The names that [`channel`] knows.
pub const NAMES: [&str; 8] = [
    "one",
    "tonic",
    "pick-first",
    "round-robin",
    "least-pending",
    "weighted",
    "p2c-pending",
    "p2c-ewma",
];

/// How many calls may wait to be given to a server.
const BUFFER: usize = 1024;

// ANCHOR: p2c
/// How long a call is taken to be until there has been one, and how fast an old one
/// is forgotten.
const RTT: Duration = Duration::from_millis(1);
const DECAY: Duration = Duration::from_secs(10);

/// Of two by chance, the one with fewer calls in progress.
fn p2c_pending(servers: Vec<Channel>) -> AnyChannel {
    let servers = ServiceList::new::<http::Request<Body>>(servers);
    let loaded = PendingRequestsDiscover::new(servers, CompleteOnResponse::default());
    any(Buffer::new(Balance::new(loaded), BUFFER))
}

/// Of two by chance, the one that is likely to answer first: it takes how long the
/// last calls took, and how many are in progress.
fn p2c_ewma(servers: Vec<Channel>) -> AnyChannel {
    let servers = ServiceList::new::<http::Request<Body>>(servers);
    let complete = CompleteOnResponse::default();
    let loaded = PeakEwmaDiscover::new::<http::Request<Body>>(servers, RTT, DECAY, complete);
    any(Buffer::new(Balance::new(loaded), BUFFER))
}
// ANCHOR_END: p2c

/// A channel of this name over these servers.
///
/// # Errors
///
/// Says so if there is no such name, or nobody to call.
pub async fn channel(name: &str, servers: &[(SocketAddr, u32)]) -> Result<AnyChannel> {
    let (first, _) = *servers.first().context("there is nobody to call")?;
    let endpoints = || servers.iter().map(|(address, _)| endpoint(*address));
    let lazy = || -> Result<Vec<Channel>, transport::Error> {
        endpoints().map(|one| Ok(one?.connect_lazy())).collect()
    };
    Ok(match name {
        "one" => any(endpoint(first)?.connect_lazy()),
        // ANCHOR: tonic
        "tonic" => {
            let endpoints = endpoints().collect::<Result<Vec<_>, _>>()?;
            any(Channel::balance_list(endpoints.into_iter()))
        }
        // ANCHOR_END: tonic
        "pick-first" => ours(PickFirst, servers).await,
        "round-robin" => ours(RoundRobin::default(), servers).await,
        "least-pending" => ours(LeastPending::default(), servers).await,
        "weighted" => ours(Weighted::default(), servers).await,
        "p2c-pending" => p2c_pending(lazy()?),
        "p2c-ewma" => p2c_ewma(lazy()?),
        _ => bail!("nobody knows `{name}`, only {}", NAMES.join(", ")),
    })
}

async fn ours(policy: impl Policy + 'static, servers: &[(SocketAddr, u32)]) -> AnyChannel {
    let backends = servers
        .iter()
        .map(|(address, weight)| Backend::new(*address, *weight));
    let mut channel = Balanced::new(policy, backends);
    // Otherwise the first calls would all go to the one that is connected first. But
    // one that is silent is not waited for.
    time::timeout(CONNECT, channel.settled()).await.ok();
    any(channel)
}

fn any<S>(service: S) -> AnyChannel
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Error: Into<StdError>,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(|error| Status::from_error(error.into())))
}

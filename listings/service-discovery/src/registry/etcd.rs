//! etcd: keys with leases, and a watch from a revision on. It speaks gRPC, and so
//! what calls it is generated from its contract.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Error, Result, bail, ensure};
use tokio::{sync::watch, time};
use tokio_stream::StreamExt;
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use super::{Found, LEASE, Lease, Registry};
use crate::target;
use pb::{
    KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, WatchCreateRequest, WatchRequest, event::EventType, kv_client::KvClient,
    lease_client::LeaseClient, watch_client::WatchClient, watch_request::RequestUnion,
};

/// What the build script generated from `etcd.proto`.
pub mod pb {
    tonic::include_proto!("etcdserverpb");
}

/// How long etcd may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often a silent etcd is asked whether it is there, while a call is open: a watch
/// can be silent for days. etcd ends a connection on which it is asked more often than
/// every five seconds, or without an open call.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// With it, etcd ends a watch at a member that has lost the others, which would hear of
/// no change and look as if nothing happened.
const REQUIRE_LEADER: &str = "hasleader";

/// A cluster of etcd.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<(SocketAddr, Channel)>,
    /// Whose turn it is: it stays with a member for as long as that answers.
    turn: AtomicUsize,
}

impl Etcd {
    /// The etcd with these members, whether they are there or not.
    ///
    /// # Errors
    ///
    /// Fails if there are none.
    pub fn new(members: Vec<SocketAddr>) -> Result<Self> {
        ensure!(!members.is_empty(), "an etcd has at least one member");
        let connect = |address: SocketAddr| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?
                .connect_timeout(TIMEOUT)
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(TIMEOUT);
            anyhow::Ok((address, endpoint.connect_lazy()))
        };
        Ok(Self {
            members: members.into_iter().map(connect).collect::<Result<_>>()?,
            turn: AtomicUsize::new(0),
        })
    }

    /// Asks the member whose turn it is. If it fails, or is not waited for until it has
    /// answered, the turn has gone to the next one.
    async fn ask<T, F>(&self, question: impl FnOnce(Channel) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (_, channel) = &self.members[turn % self.members.len()];
        let answer = question(channel.clone()).await?;
        self.turn.store(turn, Ordering::Relaxed);
        Ok(answer)
    }
}

/// Where the addresses of a service are, and the first key behind them: `0` is the
/// character after `/`.
fn keys(service: &str) -> [Vec<u8>; 2] {
    ["/", "0"].map(|end| format!("/services/{service}{end}").into_bytes())
}

impl fmt::Display for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.members.iter().map(|(address, _)| *address).collect();
        write!(f, "etcd at {}", target::list(&members))
    }
}

#[tonic::async_trait]
impl Registry for Etcd {
    // ANCHOR: register
    async fn register(&self, service: &str, address: SocketAddr) -> Result<Lease> {
        let [key, _] = keys(service);
        self.ask(|channel| async move {
            let granted = LeaseClient::new(channel.clone())
                .lease_grant(LeaseGrantRequest {
                    ttl: LEASE.as_secs().try_into()?,
                })
                .await?;
            let lease = granted.into_inner().id;
            KvClient::new(channel)
                .put(PutRequest {
                    key: [key, address.to_string().into()].concat(),
                    value: address.to_string().into(),
                    lease,
                })
                .await?;
            Ok(Lease(lease.to_string()))
        })
        .await
    }

    async fn heartbeat(&self, Lease(lease): &Lease) -> Result<bool> {
        let once = tokio_stream::once(LeaseKeepAliveRequest { id: lease.parse()? });
        self.ask(|channel| async move {
            let kept = LeaseClient::new(channel).lease_keep_alive(once).await?;
            let kept = kept.into_inner().message().await?;
            Ok(kept.context("etcd said nothing")?.ttl > 0)
        })
        .await
    }

    async fn deregister(&self, Lease(lease): &Lease) -> Result<()> {
        let id = lease.parse()?;
        // What was put with it goes too.
        self.ask(|channel| async move {
            LeaseClient::new(channel)
                .lease_revoke(LeaseRevokeRequest { id })
                .await?;
            Ok(())
        })
        .await
    }
    // ANCHOR_END: register

    async fn watch(&self, service: &str, found: watch::Sender<Found>) -> Error {
        let watching = self.ask(|channel| watch_all(channel, service, &found));
        match watching.await {
            Err(error) => error,
        }
    }
}

// ANCHOR: watch
async fn watch_all(
    channel: Channel,
    service: &str,
    found: &watch::Sender<Found>,
) -> Result<Infallible> {
    let [key, range_end] = keys(service);
    let range = RangeRequest {
        key: key.clone(),
        range_end: range_end.clone(),
    };
    let mut kv = KvClient::new(channel.clone());
    let all = time::timeout(TIMEOUT, kv.range(range)).await??.into_inner();
    let mut addresses = Addresses::default();
    for record in all.kvs {
        addresses.put(record);
    }
    addresses.tell(found);

    // Everything that has happened since: nothing is missed, and nothing comes twice.
    let revision = all
        .header
        .context("etcd did not say when that was")?
        .revision;
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key,
            range_end,
            start_revision: revision + 1,
        })),
    };
    // Were the requests to end, etcd would end the watch.
    let requests = tokio_stream::once(create).chain(tokio_stream::pending());
    let mut requests = Request::new(requests);
    let yes = MetadataValue::from_static("true");
    requests.metadata_mut().insert(REQUIRE_LEADER, yes);
    let mut watch = WatchClient::new(channel);
    let watching = time::timeout(TIMEOUT, watch.watch(requests)).await??;
    let mut changes = watching.into_inner();
    while let Some(change) = changes.message().await? {
        if change.canceled {
            // What was asked for may have been compacted. The caller begins
            // again, with a list.
            bail!("the watch was ended: {}", change.cancel_reason);
        }
        for event in change.events {
            let kind = event.r#type();
            let record = event.kv.unwrap_or_default();
            match kind {
                EventType::Put => addresses.put(record),
                EventType::Delete => addresses.delete(&record),
            }
        }
        addresses.tell(found);
    }
    bail!("the watch has ended")
}
// ANCHOR_END: watch

// ANCHOR: addresses
/// The addresses of a service, by key.
#[derive(Default)]
struct Addresses(BTreeMap<Vec<u8>, SocketAddr>);

impl Addresses {
    fn put(&mut self, KeyValue { key, value }: KeyValue) {
        let text = String::from_utf8_lossy(&value);
        if let Ok(address) = text.parse() {
            self.0.insert(key, address);
            return;
        }
        self.0.remove(&key);
        let key = String::from_utf8_lossy(&key);
        tracing::warn!(%key, value = %text, "a bad record: it is no address");
    }

    fn delete(&mut self, record: &KeyValue) {
        self.0.remove(&record.key);
    }

    fn tell(&self, found: &watch::Sender<Found>) {
        found.send_replace(Some(self.0.values().copied().collect()));
    }
}
// ANCHOR_END: addresses

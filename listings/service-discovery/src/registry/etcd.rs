//! etcd: keys with leases, and a watch from a revision on. It speaks gRPC, and so
//! what calls it is generated from its contract.

use std::{collections::BTreeMap, convert::Infallible, fmt, net::SocketAddr, time::Duration};

use anyhow::{Context, Error, Result, bail};
use tokio::{sync::watch, time};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

use super::{Found, LEASE, Lease, Registry};
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

/// How often a silent etcd is asked whether it is there: a watch can be silent for
/// days. It ends the connection if it is asked more often than each five seconds.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// An etcd.
#[derive(Clone, Debug)]
pub struct Etcd {
    server: SocketAddr,
    channel: Channel,
}

impl Etcd {
    /// The etcd at `server`, whether it is there or not.
    ///
    /// # Errors
    ///
    /// None that we know of: an address makes a URI.
    pub fn new(server: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{server}"))?
            .connect_timeout(TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(TIMEOUT)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_lazy();
        Ok(Self { server, channel })
    }
}

/// Where the addresses of a service are, and the first key behind them: `0` is the
/// character after `/`.
fn keys(service: &str) -> [Vec<u8>; 2] {
    ["/", "0"].map(|end| format!("/services/{service}{end}").into_bytes())
}

impl fmt::Display for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd at {}", self.server)
    }
}

#[tonic::async_trait]
impl Registry for Etcd {
    // ANCHOR: register
    async fn register(&self, service: &str, address: SocketAddr) -> Result<Lease> {
        let granted = LeaseClient::new(self.channel.clone())
            .lease_grant(LeaseGrantRequest {
                ttl: LEASE.as_secs().try_into()?,
            })
            .await?;
        let lease = granted.into_inner().id;
        let [key, _] = keys(service);
        KvClient::new(self.channel.clone())
            .put(PutRequest {
                key: [key, address.to_string().into()].concat(),
                value: address.to_string().into(),
                lease,
            })
            .await?;
        Ok(Lease(lease.to_string()))
    }

    async fn heartbeat(&self, Lease(lease): &Lease) -> Result<bool> {
        let once = tokio_stream::once(LeaseKeepAliveRequest { id: lease.parse()? });
        let kept = LeaseClient::new(self.channel.clone())
            .lease_keep_alive(once)
            .await?;
        let kept = kept.into_inner().message().await?;
        Ok(kept.context("etcd said nothing")?.ttl > 0)
    }

    async fn deregister(&self, Lease(lease): &Lease) -> Result<()> {
        // What was put with it goes too.
        LeaseClient::new(self.channel.clone())
            .lease_revoke(LeaseRevokeRequest { id: lease.parse()? })
            .await?;
        Ok(())
    }
    // ANCHOR_END: register

    async fn watch(&self, service: &str, found: watch::Sender<Found>) -> Error {
        match watch_all(self.channel.clone(), service, &found).await {
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
    let mut watch = WatchClient::new(channel);
    let watching = time::timeout(TIMEOUT, watch.watch(requests)).await??;
    let mut changes = watching.into_inner();
    while let Some(change) = changes.message().await? {
        if change.canceled {
            // What was asked for may have been compacted. Whoever calls us begins
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

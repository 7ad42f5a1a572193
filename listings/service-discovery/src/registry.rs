//! Who serves what: servers say so, and clients are told.

use std::{collections::BTreeSet, fmt, future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Error, Result, bail};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{self, Instant},
};

use crate::{address::Address, backoff::Backoff, name::Known};

pub mod consul;
pub mod etcd;
pub mod memory;

/// How long a server is believed to be there after it was last heard of, in whole
/// seconds: etcd and Consul know no others, and etcd takes none below two.
pub const LEASE: Duration = Duration::from_secs(3);

/// How often it says that it is.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long to wait before a registry that failed is asked again.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
};

// ANCHOR: registry
/// Where servers say that they are there, and clients hear of it.
#[tonic::async_trait]
pub trait Registry: fmt::Display + Send + Sync {
    /// Says that `service` is at `address`, for as long as a [`LEASE`].
    ///
    /// # Errors
    ///
    /// Fails if the registry cannot be reached, or refuses. So do the others.
    async fn register(&self, service: &str, address: SocketAddr) -> Result<Lease>;

    /// Says that it is still there, for as long as another lease. Returns whether the
    /// registry knows of it: if not, it has to be registered again.
    async fn heartbeat(&self, lease: &Lease) -> Result<bool>;

    /// Says that it is there no more.
    async fn deregister(&self, lease: &Lease) -> Result<()>;

    /// Sends all addresses of `service`, first of all and whenever they change. What
    /// cannot be understood is left out, with a warning. Returns why it cannot go on.
    async fn watch(&self, service: &str, found: watch::Sender<Found>) -> Error;
}

/// What a registry calls a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease(String);

/// The addresses of a service; `None` until there is an answer.
pub type Found = Option<BTreeSet<SocketAddr>>;
// ANCHOR_END: registry

// ANCHOR: registration
/// A server that is registered, as long as this is not ended.
#[derive(Debug)]
pub struct Registration {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Registration {
    /// Registers `address` for `service`, and keeps it registered, in a task of its
    /// own: that the registry cannot be reached does not stop the server.
    pub fn new(registry: Arc<dyn Registry>, service: &str, address: SocketAddr) -> Self {
        let (end, ended) = oneshot::channel();
        let service = service.to_owned();
        let task = tokio::spawn(keep(registry, service, address, ended));
        Self { end, task }
    }

    /// Takes the address out of the registry, if that can be reached: if not, the
    /// lease ends soon. A client that has heard of it sends no more calls.
    pub async fn end(self) {
        self.end.send(()).ok();
        // It has nothing left to do but this, in bounded time.
        self.task.await.ok();
    }
}

async fn keep(
    registry: Arc<dyn Registry>,
    service: String,
    address: SocketAddr,
    mut ended: oneshot::Receiver<()>,
) {
    let mut lease = None;
    let mut failures = 0;
    loop {
        let said = say(&*registry, &service, address, &mut lease);
        let pause = match in_time(said).await {
            // Forgotten: once more, at once.
            Ok(()) if lease.is_none() => Duration::ZERO,
            Ok(()) => {
                failures = 0;
                HEARTBEAT
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(%registry, error = %error.root_cause(), "no answer");
                }
                PAUSES.pause(failures).min(HEARTBEAT)
            }
        };
        tokio::select! {
            _ = &mut ended => break,
            () = time::sleep(pause) => {}
        }
    }
    let Some(lease) = lease else { return };
    match in_time(registry.deregister(&lease)).await {
        Ok(()) => tracing::info!(service, %address, "deregistered"),
        Err(error) => {
            tracing::warn!(%registry, error = %error.root_cause(), "our lease will end by itself")
        }
    }
}

/// Says that we are there.
async fn say(
    registry: &dyn Registry,
    service: &str,
    address: SocketAddr,
    lease: &mut Option<Lease>,
) -> Result<()> {
    match lease {
        None => {
            *lease = Some(registry.register(service, address).await?);
            tracing::info!(service, %address, "registered");
        }
        Some(held) => {
            if !registry.heartbeat(held).await? {
                tracing::warn!(service, %address, "the registry has forgotten us");
                *lease = None;
            }
        }
    }
    Ok(())
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match time::timeout(HEARTBEAT, work).await {
        Ok(done) => done,
        Err(_) => bail!("no answer in {HEARTBEAT:?}"),
    }
}
// ANCHOR_END: registration

// ANCHOR: follow
/// Keeps up to date what is known of `service`, until nobody wants to know any more.
///
/// If the registry is lost, all stays as it is. If it is there again, it may have
/// forgotten everybody; but a server that lives says so again in a third of a lease. So for
/// the length of a lease, those of before are kept beside those that it knows.
pub async fn follow(
    registry: Arc<dyn Registry>,
    service: String,
    known: watch::Sender<Option<Known>>,
) {
    let mut failures = 0;
    let mut before = BTreeSet::new();
    loop {
        let (sender, mut found) = watch::channel(None);
        let mut watching = registry.watch(&service, sender);
        let mut trusted = None;
        let error = loop {
            tokio::select! {
                () = known.closed() => return,
                error = &mut watching => break error,
                Ok(()) = found.changed() => {
                    failures = 0;
                    trusted.get_or_insert(Instant::now() + LEASE);
                }
                () = until(trusted), if !before.is_empty() => before.clear(),
            }
            let addresses = found.borrow_and_update().clone().unwrap_or_default();
            let addresses = addresses
                .union(&before)
                .copied()
                .map(Address::Tcp)
                .collect();
            let problem = None;
            known.send_replace(Some(Known { addresses, problem }));
        };
        failures += 1;
        let problem = format!("{registry}: {}", error.root_cause());
        if failures == 1 {
            tracing::warn!(service, problem, "lost the registry: all stays as it is");
        }
        let last = known.borrow().clone().unwrap_or_default();
        let tcp = |address: &Address| match address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        };
        before = last.addresses.iter().filter_map(tcp).collect();
        let problem = Some(problem);
        known.send_replace(Some(Known { problem, ..last }));
        tokio::select! {
            () = known.closed() => return,
            () = time::sleep(PAUSES.pause(failures)) => {}
        }
    }
}

async fn until(trusted: Option<Instant>) {
    match trusted {
        Some(trusted) => time::sleep_until(trusted).await,
        None => future::pending().await,
    }
}
// ANCHOR_END: follow

//! A registry in the memory of one process: for tests, and to see how one works.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
};

use anyhow::{Error, Result, anyhow};
use tokio::{sync::watch, time::Instant};

use super::{Found, LEASE, Lease, Registry};
use crate::name::tell;

// ANCHOR: memory
/// Who is registered, and until when.
#[derive(Debug, Default)]
pub struct Memory {
    records: watch::Sender<BTreeMap<Record, Instant>>,
}

/// A service, and one of its addresses.
type Record = (String, SocketAddr);

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this process")
    }
}

#[tonic::async_trait]
impl Registry for Memory {
    async fn register(&self, service: &str, address: SocketAddr) -> Result<Lease> {
        let now = Instant::now();
        let record = (service.to_owned(), address);
        self.records.send_modify(|records| {
            records.retain(|_, until| *until > now);
            records.insert(record, now + LEASE);
        });
        Ok(Lease(format!("{service} {address}")))
    }

    async fn heartbeat(&self, lease: &Lease) -> Result<bool> {
        let record = record(lease)?;
        let now = Instant::now();
        let mut alive = false;
        self.records.send_if_modified(|records| {
            if let Some(until) = records.get_mut(&record).filter(|until| **until > now) {
                *until = now + LEASE;
                alive = true;
            }
            // Nobody comes or goes.
            false
        });
        Ok(alive)
    }

    async fn deregister(&self, lease: &Lease) -> Result<()> {
        let record = record(lease)?;
        self.records
            .send_if_modified(|records| records.remove(&record).is_some());
        Ok(())
    }

    async fn watch(&self, service: &str, found: watch::Sender<Found>) -> Error {
        let mut records = self.records.subscribe();
        loop {
            let now = Instant::now();
            let alive: BTreeMap<SocketAddr, Instant> = records
                .borrow_and_update()
                .iter()
                .filter(|((of, _), until)| of == service && **until > now)
                .map(|((_, address), until)| (*address, *until))
                .collect();
            let next = alive.values().min().copied();
            tell(&found, BTreeSet::from_iter(alive.into_keys()));
            tokio::select! {
                changed = records.changed() => if changed.is_err() {
                    return anyhow!("the registry is gone");
                },
                // A lease that was prolonged meanwhile is found to be so.
                () = super::until(next) => {}
            }
        }
    }
}
// ANCHOR_END: memory

fn record(Lease(lease): &Lease) -> Result<Record> {
    let (service, address) = lease
        .split_once(' ')
        .ok_or_else(|| anyhow!("`{lease}` is no lease of ours"))?;
    Ok((service.to_owned(), address.parse()?))
}

//! Consul: services with a check that has to be passed, and queries that wait for
//! news. It speaks HTTP.

use std::{convert::Infallible, fmt, net::SocketAddr, time::Duration};

use anyhow::{Context, Error, Result, ensure};
use reqwest::{Client, StatusCode, header::HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};

use super::{Found, LEASE, Lease, Registry};
use crate::name::tell;

/// How long Consul may take to connect to, and to answer what it has to answer at
/// once.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long it may wait for news. It takes up to a sixteenth longer, by chance.
const WAIT: Duration = Duration::from_secs(10);

/// How often it is asked for news, at most: a service that comes and goes all the
/// time is not to keep everybody busy.
const PACE: Duration = Duration::from_millis(100);

/// How long its answer may be: thousands of servers, but not all of our memory.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// How long a service that has failed its check stays on Consul's own pages, before
/// it is thrown out. There is none below a minute. We pass it over at once.
const CRITICAL: &str = "1m";

/// The agent of Consul on this machine.
#[derive(Clone, Debug)]
pub struct Consul {
    client: Client,
    server: SocketAddr,
}

impl Consul {
    /// The agent at `server`, whether it is there or not.
    ///
    /// # Errors
    ///
    /// Fails if the client for HTTP cannot be made.
    pub fn new(server: SocketAddr) -> Result<Self> {
        // It is an address in our own network: no proxy has to read along.
        let client = Client::builder().connect_timeout(TIMEOUT).no_proxy();
        let client = client.build()?;
        Ok(Self { client, server })
    }

    async fn put(&self, path: &str, body: serde_json::Value) -> Result<StatusCode> {
        let url = format!("http://{}/v1/agent/{path}", self.server);
        let put = self.client.put(url).timeout(TIMEOUT).json(&body);
        Ok(put.send().await?.status())
    }
}

impl fmt::Display for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consul at {}", self.server)
    }
}

#[tonic::async_trait]
impl Registry for Consul {
    // ANCHOR: register
    async fn register(&self, service: &str, address: SocketAddr) -> Result<Lease> {
        // The same as before, if it was here before: then it takes its place.
        let id = format!("{service}-{address}");
        let status = self
            .put(
                "service/register",
                json!({
                    "ID": id,
                    "Name": service,
                    "Address": address.ip(),
                    "Port": address.port(),
                    "Check": {
                        "TTL": format!("{}s", LEASE.as_secs()),
                        "Status": "passing",
                        "DeregisterCriticalServiceAfter": CRITICAL,
                    },
                }),
            )
            .await?;
        ensure!(status.is_success(), "Consul said {status}");
        Ok(Lease(id))
    }

    async fn heartbeat(&self, Lease(id): &Lease) -> Result<bool> {
        let path = format!("check/pass/service:{id}");
        // What it has forgotten it answers with 404, or with 500 in some releases.
        // Registering again is right whatever it says: it takes the place of what was
        // there, and if Consul refuses that too, that is the error to report.
        Ok(self.put(&path, json!({})).await?.is_success())
    }

    async fn deregister(&self, Lease(id): &Lease) -> Result<()> {
        let path = format!("service/deregister/{id}");
        let status = self.put(&path, json!({})).await?;
        // A service that Consul does not know is deregistered already.
        let done = status.is_success() || status == StatusCode::NOT_FOUND;
        ensure!(done, "Consul said {status}");
        Ok(())
    }
    // ANCHOR_END: register

    async fn watch(&self, service: &str, found: watch::Sender<Found>) -> Error {
        match self.watch_all(service, &found).await {
            Err(error) => error,
        }
    }
}

impl Consul {
    // ANCHOR: watch
    async fn watch_all(&self, service: &str, found: &watch::Sender<Found>) -> Result<Infallible> {
        let url = format!("http://{}/v1/health/service/{service}", self.server);
        let mut pace = time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut index = 0;
        loop {
            pace.tick().await;
            let wait = format!("{}s", WAIT.as_secs());
            let index_before = index.to_string();
            let query = [
                ("passing", "true"),
                ("index", &index_before),
                ("wait", &wait),
            ];
            let mut answer = self
                .client
                .get(&url)
                .query(&query)
                .timeout(WAIT + WAIT / 16 + TIMEOUT)
                .send()
                .await?
                .error_for_status()?;
            index = next(index, answer.headers().get("x-consul-index"))?;
            let mut json = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                json.extend_from_slice(&chunk);
                ensure!(json.len() <= MAX_ANSWER, "the answer of Consul is too long");
            }
            let entries: Vec<Entry> = serde_json::from_slice(&json)?;
            tell(found, entries.iter().filter_map(Entry::address).collect());
        }
    }
    // ANCHOR_END: watch
}

// ANCHOR: index
/// The index to ask with next: an answer comes once Consul has a greater one. Should
/// it have gone backwards, as after a restart, we begin again, or we would wait for
/// what may never come.
fn next(index: u64, header: Option<&HeaderValue>) -> Result<u64> {
    let new = header.context("Consul did not say how new that is")?;
    let new: u64 = new.to_str()?.parse()?;
    Ok(if new < index { 0 } else { new })
}
// ANCHOR_END: index

// ANCHOR: entry
/// An entry of Consul's answer, as much of it as we read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    address: String,
    port: u16,
}

impl Entry {
    fn address(&self) -> Option<SocketAddr> {
        let Service { id, address, port } = &self.service;
        // It is that of the agent's machine if nothing was said.
        let address = if address.is_empty() {
            &self.node.address
        } else {
            address
        };
        match address.parse() {
            Ok(ip) if *port > 0 => Some(SocketAddr::new(ip, *port)),
            _ => {
                tracing::warn!(id, address, port, "a bad record: it is no address");
                None
            }
        }
    }
}
// ANCHOR_END: entry

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_backwards_begins_again() {
        let header = HeaderValue::from_static;
        assert_eq!(next(0, Some(&header("7"))).unwrap(), 7);
        assert_eq!(next(7, Some(&header("7"))).unwrap(), 7);
        assert_eq!(next(7, Some(&header("8"))).unwrap(), 8);
        assert_eq!(next(8, Some(&header("3"))).unwrap(), 0);
        assert!(next(0, Some(&header("world"))).is_err());
        assert!(next(0, None).is_err());
    }

    #[test]
    fn a_bad_record_is_left_out() {
        let entry = |address: &str, port: u16| {
            let entry = json!({
                "Node": { "Address": "192.0.2.1" },
                "Service": { "ID": "世界", "Address": address, "Port": port },
            });
            let entry: Entry = serde_json::from_value(entry).unwrap();
            entry.address().map(|address| address.to_string())
        };
        assert_eq!(entry("192.0.2.2", 80), Some("192.0.2.2:80".to_owned()));
        assert_eq!(entry("", 80), Some("192.0.2.1:80".to_owned()));
        assert_eq!(entry("192.0.2.2", 0), None);
        assert_eq!(entry("greeter.test", 80), None);
    }
}

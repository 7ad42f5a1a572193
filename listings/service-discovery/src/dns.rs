//! Names of the DNS, asked for again and again.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use indexmap::IndexSet;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{self, Instant},
};
use tonic::transport::{Endpoint, channel::Change};

use crate::{
    address::Address,
    name::{Known, Name, tell},
};

/// Nobody is asked more often than this.
const AT_LEAST: Duration = Duration::from_secs(1);

/// An answer is not believed for longer than this, whatever it says of itself.
const AT_MOST: Duration = Duration::from_secs(30);

/// Asks the name server at `server`, or those that the system asks.
///
/// # Errors
///
/// Fails if it cannot be found out whom the system asks.
pub fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio().context("whom does this system ask?")?,
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, connections.into());
            let config = ResolverConfig::from_parts(None, vec![], vec![server]);
            let provider = TokioRuntimeProvider::default();
            TokioResolver::builder_with_config(config, provider)
        }
    };
    let options = builder.options_mut();
    options.timeout = Duration::from_secs(1);
    // That a name does not exist is not remembered: it may a moment later.
    options.negative_max_ttl = Some(Duration::ZERO);
    Ok(builder.build()?)
}

// ANCHOR: follow
/// Keeps up to date what is known of `host`: asks once the answer has grown old, or
/// `again`. It ends when nobody wants to know any more.
pub async fn follow(
    resolver: TokioResolver,
    host: String,
    port: u16,
    known: watch::Sender<Option<Known>>,
    again: Arc<Notify>,
) {
    loop {
        let asked = Instant::now();
        let old = match resolver.lookup_ip(host.as_str()).await {
            Ok(answer) => {
                let address = |ip: IpAddr| Address::Tcp(SocketAddr::new(ip, port));
                let news = Known {
                    addresses: answer.iter().map(address).collect(),
                    problem: None,
                };
                tell(&known, news);
                Instant::from_std(answer.valid_until()).min(asked + AT_MOST)
            }
            Err(error) => {
                tracing::warn!(host, %error, "cannot resolve");
                // The addresses that were there may well be there still.
                let last = known.borrow().clone().unwrap_or_default();
                let problem = Some(match error.is_nx_domain() {
                    true => "there is no such name".to_owned(),
                    false => error.to_string(),
                });
                tell(&known, Known { problem, ..last });
                asked
            }
        };
        let soon = asked + AT_LEAST;
        tokio::select! {
            () = known.closed() => return,
            () = time::sleep_until(old.max(soon)) => {}
            () = async { again.notified().await; time::sleep_until(soon).await } => {
                resolver.clear_cache();
            }
        }
    }
}
// ANCHOR_END: follow

// ANCHOR: feed
/// Tells tonic's own [`balance_channel`](tonic::transport::Channel::balance_channel)
/// what changes of `name`, until that is gone.
pub async fn feed(mut name: Name, changes: mpsc::Sender<Change<Address, Endpoint>>) {
    let mut fed = IndexSet::new();
    loop {
        let known = name.known.borrow_and_update().clone();
        let addresses = known.unwrap_or_default().addresses;
        let gone = fed.difference(&addresses).cloned().map(Change::Remove);
        let new = addresses.difference(&fed).filter_map(|address| {
            let endpoint = address.endpoint().ok()?;
            Some(Change::Insert(address.clone(), endpoint))
        });
        for change in gone.chain(new) {
            if changes.send(change).await.is_err() {
                return;
            }
        }
        fed = addresses;
        tokio::select! {
            () = changes.closed() => return,
            Ok(()) = name.known.changed() => {}
            else => return,
        }
    }
}
// ANCHOR_END: feed

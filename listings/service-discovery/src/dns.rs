//! Names of the DNS, asked for again and again.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RecordType,
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
/// Fails if the system's DNS configuration cannot be read.
pub fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver> {
    let mut builder = match server {
        None => {
            TokioResolver::builder_tokio().context("cannot read the system's DNS configuration")?
        }
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
///
/// A name server that says that there is nothing has answered, and the set is empty:
/// the addresses of before may belong to others by now. If there is no answer,
/// or only SERVFAIL, the set stays as it was.
pub async fn follow(
    resolver: TokioResolver,
    host: String,
    port: u16,
    known: watch::Sender<Option<Known>>,
    again: Arc<Notify>,
) {
    loop {
        let asked = Instant::now();
        let last = known.borrow().clone().unwrap_or_default();
        let mut news = Known::default();
        let mut old = asked + AT_MOST;
        let mut nothing = "the name has no address";
        let (v6, v4) = tokio::join!(
            resolver.lookup(host.as_str(), RecordType::AAAA),
            resolver.lookup(host.as_str(), RecordType::A),
        );
        for (answer, is_v6) in [(v6, true), (v4, false)] {
            match answer {
                Ok(answer) => {
                    let records = answer.answers().iter();
                    let ips = records.filter_map(|record| record.data.ip_addr());
                    let address = |ip| Address::Tcp(SocketAddr::new(ip, port));
                    news.addresses.extend(ips.map(address));
                    old = old.min(Instant::from_std(answer.valid_until()));
                }
                // That there is no such name, or no such record, is an answer.
                Err(error) if error.is_nx_domain() => nothing = "there is no such name",
                Err(error) if error.is_no_records_found() => {}
                Err(error) => {
                    tracing::warn!(host, %error, "cannot resolve");
                    // The addresses that were there may well be there still.
                    let kept = last.addresses.iter().filter(|one| one.is_v6() == is_v6);
                    news.addresses.extend(kept.cloned());
                    news.problem = Some(error.to_string());
                }
            }
        }
        if news.addresses.is_empty() && news.problem.is_none() {
            if last.problem.as_deref() != Some(nothing) {
                tracing::warn!(host, because = nothing, "no addresses");
            }
            news.problem = Some(nothing.to_owned());
        }
        if news.problem.is_some() {
            old = asked;
        }
        tell(&known, news);
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

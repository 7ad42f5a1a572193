//! From a target to the addresses behind it, for as long as somebody wants to know.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::Context;
use indexmap::IndexSet;

use crate::{
    address::Address,
    dns,
    name::{Known, Name},
    registry::{self, Registry, consul::Consul, etcd::Etcd},
    target::{Kind, Target},
};

/// The names behind `hello:`, and the addresses of each.
pub type Map = BTreeMap<String, IndexSet<SocketAddr>>;

/// Reads `NAME=ADDRESS,ADDRESS…`, and more of them after a space.
///
/// # Errors
///
/// Says which part does not look like that.
pub fn map(text: &str) -> anyhow::Result<Map> {
    let entry = |entry: &str| {
        let (name, addresses) = entry
            .split_once('=')
            .with_context(|| format!("`{entry}` is not NAME=ADDRESS,ADDRESS…"))?;
        let address = |text: &str| {
            text.parse()
                .with_context(|| format!("`{text}` is no address of `{name}`"))
        };
        let addresses = addresses
            .split(',')
            .map(address)
            .collect::<Result<_, _>>()?;
        Ok((name.to_owned(), addresses))
    };
    text.split_whitespace().map(entry).collect()
}

// ANCHOR: resolve
/// Finds out what is behind `target`, and goes on finding out.
///
/// # Errors
///
/// Fails if the system's name server is not known, or a registry's client cannot be
/// made. A name that does not exist is not an error here: it may exist in a minute.
pub fn resolve(target: &Target, map: &Map) -> anyhow::Result<Name> {
    let shown = target.to_string();
    Ok(match target {
        Target::Address(address) => Name::fixed(
            shown,
            Known {
                addresses: IndexSet::from([address.clone()]),
                problem: None,
            },
        ),
        Target::Hello(name) => Name::fixed(shown, looked_up(map, name)),
        Target::Dns { server, host, port } => {
            let resolver = dns::resolver(*server)?;
            let (known, name) = Name::new(shown);
            let again = name.again.clone();
            tokio::spawn(dns::follow(resolver, host.clone(), *port, known, again));
            name
        }
        Target::Registry {
            kind,
            server,
            service,
        } => registered(shown, registry(*kind, server.clone())?, service),
    })
}
// ANCHOR_END: resolve

// ANCHOR: looked_up
fn looked_up(map: &Map, name: &str) -> Known {
    match map.get(name) {
        Some(addresses) => Known {
            addresses: addresses.iter().copied().map(Address::Tcp).collect(),
            problem: None,
        },
        None => Known {
            addresses: IndexSet::new(),
            problem: Some("there is no such name in the map".to_owned()),
        },
    }
}
// ANCHOR_END: looked_up

/// The name of a service in a registry.
pub fn registered(target: impl Into<Arc<str>>, registry: Arc<dyn Registry>, service: &str) -> Name {
    let (known, name) = Name::new(target);
    tokio::spawn(registry::follow(registry, service.to_owned(), known));
    name
}

/// The registry at `server`, of which Consul takes the first.
///
/// # Errors
///
/// Fails if its client cannot be made. Whether it is there is found out later.
pub fn registry(kind: Kind, server: Vec<SocketAddr>) -> anyhow::Result<Arc<dyn Registry>> {
    Ok(match kind {
        Kind::Etcd => Arc::new(Etcd::new(server)?),
        Kind::Consul => Arc::new(Consul::new(*server.first().context("no agent")?)?),
    })
}

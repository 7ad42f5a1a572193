//! What a client is told to call: a name in one of the forms that gRPC has for it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use thiserror::Error;

use crate::address::Address;

// ANCHOR: target
/// What a client is told to call. `scheme:name` and `scheme://authority/name` are
/// gRPC's forms (its *Name Resolution* document); without a scheme it is `dns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One address, and nothing to find out: `127.0.0.1:50051`, `unix:/run/greeter`.
    Address(Address),
    /// A host in the DNS: `dns:///greeter.example.org:50051`, or without the scheme.
    Dns {
        /// The name server to ask, if it is not the system's.
        server: Option<SocketAddr>,
        host: String,
        port: u16,
    },
    /// A name in a map of the program's own: `hello:myworld`.
    Hello(String),
    /// A service in a registry: `etcd://127.0.0.1:2379/greeter`.
    Registry {
        kind: Kind,
        /// The members of a cluster of etcd, or one agent of Consul.
        server: Vec<SocketAddr>,
        service: String,
    },
}

/// The registries that are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Etcd,
    Consul,
}
// ANCHOR_END: target

/// What is wrong with a target.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{target}` is no target: {why}")]
pub struct InvalidTarget {
    target: String,
    why: String,
}

// ANCHOR: parse
/// The schemes that we know.
const SCHEMES: [&str; 5] = ["dns", "unix", "hello", "etcd", "consul"];

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(target: &str) -> Result<Self, InvalidTarget> {
        parse(target).map_err(|why| InvalidTarget {
            target: target.to_owned(),
            why,
        })
    }
}

fn parse(target: &str) -> Result<Target, String> {
    let (scheme, rest) = match target.split_once(':') {
        Some((scheme, rest)) if SCHEMES.contains(&scheme) => (scheme, rest),
        Some((scheme, rest)) if rest.starts_with("//") => {
            let known = SCHEMES.join(", ");
            return Err(format!("nobody knows the scheme `{scheme}`, only {known}"));
        }
        // What is before the colon of `localhost:50051` is no scheme, but a host.
        _ => ("dns", target),
    };
    let (authority, name) = match rest.strip_prefix("//") {
        None => ("", rest),
        Some(rest) => rest.split_once('/').ok_or_else(|| {
            format!("two slashes begin an authority, which another one ends: `{scheme}:///{rest}`")
        })?,
    };
    if name.is_empty() {
        return Err("it names nothing".to_owned());
    }
    match scheme {
        "dns" => dns(authority, name),
        "unix" | "hello" if !authority.is_empty() => {
            Err(format!("`{scheme}` has no authority: `{scheme}:{name}`"))
        }
        // Behind three slashes a path is absolute.
        "unix" if rest.starts_with("//") => Ok(unix(format!("/{name}"))),
        "unix" => Ok(unix(name.to_owned())),
        "hello" => Ok(Target::Hello(name.to_owned())),
        "etcd" => registry(Kind::Etcd, authority, name),
        _ => registry(Kind::Consul, authority, name),
    }
}
// ANCHOR_END: parse

fn unix(path: String) -> Target {
    Target::Address(Address::Unix(PathBuf::from(path)))
}

fn dns(authority: &str, name: &str) -> Result<Target, String> {
    let server = match authority {
        "" => None,
        server => Some(address(server, "the name server")?),
    };
    if let Ok(address) = name.parse() {
        return Ok(Target::Address(Address::Tcp(address)));
    }
    let (host, port) = name.rsplit_once(':').unwrap_or((name, ""));
    if port.is_empty() {
        // grpc-go would take 443, which is for TLS, and time out without a word.
        return Err(format!("the port is missing: `{host}:50051`"));
    }
    let port = port
        .parse()
        .map_err(|_| format!("`{port}` is no port: it is a number up to 65535"))?;
    if port == 0 {
        return Err("nobody can call the port 0".to_owned());
    }
    // With a colon it would be an address of IPv6, which has to be in brackets.
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(valid) {
        return Err(format!("`{host}` is no host"));
    }
    Ok(Target::Dns {
        server,
        host: host.to_owned(),
        port,
    })
}

fn registry(kind: Kind, authority: &str, service: &str) -> Result<Target, String> {
    // What Consul accepts as a host in the DNS, and what is one part of a key in etcd.
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if service.len() > 63 || !service.chars().all(valid) {
        return Err(format!(
            "`{service}` is no service: at most 63 of a to z, 0 to 9 and -"
        ));
    }
    let member = |member| address(member, "the registry");
    let server: Vec<_> = authority.split(',').map(member).collect::<Result<_, _>>()?;
    if matches!(kind, Kind::Consul) && server.len() > 1 {
        return Err("`consul` is one agent, the one on this machine".to_owned());
    }
    Ok(Target::Registry {
        kind,
        server,
        service: service.to_owned(),
    })
}

fn address(text: &str, whose: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{whose} has to be an address with a port, and is `{text}`"))
}

/// With a comma between two of them, as in a target.
pub(crate) fn list(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(",")
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Dns {
                server: None,
                host,
                port,
            } => write!(f, "dns:///{host}:{port}"),
            Self::Dns {
                server: Some(server),
                host,
                port,
            } => write!(f, "dns://{server}/{host}:{port}"),
            Self::Hello(name) => write!(f, "hello:{name}"),
            Self::Registry {
                kind: Kind::Etcd,
                server,
                service,
            } => write!(f, "etcd://{}/{service}", list(server)),
            Self::Registry {
                kind: Kind::Consul,
                server,
                service,
            } => write!(f, "consul://{}/{service}", list(server)),
        }
    }
}

/// The address that a server tells others: the one that it was told to say, or the
/// one that it has bound.
///
/// # Errors
///
/// Says so if nobody could call it.
pub fn announced(bound: SocketAddr, told: Option<&str>) -> Result<SocketAddr, String> {
    let address = match told {
        None => bound,
        Some(told) => match (told.parse(), told.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (_, Ok(ip)) => SocketAddr::new(ip, bound.port()),
            _ => return Err(format!("`{told}` is no address to announce")),
        },
    };
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(format!(
            "a server can listen on {address}, and no client can call it: say what to announce"
        ));
    }
    Ok(address)
}

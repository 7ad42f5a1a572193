//! Names of the DNS, whose records change.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Ready,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use anyhow::Result;
use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RData, Record, RecordType},
};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name as HostName};
use service_discovery::{
    address::Address,
    channel::Balanced,
    dns,
    name::{Known, Name},
    resolve::{Map, resolve},
};
use tokio::{net::UdpSocket, sync::mpsc};
use tonic::{
    Code,
    transport::{Channel, Endpoint, channel::Change},
};

use super::{Server, hello, known, nobody, soon, tcp};

/// What a name server knows.
type Records = Arc<Mutex<Zone>>;

#[derive(Default)]
struct Zone {
    /// The addresses of each name.
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    /// The questions that it answers with SERVFAIL.
    fails: Vec<RecordType>,
    /// Whether it answers at all.
    silent: bool,
}

/// A name server, as much of one as a client asks for.
async fn name_server(records: Records) -> Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..length]).expect("a question");
            if records.lock().unwrap().silent {
                continue;
            }
            let answer = answer(&asked, &records).to_vec().expect("an answer");
            socket.send_to(&answer, from).await.expect("it is sent");
        }
    });
    Ok(address)
}

/// Good for no longer than it takes to read it.
fn answer(asked: &Message, records: &Records) -> Message {
    let mut answer = Message::response(asked.metadata.id, OpCode::Query);
    answer.queries = asked.queries.clone();
    let records = records.lock().unwrap();
    let Some(query) = asked.queries.first() else {
        return answer;
    };
    let host = query.name.to_ascii();
    match records.names.get(host.trim_end_matches('.')) {
        _ if records.fails.contains(&query.query_type) => {
            answer.metadata.response_code = ResponseCode::ServFail;
        }
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) if query.query_type == RecordType::A => {
            for address in addresses {
                let record = RData::A((*address).into());
                answer.add_answer(Record::from_rdata(query.name.clone(), 0, record));
            }
        }
        Some(_) => {}
    }
    answer
}

const HOST: &str = "greeter.test";

fn set(records: &Records, addresses: &[Ipv4Addr]) {
    let mut records = records.lock().unwrap();
    records.names.insert(HOST.to_owned(), addresses.to_vec());
}

async fn followed(records: &Records, port: u16) -> Result<Name> {
    let server = name_server(records.clone()).await?;
    let target = format!("dns://{server}/{HOST}:{port}").parse()?;
    resolve(&target, &Map::new())
}

async fn until(name: &mut Name, wanted: impl Fn(&Known) -> bool) -> Result<Known> {
    let known = name
        .known
        .wait_for(|known| known.as_ref().is_some_and(&wanted));
    Ok(soon("the answer changes", known)
        .await??
        .clone()
        .unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_change_are_followed() -> Result<()> {
    let [one, two, three] = [1, 2, 3].map(|last| Ipv4Addr::new(192, 0, 2, last));
    let addresses = |all: &[Ipv4Addr]| {
        let all: Vec<_> = all
            .iter()
            .map(|ip| SocketAddr::new(IpAddr::V4(*ip), 50051))
            .collect();
        tcp(&all)
    };
    let records = Records::default();
    set(&records, &[one, two]);
    let mut name = followed(&records, 50051).await?;
    until(&mut name, |known| known.addresses == addresses(&[one, two])).await?;
    set(&records, &[two, three]);
    until(&mut name, |known| {
        known.addresses == addresses(&[two, three])
    })
    .await?;

    // It is gone: that is an answer too.
    records.lock().unwrap().names.clear();
    let gone = until(&mut name, |known| known.addresses.is_empty()).await?;
    assert_eq!(gone.problem.as_deref(), Some("there is no such name"));
    set(&records, &[three]);
    let found = until(&mut name, |known| known.problem.is_none()).await?;
    assert_eq!(found.addresses, addresses(&[three]));
    // It is there, and has no address.
    set(&records, &[]);
    let empty = until(&mut name, |known| known.addresses.is_empty()).await?;
    assert_eq!(empty.problem.as_deref(), Some("the name has no address"));
    set(&records, &[one]);
    let found = until(&mut name, |known| known.problem.is_none()).await?;
    assert_eq!(found.addresses, addresses(&[one]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_fails_leaves_what_was_known() -> Result<()> {
    let here = [Ipv4Addr::LOCALHOST];
    let addresses = tcp(&[SocketAddr::new(IpAddr::V4(here[0]), 50051)]);
    let records = Records::default();
    set(&records, &here);
    let mut name = followed(&records, 50051).await?;
    until(&mut name, |known| known.addresses == addresses).await?;
    let fails: [fn(&mut Zone); 3] = [
        |zone| zone.fails = vec![RecordType::A, RecordType::AAAA],
        // That there is no AAAA does not say that there is no A.
        |zone| zone.fails = vec![RecordType::A],
        |zone| zone.silent = true,
    ];
    for fail in fails {
        fail(&mut records.lock().unwrap());
        let kept = until(&mut name, |known| known.problem.is_some()).await?;
        assert_eq!(kept.addresses, addresses);
        *records.lock().unwrap() = Zone::default();
        set(&records, &here);
        until(&mut name, |known| known.problem.is_none()).await?;
    }
    Ok(())
}

/// The calls do not go on to an address that may belong to another by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_gone_is_called_no_more() -> Result<()> {
    let server = Server::start().await?;
    let records = Records::default();
    set(&records, &[Ipv4Addr::LOCALHOST]);
    let mut name = followed(&records, server.address.port()).await?;
    let channel = Balanced::new(name.clone());
    hello(channel.clone()).await?;
    records.lock().unwrap().names.clear();
    until(&mut name, |known| known.addresses.is_empty()).await?;
    soon("it is called no more", async {
        while hello(channel.clone()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    assert_eq!(hello(channel).await.unwrap_err().code(), Code::Unavailable);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_exist_is_said_so_and_mends() -> Result<()> {
    let server = Server::start().await?;
    let records = Records::default();
    let name = followed(&records, server.address.port()).await?;
    let shown = name.target.clone();
    let mut channel = Balanced::new(name);
    let status = hello(channel.clone()).await.unwrap_err();
    assert_eq!(status.message(), format!("{shown}: there is no such name"));

    set(&records, &[Ipv4Addr::LOCALHOST]);
    soon("it is found", async {
        while channel.servers().is_empty() {
            channel.changed().await;
        }
    })
    .await?;
    hello(channel).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_is_silent_is_said_so() -> Result<()> {
    // Bound, and never read.
    let silent = UdpSocket::bind("127.0.0.1:0").await?;
    let target = format!("dns://{}/{HOST}:1", silent.local_addr()?).parse()?;
    let mut name = resolve(&target, &Map::new())?;
    let known = until(&mut name, |known| known.problem.is_some()).await?;
    assert!(known.addresses.is_empty());
    let problem = known.problem.unwrap_or_default();
    assert!(
        !problem.is_empty() && !problem.contains("no such name"),
        "{problem}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tonics_balancer_is_fed_what_changes() -> Result<()> {
    let (a, b) = (Server::start().await?, Server::start().await?);
    let (known_by, name) = Name::new("hello:myworld");
    let (changes, mut fed) = mpsc::channel(4);
    tokio::spawn(dns::feed(name.clone(), changes));
    known_by.send_replace(Some(known([&a])));
    assert!(
        matches!(fed.recv().await, Some(Change::Insert(key, _)) if key == Address::Tcp(a.address))
    );
    known_by.send_replace(Some(known([&a, &b])));
    assert!(
        matches!(fed.recv().await, Some(Change::Insert(key, _)) if key == Address::Tcp(b.address))
    );
    known_by.send_replace(Some(known([&b])));
    assert!(
        matches!(fed.recv().await, Some(Change::Remove(key)) if key == Address::Tcp(a.address))
    );

    // And the real one: a call waits until there is somebody.
    let (known_by, name) = Name::new("hello:myworld");
    let (channel, changes) = Channel::balance_channel(4);
    tokio::spawn(dns::feed(name, changes));
    let waiting = tokio::spawn(hello(channel));
    known_by.send_replace(Some(known([&a])));
    let message = soon("it is called", waiting).await???;
    assert!(message.contains(&a.address.to_string()), "{message}");
    Ok(())
}

/// Resolves any name to these, and counts how often it does.
#[derive(Clone)]
struct Counting {
    addresses: Vec<SocketAddr>,
    asked: Arc<AtomicUsize>,
}

impl tower::Service<HostName> for Counting {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HostName) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(self.addresses.clone().into_iter()))
    }
}

// ANCHOR: once
/// What tonic itself does with a name of two addresses: its connector is this one, of
/// hyper, which here asks us instead of the system.
#[tokio::test(flavor = "multi_thread")]
async fn tonic_resolves_when_it_connects_and_uses_one_address() -> Result<()> {
    let here = nobody()?.to_string();
    let (a, b) = (Server::start_at(&here).await?, Server::start().await?);
    let asked = Arc::<AtomicUsize>::default();
    let connector = HttpConnector::new_with_resolver(Counting {
        addresses: vec![a.address, b.address],
        asked: asked.clone(),
    });
    let endpoint = Endpoint::from_static("http://greeter.test");
    let channel = endpoint.connect_with_connector(connector).await?;
    let mut answered = BTreeSet::new();
    for _ in 0..20 {
        answered.insert(hello(channel.clone()).await?);
    }
    assert_eq!(
        answered,
        BTreeSet::from([format!("Hello, 李雷! This is {here}.")])
    );
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    // The connection is gone: the next call asks again, and goes to the other one.
    drop(a);
    let other = soon("it connects again", async {
        loop {
            if let Ok(message) = hello(channel.clone()).await {
                return message;
            }
        }
    })
    .await?;
    assert_eq!(other, format!("Hello, 李雷! This is {}.", b.address));
    assert!(asked.load(Ordering::Relaxed) > 1);
    Ok(())
}
// ANCHOR_END: once

//! What every registry does, and what is done when one does not.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Error, Result, anyhow, bail};
use service_discovery::{
    name::{Known, Name},
    registry::{Found, LEASE, Lease, Registration, Registry, etcd, etcd::pb, memory::Memory},
    resolve,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    time,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::{soon, tcp};

const A: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const B: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);

/// Waits until these and no others are known.
async fn until(name: &mut Name, addresses: &[SocketAddr]) -> Result<Known> {
    let wanted = tcp(addresses);
    let known = name.known.wait_for(|known| {
        let known = known.as_ref();
        known.is_some_and(|known| known.addresses == wanted && known.problem.is_none())
    });
    Ok(soon("they are known", known)
        .await??
        .clone()
        .unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn who_falls_silent_is_gone_at_the_end_of_the_lease() -> Result<()> {
    let registry = Arc::new(Memory::default());
    let mut name = resolve::registered("memory:greeter", registry.clone(), "greeter");
    until(&mut name, &[]).await?;
    let lease = registry.register("greeter", A).await?;
    registry.register("another", B).await?;
    until(&mut name, &[A]).await?;
    time::sleep(LEASE / 2).await;
    assert!(registry.heartbeat(&lease).await?);
    // It would have been over by now.
    time::sleep(LEASE * 3 / 4).await;
    until(&mut name, &[A]).await?;
    let silent = time::Instant::now();
    until(&mut name, &[]).await?;
    assert_eq!(
        silent.elapsed().as_secs_f32().ceil(),
        (LEASE / 4).as_secs_f32().ceil()
    );
    assert!(!registry.heartbeat(&lease).await?);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_server_stays_registered_until_it_says_goodbye() -> Result<()> {
    let registry = Arc::new(Memory::default());
    let mut name = resolve::registered("memory:greeter", registry.clone(), "greeter");
    let registration = Registration::new(registry.clone(), "greeter", A);
    until(&mut name, &[A]).await?;
    time::sleep(LEASE * 10).await;
    until(&mut name, &[A]).await?;
    assert!(!name.known.has_changed()?, "it went in between");
    // Before the lease would have ended.
    let before = time::Instant::now();
    registration.end().await;
    until(&mut name, &[]).await?;
    assert!(before.elapsed() < LEASE / 3);
    Ok(())
}

/// A registry that can be switched off, and forgets.
#[derive(Default)]
struct Moody {
    memory: std::sync::Mutex<Arc<Memory>>,
    away: AtomicBool,
    went: Notify,
    registered: AtomicUsize,
}

impl Moody {
    fn memory(&self) -> Result<Arc<Memory>> {
        if self.away.load(Ordering::Relaxed) {
            bail!("away");
        }
        Ok(self.memory.lock().unwrap().clone())
    }

    fn leave(&self) {
        self.away.store(true, Ordering::Relaxed);
        self.went.notify_waiters();
    }

    fn come_back_without_memory(&self) {
        *self.memory.lock().unwrap() = Arc::default();
        self.away.store(false, Ordering::Relaxed);
    }
}

impl fmt::Display for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("moody")
    }
}

#[tonic::async_trait]
impl Registry for Moody {
    async fn register(&self, service: &str, address: SocketAddr) -> Result<Lease> {
        let memory = self.memory()?;
        self.registered.fetch_add(1, Ordering::Relaxed);
        memory.register(service, address).await
    }

    async fn heartbeat(&self, lease: &Lease) -> Result<bool> {
        self.memory()?.heartbeat(lease).await
    }

    async fn deregister(&self, lease: &Lease) -> Result<()> {
        self.memory()?.deregister(lease).await
    }

    async fn watch(&self, service: &str, found: watch::Sender<Found>) -> Error {
        let memory = match self.memory() {
            Ok(memory) => memory,
            Err(error) => return error,
        };
        tokio::select! {
            error = memory.watch(service, found) => error,
            () = self.went.notified() => anyhow!("went"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_registry_changes_nothing_and_one_that_forgot_is_told_again() -> Result<()> {
    let registry = Arc::new(Moody::default());
    let mut name = resolve::registered("moody:greeter", registry.clone(), "greeter");
    let _a = Registration::new(registry.clone(), "greeter", A);
    let b = Registration::new(registry.clone(), "greeter", B);
    until(&mut name, &[A, B]).await?;

    registry.leave();
    let lost = name
        .known
        .wait_for(|known| known.as_ref().is_some_and(|known| known.problem.is_some()));
    let lost = soon("it is lost", lost).await??.clone().unwrap_or_default();
    assert_eq!(lost.problem.as_deref(), Some("moody: went"));
    assert_eq!(lost.addresses, tcp(&[A, B]));
    // It cannot say goodbye to a registry that is away, and does not wait for it.
    soon("it ends", b.end()).await?;
    time::sleep(LEASE * 10).await;
    let still = name.known.borrow_and_update().clone().unwrap_or_default();
    assert_eq!(still.addresses, tcp(&[A, B]));
    assert_eq!(still.problem.as_deref(), Some("moody: away"));

    registry.come_back_without_memory();
    // Nobody is taken out before those who live have said so.
    let mut seen = Vec::new();
    soon("all is well", async {
        loop {
            let known = name.known.borrow_and_update().clone().unwrap_or_default();
            seen.push(known.addresses.clone());
            if known.problem.is_none() && known.addresses == tcp(&[A]) {
                return Ok(());
            }
            name.known.changed().await?;
        }
    })
    .await
    .and_then(|done: Result<()>| done)?;
    assert!(
        seen.iter()
            .all(|known| known.contains(&service_discovery::address::Address::Tcp(A)))
    );
    assert_eq!(registry.registered.load(Ordering::Relaxed), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_register_goes_on_trying() -> Result<()> {
    let registry = Arc::new(Moody::default());
    registry.leave();
    let mut name = resolve::registered("moody:greeter", registry.clone(), "greeter");
    let _a = Registration::new(registry.clone(), "greeter", A);
    time::sleep(Duration::from_secs(60)).await;
    let known = name.known.borrow_and_update().clone().unwrap_or_default();
    assert_eq!(known.addresses, tcp(&[]));
    registry.come_back_without_memory();
    until(&mut name, &[A]).await?;
    Ok(())
}

/// An etcd whose first watch begins too late: what it asks for was compacted.
#[derive(Clone, Default)]
struct Compacted {
    lists: Arc<AtomicUsize>,
    watches: Arc<watch::Sender<Vec<i64>>>,
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Compacted {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.key, b"/services/greeter/");
        assert_eq!(request.range_end, b"/services/greeter0");
        let record = |value: String| pb::KeyValue {
            key: format!("/services/greeter/{value}").into(),
            value: value.into(),
        };
        let lists = self.lists.fetch_add(1, Ordering::Relaxed);
        let kvs = match lists {
            0 => vec![record(A.to_string())],
            // One that somebody wrote by hand.
            _ => vec![record(B.to_string()), record("世界".to_owned())],
        };
        let revision = if lists == 0 { 5 } else { 50 };
        Ok(Response::new(pb::RangeResponse {
            header: Some(pb::ResponseHeader { revision }),
            kvs,
        }))
    }

    async fn put(&self, _: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        Err(Status::unimplemented("nobody registers here"))
    }
}

#[tonic::async_trait]
impl pb::watch_server::Watch for Compacted {
    type WatchStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let asked = request.into_inner().message().await?;
        let Some(pb::watch_request::RequestUnion::CreateRequest(create)) =
            asked.and_then(|asked| asked.request_union)
        else {
            return Err(Status::invalid_argument("nothing is asked for"));
        };
        self.watches
            .send_modify(|watches| watches.push(create.start_revision));
        if create.start_revision > 40 {
            return Ok(Response::new(Box::pin(tokio_stream::pending())));
        }
        let gone = pb::WatchResponse {
            canceled: true,
            cancel_reason: "the required revision has been compacted".to_owned(),
            ..Default::default()
        };
        // The stream itself goes on, as etcd's does: for other watches.
        let answers = tokio_stream::once(Ok(gone)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tokio::test]
async fn what_etcd_has_forgotten_is_listed_anew_and_a_bad_record_is_left_out() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let fake = Compacted::default();
    let router = Server::builder()
        .add_service(pb::kv_server::KvServer::new(fake.clone()))
        .add_service(pb::watch_server::WatchServer::new(fake.clone()));
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));

    let registry = Arc::new(etcd::Etcd::new(vec![address])?);
    let mut name = resolve::registered("etcd:greeter", registry, "greeter");
    // For as long as a lease, A is kept; B has come from the second list.
    until(&mut name, &[A, B]).await?;
    let mut watches = fake.watches.subscribe();
    let watches = watches.wait_for(|watches| watches.len() == 2);
    // From the revision after that of the list.
    assert_eq!(*soon("it watches", watches).await??, [6, 51]);
    Ok(())
}

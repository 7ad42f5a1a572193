//! A cluster of etcd of which a member is of no use.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use anyhow::Result;
use service_discovery::{
    registry::{
        Registration,
        etcd::{Etcd, pb},
    },
    resolve,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::{soon, tcp};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A member, as much of one as is asked for.
#[derive(Clone)]
struct Member {
    /// Whether it has lost the others.
    cut_off: bool,
    /// The address of a server that it knows of.
    knows: SocketAddr,
    /// What was put there.
    put: watch::Sender<Vec<String>>,
}

impl Member {
    fn new(cut_off: bool, knows: SocketAddr) -> Self {
        let put = watch::Sender::new(Vec::new());
        Self {
            cut_off,
            knows,
            put,
        }
    }

    async fn start(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Server::builder()
            .add_service(pb::kv_server::KvServer::new(self.clone()))
            .add_service(pb::lease_server::LeaseServer::new(self.clone()))
            .add_service(pb::watch_server::WatchServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        Ok(address)
    }
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Member {
    async fn range(
        &self,
        _: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        Ok(Response::new(pb::RangeResponse {
            header: Some(pb::ResponseHeader { revision: 1 }),
            kvs: vec![pb::KeyValue {
                key: format!("/services/greeter/{}", self.knows).into(),
                value: self.knows.to_string().into(),
            }],
        }))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        let value = String::from_utf8_lossy(&request.into_inner().value).into_owned();
        self.put.send_modify(|put| put.push(value));
        Ok(Response::new(pb::PutResponse {}))
    }
}

#[tonic::async_trait]
impl pb::lease_server::Lease for Member {
    async fn lease_grant(
        &self,
        _: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        Ok(Response::new(pb::LeaseGrantResponse { id: 1 }))
    }

    async fn lease_revoke(
        &self,
        _: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        Ok(Response::new(pb::LeaseRevokeResponse {}))
    }

    type LeaseKeepAliveStream = Answers<pb::LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        _: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let kept = tokio_stream::once(Ok(pb::LeaseKeepAliveResponse { id: 1, ttl: 3 }));
        Ok(Response::new(Box::pin(kept)))
    }
}

#[tonic::async_trait]
impl pb::watch_server::Watch for Member {
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let wants_leader = request.metadata().get("hasleader").is_some();
        if self.cut_off && wants_leader {
            return Err(Status::unavailable("etcdserver: no leader"));
        }
        // Without it, a member that is cut off is silent, as one where nothing happens.
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_cut_off_is_left_for_the_next() -> Result<()> {
    let [old, new] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let members = vec![
        Member::new(true, old).start().await?,
        Member::new(false, new).start().await?,
    ];
    let registry = Arc::new(Etcd::new(members)?);
    let mut name = resolve::registered("etcd:greeter", registry, "greeter");
    // The other one says that there is a new server and that the old one is gone.
    let moved = name.known.wait_for(|known| {
        let known = known.as_ref();
        known.is_some_and(|known| known.addresses == tcp(&[new]))
    });
    soon("it has moved", moved).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_registers_with_a_member_that_answers() -> Result<()> {
    // It is connected to, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let here = SocketAddr::from(([127, 0, 0, 1], 1));
    let member = Member::new(false, here);
    let members = vec![silent.local_addr()?, member.start().await?];
    let registration = Registration::new(Arc::new(Etcd::new(members)?), "greeter", here);
    let mut put = member.put.subscribe();
    let is_put = put.wait_for(|put| put.contains(&here.to_string()));
    soon("it is registered", is_put).await??;
    soon("it ends", registration.end()).await
}

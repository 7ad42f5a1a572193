//! What one name over many servers does, and what it says when it cannot.

mod channel;
mod connection;
mod consul;
mod dns;
mod etcd;
mod exercises;
mod readiness;
mod registries;
mod targets;
mod unix;

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use indexmap::IndexSet;
use service_discovery::{
    address::Address,
    greeter::Greeter,
    name::Known,
    pb::{
        SayHelloRequest, SayHelloResponse,
        greeter_service_client::GreeterServiceClient,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    sync::Semaphore,
    time,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{StdError, http},
    transport::{self, server::TcpIncoming},
};
use tower::Service;

/// Longer than anything takes here that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server in a runtime of its own, which is its process: it ends with this, and
/// says goodbye to nobody.
struct Server {
    address: SocketAddr,
    process: Option<Runtime>,
}

impl Server {
    /// One that greets.
    async fn start() -> Result<Self> {
        Self::start_at("127.0.0.1:0").await
    }

    async fn start_at(address: &str) -> Result<Self> {
        Self::run(address, |listener| {
            let here = listener.local_addr()?.to_string();
            let incoming = TcpIncoming::from(listener);
            let greeter = Greeter { here };
            Ok(service_discovery::serve(incoming, greeter, pending()))
        })
        .await
    }

    /// One that waits before it greets.
    async fn slow(slow: Slow) -> Result<Self> {
        Self::run("127.0.0.1:0", |listener| {
            let incoming = TcpIncoming::from(listener);
            let router = transport::Server::builder().add_service(GreeterServiceServer::new(slow));
            Ok(router.serve_with_incoming(incoming))
        })
        .await
    }

    async fn run<F>(
        address: &str,
        serve: impl FnOnce(TcpListener) -> Result<F> + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Result<(), transport::Error>> + Send + 'static,
    {
        let process = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let address = address.to_owned();
        let bound = process.spawn(async move {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            tokio::spawn(serve(listener)?);
            anyhow::Ok(address)
        });
        let address = bound.await??;
        let process = Some(process);
        Ok(Self { address, process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

/// A greeter that says when a call is there, and answers once it is let.
#[derive(Clone)]
struct Slow {
    called: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self {
            called: none(),
            let_go: none(),
        }
    }
}

#[tonic::async_trait]
impl GreeterService for Slow {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        self.called.add_permits(1);
        let permit = self.let_go.acquire().await;
        permit.expect("it is not closed").forget();
        let message = request.into_inner().name;
        Ok(Response::new(SayHelloResponse { message }))
    }
}

/// What is known of these servers.
fn known<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Known {
    let addresses = servers
        .into_iter()
        .map(|server| Address::Tcp(server.address));
    Known {
        addresses: addresses.collect(),
        problem: None,
    }
}

fn tcp(addresses: &[SocketAddr]) -> IndexSet<Address> {
    addresses.iter().copied().map(Address::Tcp).collect()
}

/// Who answers.
async fn hello<C>(channel: C) -> Result<String, Status>
where
    C: Service<http::Request<Body>, Response = http::Response<Body>>,
    C::Error: Into<StdError>,
{
    let name = "李雷".to_owned();
    let response = GreeterServiceClient::new(channel)
        .say_hello(SayHelloRequest { name })
        .await?;
    Ok(response.into_inner().message)
}

/// What has to happen, soon.
async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> Result<T> {
    time::timeout(PATIENCE, happens)
        .await
        .with_context(|| format!("this does not happen: {what}"))
}

/// An address where nobody listens, until somebody of ours does.
fn nobody() -> Result<SocketAddr> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let address = socket.local_addr()?;
    // On Linux one that is bound, and does not listen, keeps the port from others but
    // not from a listener of ours. Elsewhere nobody is so likely to take it.
    if cfg!(target_os = "linux") {
        std::mem::forget(socket);
    }
    Ok(address)
}

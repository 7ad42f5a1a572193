//! Which servers each policy calls, and what becomes of a server that is dead, leaving, or
//! says that it does not serve.

mod exercises;
mod health;
mod policies;
mod silent;
mod tonics;

use std::{collections::BTreeMap, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use load_balancing::{
    backend::{Backend, State},
    balanced::Balanced,
    channels::{AnyChannel, channel},
    greeter::Greeter,
    pb::{
        SayHelloRequest, SayHelloResponse,
        greeter_service_client::GreeterServiceClient,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
    policy::Policy,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    sync::Semaphore,
    task::JoinSet,
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
        Self::until(pending()).await
    }

    /// One that greets until it is told to end.
    async fn until(shutdown: impl Future<Output = ()> + Send + 'static) -> Result<Self> {
        Self::run(|listener, here| {
            let takes = Duration::ZERO;
            load_balancing::serve(listener, Greeter { here, takes }, shutdown)
        })
        .await
    }

    /// One that waits before it greets, and has nothing to say of its health.
    async fn slow(slow: Slow) -> Result<Self> {
        Self::run(|listener, _| {
            transport::Server::builder()
                .add_service(GreeterServiceServer::new(slow))
                .serve_with_incoming(TcpIncoming::from(listener))
        })
        .await
    }

    async fn run<F>(serve: impl FnOnce(TcpListener, String) -> F + Send + 'static) -> Result<Self>
    where
        F: Future<Output = Result<(), transport::Error>> + Send + 'static,
    {
        let process = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let bound = process.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            tokio::spawn(serve(listener, address.to_string()));
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

/// So many calls, some at a time: how many each server has answered, in the order of
/// the servers, and how many nobody has.
async fn shares(channel: &AnyChannel, calls: usize, servers: &[&Server]) -> Result<Vec<usize>> {
    let mut calling = JoinSet::new();
    let mut answers: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for _ in 0..calls {
        if calling.len() == 10
            && let Some(answer) = calling.join_next().await
        {
            *answers.entry(answer?).or_default() += 1;
        }
        let channel = channel.clone();
        calling.spawn(async move { hello(channel).await.ok() });
    }
    while let Some(answer) = calling.join_next().await {
        *answers.entry(answer?).or_default() += 1;
    }
    let mut shares: Vec<usize> = servers
        .iter()
        .map(|server| {
            let answer = format!("Hello, 李雷! This is {}.", server.address);
            answers.remove(&Some(answer)).unwrap_or_default()
        })
        .collect();
    shares.push(answers.remove(&None).unwrap_or_default());
    assert!(answers.is_empty(), "{answers:?}");
    Ok(shares)
}

async fn over(policy: &str, servers: &[&Server]) -> Result<AnyChannel> {
    let servers: Vec<_> = servers.iter().map(|server| (server.address, 1)).collect();
    channel(policy, &servers).await
}

/// Ours, over these.
async fn balanced(policy: impl Policy + 'static, servers: &[&Server]) -> Result<Balanced> {
    let backends = servers.iter().map(|server| Backend::new(server.address, 1));
    let mut channel = Balanced::new(policy, backends);
    soon("it settles", channel.settled()).await?;
    Ok(channel)
}

/// What has to happen, soon.
async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> Result<T> {
    time::timeout(PATIENCE, happens)
        .await
        .with_context(|| format!("this does not happen: {what}"))
}

fn is_out(state: &State) -> bool {
    matches!(state, State::Out(_))
}

fn is_ready(state: &State) -> bool {
    matches!(state, State::Ready(_))
}

/// An address where nobody listens.
fn nobody() -> Result<SocketAddr> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let address = socket.local_addr()?;
    // Bound but not listening, it keeps the port from the server of another test.
    std::mem::forget(socket);
    Ok(address)
}

//! `service-discovery-tour`: servers that come, say goodbye and die, a registry, and
//! a client that hears of it all, in one process.

use std::{future::pending, sync::Arc, time::Duration};

use service_discovery::{
    channel::Balanced,
    greeter::Greeter,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
    registry::{Registration, Registry, memory::Memory},
    resolve,
    retry::retried,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tonic::transport::server::TcpIncoming;

/// How long a call may take, with all its attempts.
const DEADLINE: Duration = Duration::from_secs(1);

/// A server, with a runtime of its own: its process, so to speak.
struct Server {
    process: Runtime,
    registration: Registration,
}

impl Server {
    async fn start(name: &str, registry: Arc<dyn Registry>) -> anyhow::Result<Self> {
        let process = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let here = name.to_owned();
        let registered = process.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let incoming = TcpIncoming::from(listener);
            tokio::spawn(service_discovery::serve(
                incoming,
                Greeter { here },
                pending(),
            ));
            anyhow::Ok(Registration::new(registry, "greeter", address))
        });
        let registration = registered.await??;
        Ok(Self {
            process,
            registration,
        })
    }

    /// As SIGKILL does: no goodbye, to nobody.
    fn kill(self) {
        self.process.shutdown_background();
    }
}

/// Waits until there are so many servers to call.
async fn until(channel: &mut Balanced, servers: usize) {
    while channel.servers().len() != servers {
        channel.changed().await;
    }
}

async fn call(channel: &Balanced, times: u32) {
    for _ in 0..times {
        let name = "李雷".to_owned();
        let answer = retried(SayHelloRequest { name }, DEADLINE, |request| {
            let mut client = GreeterServiceClient::new(channel.clone());
            async move { client.say_hello(request).await }
        });
        match answer.await {
            Ok((response, 0)) => println!("  {}", response.message),
            Ok((response, more)) => println!("  {} ({more} retried)", response.message),
            Err(status) => println!("  {:?}: {}", status.code(), status.message()),
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // ANCHOR: tour
    let registry: Arc<dyn Registry> = Arc::new(Memory::default());
    let name = resolve::registered("memory:greeter", registry.clone(), "greeter");
    let mut channel = Balanced::new(name);

    println!("nobody is registered");
    call(&channel, 1).await;

    println!("a joins");
    let a = Server::start("a", registry.clone()).await?;
    until(&mut channel, 1).await;
    call(&channel, 2).await;

    println!("b joins");
    let b = Server::start("b", registry.clone()).await?;
    until(&mut channel, 2).await;
    call(&channel, 4).await;

    println!("c joins");
    let c = Server::start("c", registry).await?;
    until(&mut channel, 3).await;
    call(&channel, 3).await;

    println!("a deregisters");
    a.registration.end().await;
    until(&mut channel, 2).await;
    call(&channel, 4).await;

    println!("b is killed");
    b.kill();
    // Its connection has ended: no call has to find out.
    until(&mut channel, 1).await;
    call(&channel, 3).await;
    // ANCHOR_END: tour

    a.process.shutdown_background();
    c.kill();
    Ok(())
}

//! `cargo run --release --example load-balancing-bench [-- quick]` calls three servers,
//! one of which is slow, dead, leaving, new or wrong, by each policy; and through
//! HAProxy, if it is on the PATH. It prints comma-separated values.
//!
//! Calls are begun at a fixed rate, whether or not those before them have ended, and
//! each is timed from when it should have begun: a client that waits for an answer
//! before the next call would measure least while the server is slowest.

use std::{
    collections::BTreeMap, env, net::SocketAddr, process::Stdio, sync::Arc, thread, time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use load_balancing::{
    backend,
    channels::{AnyChannel, channel},
    greeter::Greeter,
    pb::{
        SayHelloRequest, SayHelloResponse,
        greeter_service_client::GreeterServiceClient,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
};
use tempfile::NamedTempFile;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    runtime::{Builder, Runtime},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{self, Instant},
};
use tonic::{
    Code, Request, Response, Status,
    transport::{self, server::TcpIncoming},
};

struct Size {
    /// How many calls are begun in a second.
    rate: u32,
    /// How long they are begun before anything is counted, and then.
    warm: Duration,
    long: Duration,
    /// How many connections are weighed.
    connections: usize,
}

const FULL: Size = Size {
    rate: 3000,
    warm: Duration::from_millis(500),
    long: Duration::from_secs(3),
    connections: 1000,
};

/// To see that it works; the figures mean nothing.
const QUICK: Size = Size {
    rate: 200,
    warm: Duration::from_millis(50),
    long: Duration::from_millis(200),
    connections: 10,
};

/// In the order of the curves.
const DRAWN: [&str; 4] = ["round-robin", "tonic", "least-pending", "p2c-ewma"];

/// Those that are seen with a slow server. For `weighted` somebody has said so: it has
/// a tenth of the weight of the others.
const POLICIES: [&str; 7] = [
    "pick-first",
    "round-robin",
    "weighted",
    "tonic",
    "least-pending",
    "p2c-pending",
    "p2c-ewma",
];

/// By table.
const EVENTFUL: &[(&str, &[&str])] = &[
    ("ours", &["pick-first", "round-robin", "least-pending"]),
    ("tonic", &["tonic"]),
    ("ewma", &["p2c-ewma"]),
];

/// What each policy is seen with.
const EVENTS: [&str; 5] = [
    "is not there",
    "is killed",
    "is stopped",
    "is new",
    "fails at once",
];

#[tokio::main]
async fn main() -> Result<()> {
    let size = match env::args().nth(1).as_deref() {
        None => FULL,
        Some("quick") => QUICK,
        Some("proxy") => return proxies(&QUICK).await,
        Some(other) => bail!("say `quick`, `proxy`, or nothing, and not {other:?}"),
    };
    println!("# load\npolicy,ms of the slow one,p99 in ms,% to the slow one");
    for policy in DRAWN {
        for slow in [1, 10, 100] {
            let mut calls = slow_server(&size, policy, slow).await?;
            let share = 100.0 * calls.of("slow") as f64 / calls.count() as f64;
            let p99 = calls.percentile(99);
            println!("{policy},{slow},{p99:.2},{share:.3}");
        }
    }
    println!("\n# each\npolicy,first,slow,third,median in ms,p99 in ms");
    for policy in POLICIES {
        let mut calls = slow_server(&size, policy, 100).await?;
        let [a, slow, b] = ["a", "slow", "b"].map(|name| calls.of(name));
        let [median, p99] = [50, 99].map(|part| calls.percentile(part));
        println!("{policy},{a},{slow},{b},{median:.2},{p99:.2}");
    }
    for (table, policies) in EVENTFUL {
        println!("\n# {table}\npolicy,one of three,calls,failed,answered by it");
        for policy in *policies {
            for event in EVENTS {
                odd_server(&size, policy, event).await?;
            }
        }
    }
    println!();
    if size.connections == FULL.connections {
        proxies(&size).await?;
        println!();
    }
    println!("# memory\nidle connections,kB for each with both its ends");
    println!("{},{:.0}", size.connections, weigh(size.connections).await?);
    Ok(())
}

/// What HAProxy makes of one connection, if there is a HAProxy.
async fn proxies(size: &Size) -> Result<()> {
    println!("# between\nbetween,calls,first,second,third");
    between(size, "nobody", None).await?;
    if Command::new("haproxy").arg("-v").output().await.is_err() {
        eprintln!("haproxy is not on the PATH: it is left out");
        return Ok(());
    }
    for mode in ["tcp", "http2"] {
        between(size, &format!("HAProxy: {mode}.cfg"), Some(mode)).await?;
    }
    println!("\n# idle\na call of 3 s and a limit of 1 s,no keepalive,keepalive each 0.5 s");
    for mode in ["tcp", "http2"] {
        idle(mode).await?;
    }
    Ok(())
}

/// What became of some calls.
#[derive(Default)]
struct Calls {
    /// How long each took, from when it should have begun.
    took: Vec<Duration>,
    /// How many each server has answered.
    answered: BTreeMap<String, usize>,
    failed: BTreeMap<String, usize>,
}

impl Calls {
    fn count(&self) -> usize {
        self.took.len()
    }

    fn failures(&self) -> usize {
        self.failed.values().sum()
    }

    fn of(&self, server: &str) -> usize {
        self.answered.get(server).copied().unwrap_or_default()
    }

    /// In milliseconds.
    fn percentile(&mut self, part: usize) -> f64 {
        self.took.sort_unstable();
        let at = self.took.len() * part / 100;
        let took = self.took.get(at).copied().unwrap_or_default();
        took.as_secs_f64() * 1000.0
    }
}

/// Begins calls at the rate, for so long.
async fn load(channel: &AnyChannel, rate: u32, long: Duration) -> Result<Calls> {
    let (begin, all) = (
        Instant::now(),
        rate * u32::try_from(long.as_millis())? / 1000,
    );
    let (due, mut dues) = mpsc::channel(1024);
    // A thread: tokio's clock ticks in milliseconds, and would begin some at a time.
    thread::spawn(move || {
        for call in 0..all {
            let at = begin + Duration::from_secs(1) * call / rate;
            thread::sleep(at.saturating_duration_since(Instant::now()));
            due.blocking_send(at).expect("all are taken");
        }
    });
    let mut calling = JoinSet::new();
    while let Some(due) = dues.recv().await {
        let mut client = GreeterServiceClient::new(channel.clone());
        calling.spawn(async move {
            let name = "李雷".to_owned();
            let answer = client.say_hello(SayHelloRequest { name }).await;
            (due.elapsed(), answer)
        });
    }
    let mut calls = Calls::default();
    while let Some(done) = calling.join_next().await {
        let (took, answer) = done?;
        calls.took.push(took);
        match answer {
            Ok(answer) => {
                let message = answer.into_inner().message;
                let server = message.rsplit(' ').next().unwrap_or_default();
                let server = server.trim_end_matches('.').to_owned();
                *calls.answered.entry(server).or_default() += 1;
            }
            Err(status) => {
                let code = format!("{:?}", status.code());
                *calls.failed.entry(code).or_default() += 1;
            }
        }
    }
    Ok(calls)
}

async fn over(policy: &str, servers: &[&Server]) -> Result<AnyChannel> {
    let servers: Vec<_> = servers.iter().map(|server| (server.address, 1)).collect();
    channel(policy, &servers).await
}

/// From the first call on: before it is known that one is slow, it gets some.
async fn slow_server(size: &Size, policy: &str, slow: u64) -> Result<Calls> {
    let slow_one = Server::start("slow", Duration::from_millis(slow)).await?;
    let (a, b) = (Server::fast("a").await?, Server::fast("b").await?);
    // Of the weights, one policy takes notice.
    let servers = [(a.address, 10), (slow_one.address, 1), (b.address, 10)];
    let channel = channel(policy, &servers).await?;
    let calls = load(&channel, size.rate, size.long).await?;
    ensure!(calls.failures() == 0, "{policy}: {:?}", calls.failed);
    Ok(calls)
}

async fn odd_server(size: &Size, policy: &str, event: &str) -> Result<()> {
    let mut odd = match event {
        "fails at once" => Server::wrong("odd").await?,
        _ => Server::fast("odd").await?,
    };
    if matches!(event, "is not there" | "is new") {
        odd.kill();
    }
    let (a, b) = (Server::fast("a").await?, Server::fast("b").await?);
    // The first one: pick-first takes it if it can.
    let channel = over(policy, &[&odd, &a, &b]).await?;
    load(&channel, size.rate, size.warm).await?;
    let happens = async {
        time::sleep(size.long / 3).await;
        match event {
            "is killed" => odd.kill(),
            "is stopped" => odd.stop.notify_one(),
            "is new" => odd.again().await?,
            _ => {}
        }
        anyhow::Ok(())
    };
    let (calls, happened) = tokio::join!(load(&channel, size.rate, size.long), happens);
    happened?;
    let calls = calls?;
    let (all, failed) = (calls.count(), calls.failures());
    println!("{policy},{event},{all},{failed},{}", calls.of(&odd.name));
    Ok(())
}

/// One connection, to what is between us and three servers.
async fn between(size: &Size, what: &str, mode: Option<&str>) -> Result<()> {
    let servers = [
        Server::fast("a").await?,
        Server::fast("b").await?,
        Server::fast("c").await?,
    ];
    let (_proxy, address) = match mode {
        None => (None, servers[0].address),
        Some(mode) => {
            let (proxy, address) = proxy(mode, &servers, "1m").await?;
            (Some(proxy), address)
        }
    };
    let channel = channel("one", &[(address, 1)]).await?;
    let calls = load(&channel, size.rate / 10, size.long).await?;
    ensure!(calls.failures() == 0, "{what}: {:?}", calls.failed);
    let [a, b, c] = servers.each_ref().map(|server| calls.of(&server.name));
    println!("{what},{},{a},{b},{c}", calls.count());
    Ok(())
}

/// A call during which nothing is sent for longer than HAProxy waits.
async fn idle(mode: &str) -> Result<()> {
    let slow = Duration::from_secs(3);
    let servers = [
        Server::start("a", slow).await?,
        Server::start("b", slow).await?,
        Server::start("c", slow).await?,
    ];
    let (_proxy, address) = proxy(mode, &servers, "1s").await?;
    let mut ends = Vec::new();
    for keepalive in [false, true] {
        let mut endpoint = backend::endpoint(address)?;
        if keepalive {
            endpoint = endpoint.http2_keep_alive_interval(Duration::from_millis(500));
        }
        let name = "李雷".to_owned();
        let mut client = GreeterServiceClient::new(endpoint.connect().await?);
        let code = match client.say_hello(SayHelloRequest { name }).await {
            Ok(_) => Code::Ok,
            Err(status) => status.code(),
        };
        ends.push(format!("{code:?}"));
    }
    println!("{mode}.cfg,{}", ends.join(","));
    Ok(())
}

/// HAProxy with a configuration of this crate, on free ports.
async fn proxy(mode: &str, servers: &[Server; 3], limit: &str) -> Result<(Child, SocketAddr)> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/haproxy");
    let mut text = std::fs::read_to_string(format!("{file}/{mode}.cfg"))?;
    for (server, port) in servers.iter().zip(50051..) {
        text = text.replace(&format!("127.0.0.1:{port}"), &server.address.to_string());
    }
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    text = text.replace("127.0.0.1:50080", &address.to_string());
    text = text.replace("1m", limit);
    let config = NamedTempFile::new()?;
    std::fs::write(&config, text)?;
    let child = Command::new("haproxy")
        .arg("-q")
        .arg("-f")
        .arg(config.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let answers = async {
        while TcpStream::connect(address).await.is_err() {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    time::timeout(Duration::from_secs(30), answers)
        .await
        .context("haproxy does not start")?;
    Ok((child, address))
}

/// How much memory, in kB, a connection takes that does nothing.
async fn weigh(connections: usize) -> Result<f64> {
    let server = Server::fast("a").await?;
    let mut all = Vec::with_capacity(connections);
    // What the first ones take is not only theirs.
    for _ in 0..10 {
        all.push(backend::endpoint(server.address)?.connect().await?);
    }
    let before = resident()?;
    for _ in 0..connections {
        all.push(backend::endpoint(server.address)?.connect().await?);
    }
    let mut client = GreeterServiceClient::new(all[connections].clone());
    let name = "李雷".to_owned();
    client.say_hello(SayHelloRequest { name }).await?;
    Ok((resident()? - before) / connections as f64)
}

/// What this process takes of the memory, in kB: only on Linux.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.unwrap_or("0").parse()?)
}

/// A server, in a runtime of its own: its process, so to speak.
struct Server {
    name: String,
    address: SocketAddr,
    stop: Arc<Notify>,
    process: Option<Runtime>,
}

impl Server {
    async fn fast(name: &str) -> Result<Self> {
        Self::start(name, Duration::ZERO).await
    }

    async fn start(name: &str, takes: Duration) -> Result<Self> {
        let here = name.to_owned();
        let stop = Arc::<Notify>::default();
        let stopped = stop.clone();
        let serve = move |listener| {
            let greeter = Greeter { here, takes };
            load_balancing::serve(listener, greeter, async move { stopped.notified().await })
        };
        Self::run(name, "127.0.0.1:0", stop, serve).await
    }

    /// One that fails each call, and does so fast.
    async fn wrong(name: &str) -> Result<Self> {
        let serve = |listener| {
            let router = transport::Server::builder().add_service(GreeterServiceServer::new(Wrong));
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming(incoming)
        };
        Self::run(name, "127.0.0.1:0", Arc::default(), serve).await
    }

    async fn run<F>(
        name: &str,
        address: &str,
        stop: Arc<Notify>,
        serve: impl FnOnce(TcpListener) -> F + Send + 'static,
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
            tokio::spawn(serve(listener));
            anyhow::Ok(address)
        });
        let address = bound.await??;
        Ok(Self {
            name: name.to_owned(),
            address,
            stop,
            process: Some(process),
        })
    }

    fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }

    /// At the same address, after it was killed.
    async fn again(&mut self) -> Result<()> {
        let here = self.name.clone();
        let serve = move |listener| {
            let takes = Duration::ZERO;
            load_balancing::serve(listener, Greeter { here, takes }, std::future::pending())
        };
        let address = self.address.to_string();
        *self = Self::run(&self.name.clone(), &address, Arc::default(), serve).await?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A greeter that has lost what it needs.
struct Wrong;

#[tonic::async_trait]
impl GreeterService for Wrong {
    async fn say_hello(
        &self,
        _: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        Err(Status::internal("the database is gone"))
    }
}

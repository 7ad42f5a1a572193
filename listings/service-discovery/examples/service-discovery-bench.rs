//! `cargo run --release --example service-discovery-bench [-- quick]`: servers join,
//! say goodbye and are killed, and the registry is stopped for half a minute, while
//! somebody calls all the time. It prints what came of that, as comma-separated
//! values.
//!
//! With a registry in this process, and with etcd and Consul if they are on the PATH:
//! then the servers are processes. All at the same time. It fails if a call does, or
//! if one goes to a server that had said goodbye.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    future::pending,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use indexmap::IndexSet;
use service_discovery::{
    DRAIN_TIMEOUT, FAREWELL,
    address::Address,
    channel::Balanced,
    greeter::Greeter,
    name::{Known, Name},
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
    registry::LEASE,
    registry::{Registration, Registry, memory::Memory},
    resolve,
    retry::retried,
    shutdown,
    target::{Kind, Target},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tonic::transport::server::TcpIncoming;

/// How long a call may take, with all its attempts.
const DEADLINE: Duration = Duration::from_secs(5);

/// How many call at once, and how long each waits before it calls again.
const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Size {
    /// How long nothing happens between two events.
    rest: Duration,
    /// How long the registry is away.
    away: Duration,
}

const FULL: Size = Size {
    rest: Duration::from_secs(2),
    away: Duration::from_secs(30),
};

/// To see that it works, with only the registry of this process.
const QUICK: Size = Size {
    rest: Duration::from_millis(200),
    away: Duration::ZERO,
};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (size, external) = match args[..] {
        [] => (FULL, true),
        ["quick"] => (QUICK, false),
        ["serve", registry] => return serve(registry).await,
        _ => bail!("say `quick`, or nothing"),
    };
    let mut drills = vec![Box::pin(drill(size, Where::Here(Arc::default())))];
    if external {
        for kind in [Kind::Etcd, Kind::Consul] {
            match Process::start(kind).await? {
                Some(process) => drills.push(Box::pin(drill(size, Where::There(process.into())))),
                None => eprintln!("{} is not on the PATH: it is left out", command(kind)),
            }
        }
    }
    let mut all = JoinSet::new();
    for (at, drill) in drills.into_iter().enumerate() {
        all.spawn(async move { (at, drill.await) });
    }
    let mut tables = BTreeMap::new();
    while let Some(done) = all.join_next().await {
        let (at, table) = done?;
        tables.insert(at, table?);
    }
    println!("registry,what happens,ms,calls,retried,failed");
    for rows in tables.values().flatten() {
        println!("{rows}");
    }
    Ok(())
}

/// Where the servers are registered.
enum Where {
    /// In this process, in which they also run.
    Here(Arc<Memory>),
    /// In another one.
    There(Box<Process>),
}

impl Where {
    fn name(&self) -> &'static str {
        match self {
            Self::Here(_) => "in the process",
            Self::There(process) => match process.kind {
                Kind::Etcd => "etcd",
                Kind::Consul => "Consul",
            },
        }
    }

    fn registry(&self) -> Result<Arc<dyn Registry>> {
        match self {
            Self::Here(memory) => Ok(memory.clone()),
            Self::There(process) => resolve::registry(process.kind, vec![process.address]),
        }
    }

    async fn server(&self) -> Result<Server> {
        match self {
            Self::Here(memory) => Server::here(memory.clone()).await,
            Self::There(process) => Server::there(&process.target()).await,
        }
    }
}

/// Lets it all happen. Returns a line for each event.
async fn drill(size: Size, mut place: Where) -> Result<Vec<String>> {
    let name = resolve::registered(place.name(), place.registry()?, "greeter");
    let mut events = Events::begin(place.name(), name);
    let (a, b) = (place.server().await?, place.server().await?);
    events.until_called(&a).await?;
    events.until_called(&b).await?;
    time::sleep(size.rest).await;
    events.happened("two servers come", None);

    let c = place.server().await?;
    let joined = Instant::now();
    events.until_called(&c).await?;
    let took = joined.elapsed();
    time::sleep(size.rest).await;
    events.happened("a third joins", Some(took));

    let left = Instant::now();
    let address = a.address;
    let (ended, gone) = tokio::join!(a.stop(), events.until_gone(address));
    ended?;
    let took = gone?.duration_since(left);
    time::sleep(size.rest).await;
    events.happened("one deregisters", Some(took));

    let killed = Instant::now();
    let address = b.address;
    b.kill().await?;
    events
        .until_known(|known| !known.contains(&Address::Tcp(address)))
        .await?;
    let took = killed.elapsed();
    time::sleep(size.rest).await;
    events.happened("one is killed", Some(took));

    let d = place.server().await?;
    let joined = Instant::now();
    events.until_called(&d).await?;
    let took = joined.elapsed();
    time::sleep(size.rest).await;
    events.happened("a fourth joins", Some(took));

    if let Where::There(process) = &mut place {
        process.stop().await?;
        time::sleep(size.away).await;
        events.happened("the registry is stopped", None);
        let back = Instant::now();
        process.run().await?;
        // Somebody new is heard of: so all are heard of again.
        let e = place.server().await?;
        events.until_called(&e).await?;
        let took = back.elapsed();
        let all = IndexSet::from([&c, &d, &e].map(|server| Address::Tcp(server.address)));
        events.until_known(|known| *known == all).await?;
        time::sleep(size.rest).await;
        events.happened("it is back and a fifth joins", Some(took));
        e.kill().await?;
    }
    events.end().await?;
    c.kill().await?;
    d.kill().await?;
    Ok(events.rows)
}

/// What is seen from outside.
struct Events {
    registry: &'static str,
    known: watch::Receiver<Option<Known>>,
    channel: Balanced,
    seen: Arc<watch::Sender<Seen>>,
    callers: JoinSet<()>,
    stop: Arc<AtomicBool>,
    rows: Vec<String>,
    failed: u64,
}

/// What became of the calls since the last event.
#[derive(Debug, Default)]
struct Seen {
    calls: u64,
    retried: u64,
    failed: u64,
    /// Who has answered.
    servers: BTreeSet<SocketAddr>,
    /// Who has said goodbye, and since when it is not called any more.
    gone: Option<(SocketAddr, Instant)>,
}

impl Events {
    /// Begins to call.
    fn begin(registry: &'static str, name: Name) -> Self {
        let known = name.known.clone();
        let channel = Balanced::new(name);
        let seen = Arc::<watch::Sender<Seen>>::default();
        let stop = Arc::<AtomicBool>::default();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (channel, seen, stop) = (channel.clone(), seen.clone(), stop.clone());
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    call(&channel, &seen).await;
                    time::sleep(PAUSE).await;
                }
            });
        }
        Self {
            registry,
            known,
            channel,
            seen,
            callers,
            stop,
            rows: Vec::new(),
            failed: 0,
        }
    }

    async fn until_called(&self, server: &Server) -> Result<()> {
        let mut seen = self.seen.subscribe();
        let called = seen.wait_for(|seen| seen.servers.contains(&server.address));
        time::timeout(PATIENCE, called)
            .await
            .with_context(|| format!("{}: nobody calls {}", self.registry, server.address))??;
        Ok(())
    }

    async fn until_known(&self, wanted: impl Fn(&IndexSet<Address>) -> bool) -> Result<()> {
        let mut known = self.known.clone();
        let known = known.wait_for(|known| known.as_ref().is_some_and(|it| wanted(&it.addresses)));
        time::timeout(PATIENCE, known)
            .await
            .with_context(|| format!("{}: nobody hears of it", self.registry))??;
        Ok(())
    }

    /// From when on `server` gets no call any more.
    async fn until_gone(&self, server: SocketAddr) -> Result<Instant> {
        let mut channel = self.channel.clone();
        while channel.servers().contains(&Address::Tcp(server)) {
            time::timeout(PATIENCE, channel.changed())
                .await
                .with_context(|| format!("{}: {server} stays", self.registry))?;
        }
        let now = Instant::now();
        self.seen
            .send_modify(|seen| seen.gone = Some((server, now)));
        Ok(now)
    }

    /// All calls since the last event belong to this one.
    fn happened(&mut self, what: &str, took: Option<Duration>) {
        let Seen {
            calls,
            retried,
            failed,
            ..
        } = self.seen.send_replace(Seen::default());
        self.failed += failed;
        let took = took.map_or("-".to_owned(), |took| took.as_millis().to_string());
        let registry = self.registry;
        let row = format!("{registry},{what},{took},{calls},{retried},{failed}");
        self.rows.push(row);
    }

    /// Ends to call, while there is somebody to answer.
    async fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            // It panics if a call goes where none may go.
            ended?;
        }
        self.failed += self.seen.borrow().failed;
        ensure!(
            self.failed == 0,
            "{}: {} calls failed",
            self.registry,
            self.failed
        );
        Ok(())
    }
}

async fn call(channel: &Balanced, seen: &watch::Sender<Seen>) {
    let began = Instant::now();
    let name = "李雷".to_owned();
    let answer = retried(SayHelloRequest { name }, DEADLINE, |request| {
        let mut client = GreeterServiceClient::new(channel.clone());
        async move { client.say_hello(request).await }
    });
    let answer = answer.await;
    seen.send_modify(|seen| {
        seen.calls += 1;
        match answer {
            Ok((response, retried)) => {
                seen.retried += u64::from(retried > 0);
                let here = response.message.rsplit(' ').next().unwrap_or_default();
                let server = here.trim_end_matches('.').parse().expect("an address");
                seen.servers.insert(server);
                if let Some((gone, since)) = seen.gone {
                    assert!(server != gone || began < since, "{gone} said goodbye");
                }
            }
            Err(status) => {
                eprintln!("a call failed: {status}");
                seen.failed += 1;
            }
        }
    });
}

/// A server of the greeter.
struct Server {
    address: SocketAddr,
    runs: Runs,
}

enum Runs {
    /// With a runtime of its own.
    Here(Runtime, Registration),
    There(Child),
}

impl Server {
    async fn here(registry: Arc<dyn Registry>) -> Result<Self> {
        let process = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let registered = process.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let here = address.to_string();
            let incoming = TcpIncoming::from(listener);
            let served = service_discovery::serve(incoming, Greeter { here }, pending());
            tokio::spawn(served);
            let registration = Registration::new(registry, "greeter", address);
            anyhow::Ok((address, registration))
        });
        let (address, registration) = registered.await??;
        let runs = Runs::Here(process, registration);
        Ok(Self { address, runs })
    }

    /// This program once more.
    async fn there(registry: &str) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["serve", registry])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("it has an output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let address = line.context("a server said nothing")?.parse()?;
        let runs = Runs::There(child);
        Ok(Self { address, runs })
    }

    /// As Ctrl-C does.
    async fn stop(self) -> Result<()> {
        match self.runs {
            Runs::Here(process, registration) => {
                registration.end().await;
                time::sleep(FAREWELL).await;
                process.shutdown_background();
            }
            Runs::There(mut child) => {
                let id = child.id().context("it has ended")?.to_string();
                let told = Command::new("kill").args(["-INT", &id]).status().await?;
                ensure!(told.success(), "cannot interrupt a server");
                let ended = child.wait().await?;
                ensure!(ended.success(), "a server ended with {ended}");
            }
        }
        Ok(())
    }

    async fn kill(self) -> Result<()> {
        match self.runs {
            Runs::Here(process, _) => process.shutdown_background(),
            Runs::There(mut child) => child.kill().await?,
        }
        Ok(())
    }
}

/// What such a process does: the same as the server of this crate, but for its log.
async fn serve(registry: &str) -> Result<()> {
    let Target::Registry {
        kind,
        server,
        service,
    } = registry.parse()?
    else {
        bail!("`{registry}` is no registry");
    };
    let shutdown = shutdown::signals(LEASE + FAREWELL + DRAIN_TIMEOUT)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("{address}");
    let registration = Registration::new(resolve::registry(kind, server)?, &service, address);
    let stop = async {
        shutdown.await;
        registration.end().await;
        time::sleep(FAREWELL).await;
    };
    let here = address.to_string();
    service_discovery::serve(TcpIncoming::from(listener), Greeter { here }, stop).await?;
    Ok(())
}

/// A registry that runs.
struct Process {
    kind: Kind,
    address: SocketAddr,
    /// Where etcd keeps what it knows. Consul forgets everything.
    data: TempDir,
    /// Ports for what else it listens on.
    others: [SocketAddr; 2],
    child: Option<Child>,
}

/// How it is called.
fn command(kind: Kind) -> &'static str {
    match kind {
        Kind::Etcd => "etcd",
        Kind::Consul => "consul",
    }
}

impl Process {
    /// `None` if there is no such program.
    async fn start(kind: Kind) -> Result<Option<Self>> {
        let version = Command::new(command(kind)).arg("version").output().await;
        if version.is_err() {
            return Ok(None);
        }
        let free = || std::net::TcpListener::bind("127.0.0.1:0")?.local_addr();
        let mut process = Self {
            kind,
            address: free()?,
            data: tempfile::tempdir()?,
            others: [free()?, free()?],
            child: None,
        };
        process.run().await?;
        Ok(Some(process))
    }

    fn target(&self) -> String {
        let scheme = command(self.kind);
        format!("{scheme}://{}/greeter", self.address)
    }

    /// Starts it, and waits until it answers.
    async fn run(&mut self) -> Result<()> {
        let [one, two] = self.others;
        let mut start = Command::new(command(self.kind));
        match self.kind {
            Kind::Etcd => start
                .arg("--data-dir")
                .arg(self.data.path())
                .arg(format!("--listen-client-urls=http://{}", self.address))
                .arg(format!("--advertise-client-urls=http://{}", self.address))
                .arg(format!("--listen-peer-urls=http://{one}"))
                .arg(format!("--initial-advertise-peer-urls=http://{one}"))
                .arg(format!("--initial-cluster=default=http://{one}")),
            Kind::Consul => start
                .args([
                    "agent",
                    "-dev",
                    "-dns-port=-1",
                    "-grpc-port=-1",
                    "-grpc-tls-port=-1",
                    "-serf-wan-port=-1",
                ])
                .arg(format!("-http-port={}", self.address.port()))
                .arg(format!("-serf-lan-port={}", one.port()))
                .arg(format!("-server-port={}", two.port())),
        };
        let child = start
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        let answers = async {
            while TcpStream::connect(self.address).await.is_err() {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(PATIENCE, answers)
            .await
            .with_context(|| format!("{} does not start", command(self.kind)))
    }

    async fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }
}

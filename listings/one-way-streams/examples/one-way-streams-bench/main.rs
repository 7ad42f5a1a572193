//! `cargo run --release --example one-way-streams-bench [-- quick]` measures the mailboxes, and
//! beside them a scheme that polls. It prints comma-separated values.
//!
//! Each row is a server of its own, started as another process, so that its
//! memory can be told from the clients'. Linux only: memory is read from /proc.

mod polling;

use std::{
    env, fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use one_way_streams::{
    MAX_STREAMS_PER_CONNECTION,
    mailboxes::Limits,
    pb::{
        AcknowledgeMessagesRequest, Message, ReceiveMessagesRequest, SendMessagesRequest,
        message_service_client::MessageServiceClient, message_service_server::MessageServiceServer,
    },
    serve,
};
use polling::Polling;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{interval, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};

type Client = MessageServiceClient<Channel>;

/// Messages are timed from here: senders and receivers share this process.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const RECEIVERS: usize = 10;

/// A receiver acknowledges so many messages at once.
const ACKNOWLEDGED_AT_ONCE: usize = 32;

/// How many messages are sent in a second when latency is measured.
const CALM_PER_SECOND: u32 = 100;

/// A message that has not come by then is lost.
const LATE: Duration = Duration::from_secs(30);

struct Size {
    senders: &'static [usize],
    each: Duration,
    idle_streams: usize,
}

const FULL: Size = Size {
    senders: &[1, 10, 100, 1000],
    each: Duration::from_secs(5),
    idle_streams: 10_000,
};

/// To see that it works; the figures mean nothing.
const QUICK: Size = Size {
    senders: &[1, 10],
    each: Duration::from_millis(500),
    idle_streams: 100,
};

#[derive(Clone, Copy)]
enum Scheme {
    Mailbox,
    Polling,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Polling => "polling",
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => measure(&FULL).await,
        ["quick"] => measure(&QUICK).await,
        ["serve", "mailbox"] => serve_scheme(Scheme::Mailbox).await,
        ["serve", "polling"] => serve_scheme(Scheme::Polling).await,
        other => bail!("{other:?}: say nothing, or `quick`"),
    }
}

async fn measure(size: &Size) -> Result<()> {
    println!("scheme,senders,messages/s,p50 latency (ms),p99 latency (ms),memory (MiB)");
    for scheme in [Scheme::Mailbox, Scheme::Polling] {
        for &senders in size.senders {
            let (per_second, peak_kib) = at_full_speed(scheme, senders, size.each).await?;
            let (p50, p99) = calmly(scheme, senders, size.each).await?;
            println!(
                "{},{senders},{per_second},{:.2},{:.2},{:.1}",
                scheme.name(),
                p50.as_secs_f64() * 1e3,
                p99.as_secs_f64() * 1e3,
                mebibytes(peak_kib)
            );
        }
    }
    println!();
    println!("idle streams,memory for each (KiB)");
    let kib = idle(size.idle_streams).await?;
    println!("{},{kib:.1}", size.idle_streams);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Everybody sends as fast as they can: messages received in a second, and the
/// most memory that the server ever had, in KiB.
async fn at_full_speed(scheme: Scheme, senders: usize, each: Duration) -> Result<(usize, u64)> {
    let server = Process::start(scheme).await?;
    let mut received = Received::start(&server).await?;
    let end = Instant::now() + each;
    let mut sending = JoinSet::new();
    for (at, mut client) in server.clients(senders).await?.into_iter().enumerate() {
        let messages = std::iter::from_fn(move || (Instant::now() < end).then(|| message(at)));
        sending.spawn(async move { client.send_messages(tokio_stream::iter(messages)).await });
    }
    sleep(end - Instant::now()).await;
    let count = received.times()?.len();
    nothing_failed(&mut sending)?;
    let peak = server.memory("VmHWM")?;
    let per_second = count as u128 * 1000 / each.as_millis();
    Ok((usize::try_from(per_second)?, peak))
}

/// All of them together send a hundred messages a second: the time from sending
/// to receiving, for the median and for the slowest of a hundred.
async fn calmly(scheme: Scheme, senders: usize, each: Duration) -> Result<(Duration, Duration)> {
    let server = Process::start(scheme).await?;
    let mut received = Received::start(&server).await?;
    let mut inputs = Vec::new();
    let mut sending = JoinSet::new();
    for mut client in server.clients(senders).await? {
        let (input, messages) = mpsc::channel(1);
        inputs.push(input);
        sending.spawn(async move { client.send_messages(ReceiverStream::new(messages)).await });
    }
    let mut tick = interval(Duration::from_secs(1) / CALM_PER_SECOND);
    let end = Instant::now() + each;
    let mut sent = 0;
    for (at, input) in inputs.iter().cycle().enumerate() {
        tick.tick().await;
        if Instant::now() > end {
            break;
        }
        input.send(message(at)).await?;
        sent += 1;
    }
    // The slowest count too.
    while received.times()?.len() < sent {
        ensure!(Instant::now() < end + LATE, "messages are missing");
        sleep(Duration::from_millis(10)).await;
    }
    nothing_failed(&mut sending)?;
    let mut times = received.times()?;
    times.sort_unstable();
    let percentile = |percent| times[(times.len() - 1) * percent / 100];
    Ok((percentile(50), percentile(99)))
}

/// Receivers that wait, each at a mailbox of its own: how much more memory the
/// server has with them, in KiB for each.
#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
async fn idle(streams: usize) -> Result<f64> {
    let server = Process::start(Scheme::Mailbox).await?;
    let before = server.memory("VmRSS")?;
    let per_connection = usize::try_from(MAX_STREAMS_PER_CONNECTION)?;
    let mut open = Vec::new();
    for at in 0..streams.div_ceil(per_connection) {
        let mut client = server.client().await?;
        for user in at * per_connection..streams.min((at + 1) * per_connection) {
            let user = format!("user-{user}");
            let response = client.receive_messages(ReceiveMessagesRequest { user });
            open.push(response.await?.into_inner());
        }
    }
    let after = server.memory("VmRSS")?;
    ensure!(open.len() == streams, "only {} are open", open.len());
    Ok(after.saturating_sub(before) as f64 / streams as f64)
}

/// The next message of a sender, with the time in it.
fn message(at: usize) -> SendMessagesRequest {
    let since = START.elapsed().as_nanos();
    SendMessagesRequest {
        message: Some(Message {
            from: "jack".to_owned(),
            to: format!("user-{}", at % RECEIVERS),
            content: format!("{since} 下午有没有时间一起打游戏"),
        }),
    }
}

/// What the receivers get: how long each message was on its way.
struct Received {
    times: Arc<Mutex<Vec<Duration>>>,
    /// Ends them when it is dropped.
    receivers: JoinSet<Result<()>>,
}

impl Received {
    async fn start(server: &Process) -> Result<Self> {
        let times = Arc::new(Mutex::new(Vec::new()));
        let mut receivers = JoinSet::new();
        for at in 0..RECEIVERS {
            let client = server.client().await?;
            receivers.spawn(receive(client, format!("user-{at}"), Arc::clone(&times)));
        }
        Ok(Self { times, receivers })
    }

    /// So far; an error if a receiver has failed.
    fn times(&mut self) -> Result<Vec<Duration>> {
        nothing_failed(&mut self.receivers)?;
        let times = self.times.lock();
        Ok(times.unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Fails if one of the tasks that have ended has failed.
fn nothing_failed<T, E>(tasks: &mut JoinSet<std::result::Result<T, E>>) -> Result<()>
where
    T: 'static,
    E: Into<anyhow::Error> + 'static,
{
    while let Some(ended) = tasks.try_join_next() {
        ended?.map_err(Into::into)?;
    }
    Ok(())
}

async fn receive(mut client: Client, user: String, times: Arc<Mutex<Vec<Duration>>>) -> Result<()> {
    let request = ReceiveMessagesRequest { user: user.clone() };
    let mut messages = client.receive_messages(request).await?.into_inner();
    let mut count = 0;
    while let Some(response) = messages.message().await? {
        let message = response.message.context("it is empty")?;
        let since = message.content.split(' ').next().unwrap_or_default();
        let sent = Duration::from_nanos(since.parse()?);
        let took = START.elapsed().saturating_sub(sent);
        let all = times.lock();
        all.unwrap_or_else(PoisonError::into_inner).push(took);

        count += 1;
        if count % ACKNOWLEDGED_AT_ONCE == 0 {
            let request = AcknowledgeMessagesRequest {
                user: user.clone(),
                through: response.number,
            };
            client.acknowledge_messages(request).await?;
        }
    }
    Ok(())
}

/// A server in a process of its own. Dropping it kills it.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    async fn start(scheme: Scheme) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["serve", scheme.name()])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("it was piped")?;
        let output = tokio::process::ChildStdout::from_std(output)?;
        let mut lines = BufReader::new(output).lines();
        let line = lines.next_line().await?.context("the server has ended")?;
        let address = line.parse()?;
        Ok(Self { child, address })
    }

    async fn client(&self) -> Result<Client> {
        let channel = Endpoint::from_shared(format!("http://{}", self.address))?
            .connect()
            .await?;
        Ok(Client::new(channel))
    }

    /// So many clients, a hundred to a connection.
    async fn clients(&self, count: usize) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        while clients.len() < count {
            let client = self.client().await?;
            let share = 100.min(count - clients.len());
            clients.extend(std::iter::repeat_n(client, share));
        }
        Ok(clients)
    }

    /// What the system says of the server's memory, in KiB.
    fn memory(&self, what: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("memory is read from /proc, which only Linux has")?;
        let line = status.lines().find(|line| line.starts_with(what));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(value.context("/proc has no such line")?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The other process: prints its address, and serves until it is killed.
async fn serve_scheme(scheme: Scheme) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    match scheme {
        Scheme::Mailbox => {
            let limits = Limits {
                mailboxes: 20_000,
                idle: Duration::from_secs(3600),
                ..Limits::default()
            };
            serve(listener, limits, std::future::pending()).await?;
        }
        Scheme::Polling => {
            Server::builder()
                .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
                .add_service(MessageServiceServer::new(Polling::default()))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await?;
        }
    }
    Ok(())
}

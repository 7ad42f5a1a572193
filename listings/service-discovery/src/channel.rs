//! One channel over all servers of a name, in turn.

use std::{
    collections::BTreeMap,
    error::Error,
    iter,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt;
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
    time,
};
use tonic::{
    Status, TimeoutExpired,
    body::Body,
    codegen::{BoxFuture, http},
    transport::Channel,
};
use tower::{Service, ServiceExt};

use crate::{
    address::Address,
    backoff::Backoff,
    name::{Known, Name},
};

/// How long to wait before a server that could not be connected to is tried again.
const RECONNECT: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
};

// ANCHOR: balanced
/// A channel to all servers of a name: each call goes to the one that has waited
/// longest, of those that are connected.
#[derive(Clone, Debug)]
pub struct Balanced {
    lines: Arc<Lines>,
    state: watch::Receiver<State>,
}

/// What a call finds.
#[derive(Clone, Debug)]
enum State {
    /// It is not known yet whether anybody can be called: calls wait.
    Connecting,
    /// There is a connection.
    Ready {
        /// Whether others are being tried for the first time.
        trying: bool,
    },
    /// Nobody can be called, for this reason: calls fail at once.
    Failing(String),
}

/// The connections, in their turn, and who is told that one is broken.
#[derive(Debug, Default)]
struct Lines {
    turns: Mutex<Turns>,
    broken: Notify,
}

/// Whoever is first is next.
type Turns = BTreeMap<Turn, Arc<Line>>;

/// What decides who is next: its fields, in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// When it was called last; 0 if it never was.
    last: u64,
    /// Its place in the answer of the resolver.
    place: usize,
    address: Address,
}

/// A connection.
#[derive(Debug)]
struct Line {
    address: Address,
    channel: Channel,
    broken: AtomicBool,
}
// ANCHOR_END: balanced

impl Balanced {
    /// A channel to the servers of `name`. It connects to all of them, and to those
    /// that come, in a task of its own, which ends when the last clone is gone.
    pub fn new(name: Name) -> Self {
        let lines = Arc::<Lines>::default();
        let (sender, state) = watch::channel(State::Connecting);
        tokio::spawn(keep(name, lines.clone(), sender));
        Self { lines, state }
    }

    /// Whom calls may go to now, in their turn.
    pub fn servers(&self) -> Vec<Address> {
        let turns = self.lines.turns();
        turns.keys().map(|turn| turn.address.clone()).collect()
    }

    /// Waits until something has changed of what [`servers`](Self::servers) says, or
    /// of what it is that keeps them from being called.
    pub async fn changed(&mut self) {
        // It ends with the last clone, of which this is one.
        self.state.changed().await.ok();
    }

    /// Waits until everybody that is known of has been tried once. Without it, the
    /// first calls all go to the one that was connected first.
    pub async fn settled(&mut self) {
        let settled =
            |state: &State| matches!(state, State::Ready { trying: false } | State::Failing(_));
        self.state.wait_for(settled).await.ok();
    }

    // ANCHOR: pick
    async fn pick(&self) -> Result<Arc<Line>, Status> {
        let mut state = self.state.clone();
        loop {
            // In this order: what changes after it was read is not slept through.
            if let State::Failing(why) = &*state.borrow_and_update() {
                return Err(Status::unavailable(why));
            }
            if let Some(line) = self.lines.next() {
                return Ok(line);
            }
            let ended = |_| Status::unavailable("nobody looks after this channel any more");
            state.changed().await.map_err(ended)?;
        }
    }
    // ANCHOR_END: pick
}

// ANCHOR: turns
impl Lines {
    /// The connection that has waited longest. Its next turn is behind all others.
    fn next(&self) -> Option<Arc<Line>> {
        let mut turns = self.turns();
        let last = turns.last_key_value().map_or(0, |(turn, _)| turn.last);
        // Those that broke are taken out below, as soon as `keep` has heard of it.
        let (turn, line) = turns.iter().find(|(_, line)| !line.is_broken())?;
        let (mut turn, line) = (turn.clone(), line.clone());
        turns.remove(&turn);
        turn.last = last + 1;
        turns.insert(turn, line.clone());
        Some(line)
    }
    // ANCHOR_END: turns

    fn turns(&self) -> MutexGuard<'_, Turns> {
        // Whoever panicked has left a queue that is whole.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

// ANCHOR: call
impl Service<http::Request<Body>> for Balanced {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Whom it goes to is decided when there is something to send.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let line = this.pick().await?;
            let lines = this.lines;
            match line.channel.clone().oneshot(request).await {
                Ok(response) => Ok(response.map(|body| {
                    // It can break until the last byte has come.
                    Body::new(body.map_err(move |status| lines.failed(&line, status)))
                })),
                Err(error) => Err(lines.failed(&line, Status::from_error(error.into()))),
            }
        })
    }
}
// ANCHOR_END: call

impl Lines {
    // ANCHOR: failed
    /// What a call ends with that got no answer. If the connection is to blame, tonic
    /// says UNKNOWN, CANCELLED or UNAVAILABLE, according to where the call was when it
    /// broke. gRPC says UNAVAILABLE, and so do we.
    fn failed(&self, line: &Line, status: Status) -> Status {
        let Some(error) = status.source() else {
            // It has come from the server.
            return status;
        };
        let last = last_cause(error);
        if causes(error).any(|cause| cause.is::<TimeoutExpired>()) {
            return Status::deadline_exceeded(format!("{}: no answer in time", line.address));
        }
        // The server has ended this one call, and the connection is well.
        let reset = |error: &h2::Error| error.is_reset();
        if causes(error).any(|cause| cause.downcast_ref().is_some_and(reset)) {
            return status;
        }
        let unavailable = Status::unavailable(format!("{}: {last}", line.address));
        if !line.broken.swap(true, Ordering::Relaxed) {
            tracing::info!(server = %line.address, because = last, "a connection broke");
            self.broken.notify_one();
        }
        unavailable
    }
    // ANCHOR_END: failed
}

/// A server of the name, and how it is with it.
enum Server {
    Connected(Arc<Line>),
    Connecting {
        attempt: AbortHandle,
        /// How many attempts before this one have failed in a row.
        failures: u32,
        /// Why the last one did.
        because: String,
    },
}

/// Keeps a connection to each server of a name.
struct Keeper {
    name: Name,
    lines: Arc<Lines>,
    state: watch::Sender<State>,
    servers: BTreeMap<Address, Server>,
    attempts: JoinSet<(Address, Result<Channel, String>)>,
}

async fn keep(name: Name, lines: Arc<Lines>, state: watch::Sender<State>) {
    let mut keeper = Keeper {
        name,
        lines,
        state,
        servers: BTreeMap::new(),
        attempts: JoinSet::new(),
    };
    keeper.known();
    keeper.run().await;
}

impl Keeper {
    // ANCHOR: run
    async fn run(&mut self) {
        loop {
            self.state.send_replace(self.state());
            tokio::select! {
                () = self.state.closed() => return,
                Ok(()) = self.name.known.changed() => self.known(),
                Some(done) = self.attempts.join_next() => {
                    // One that was aborted has nothing to say.
                    if let Ok((address, connected)) = done {
                        self.attempted(address, connected);
                    }
                }
                () = self.lines.broken.notified() => self.broken(),
            }
        }
    }
    // ANCHOR_END: run

    // ANCHOR: changes
    /// There is news of the name: connects to those that have come, and calls no more
    /// those that are gone. Calls that are under way there go on.
    fn known(&mut self) {
        let Some(Known { addresses, .. }) = self.name.known.borrow_and_update().clone() else {
            return;
        };
        self.servers.retain(|address, server| {
            let stays = addresses.contains(address);
            if let (false, Server::Connecting { attempt, .. }) = (stays, server) {
                attempt.abort();
            }
            stays
        });
        let stays = |turn: &Turn| addresses.contains(&turn.address);
        self.lines.turns().retain(|turn, _| stays(turn));
        for address in addresses {
            if !self.servers.contains_key(&address) {
                self.connect(address, 0, String::new());
            }
        }
    }

    fn attempted(&mut self, address: Address, connected: Result<Channel, String>) {
        let Some(Server::Connecting { failures, .. }) = self.servers.get(&address) else {
            return;
        };
        match connected {
            Ok(channel) => {
                let line = Arc::new(Line {
                    address: address.clone(),
                    channel,
                    broken: AtomicBool::new(false),
                });
                let known = self.name.known.borrow();
                let addresses = known.iter().flat_map(|known| &known.addresses);
                // Whoever is new has waited longest.
                let turn = Turn {
                    last: 0,
                    place: addresses.take_while(|other| **other != address).count(),
                    address: address.clone(),
                };
                self.lines.turns().insert(turn, line.clone());
                self.servers.insert(address, Server::Connected(line));
            }
            Err(because) => {
                let failures = failures + 1;
                if failures == 1 {
                    tracing::info!(server = %address, because, "cannot connect");
                }
                self.connect(address, failures, because);
            }
        }
    }

    fn broken(&mut self) {
        self.lines.turns().retain(|_, line| !line.is_broken());
        let broken = |(address, server): (&Address, &Server)| match server {
            Server::Connected(line) if line.is_broken() => Some(address.clone()),
            _ => None,
        };
        let broken: Vec<Address> = self.servers.iter().filter_map(broken).collect();
        for address in broken {
            self.connect(address, 0, "the connection broke".to_owned());
        }
        // It may have moved.
        self.name.again.notify_one();
    }
    // ANCHOR_END: changes

    // ANCHOR: connect
    fn connect(&mut self, address: Address, failures: u32, because: String) {
        let to = address.clone();
        let attempt = self.attempts.spawn(async move {
            if failures > 0 {
                time::sleep(RECONNECT.pause(failures)).await;
            }
            let channel = match to.endpoint() {
                Ok(endpoint) => endpoint.connect().await,
                Err(error) => Err(error),
            };
            (to, channel.map_err(|error| last_cause(&error)))
        });
        let server = Server::Connecting {
            attempt,
            failures,
            because,
        };
        self.servers.insert(address, server);
    }
    // ANCHOR_END: connect

    // ANCHOR: state
    fn state(&self) -> State {
        let target = &self.name.target;
        let Some(known) = &*self.name.known.borrow() else {
            return State::Connecting;
        };
        let (mut connected, mut trying, mut reasons) = (false, false, Vec::new());
        for (address, server) in &self.servers {
            match server {
                Server::Connected(_) => connected = true,
                Server::Connecting { failures: 0, .. } => trying = true,
                Server::Connecting { because, .. } => reasons.push(format!("{address}: {because}")),
            }
        }
        if connected {
            return State::Ready { trying };
        }
        if trying {
            return State::Connecting;
        }
        if self.servers.is_empty() {
            let problem = known.problem.as_deref().unwrap_or("nobody is there");
            reasons.push(problem.to_owned());
        }
        State::Failing(format!("{target}: {}", reasons.join(", ")))
    }
    // ANCHOR_END: state
}

/// An error, what caused it, what caused that, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| Error::source(*error))
}

/// The last cause is the one that says something: "Connection refused", and not
/// "transport error".
fn last_cause(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

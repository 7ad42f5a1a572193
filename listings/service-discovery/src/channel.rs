//! One channel over all servers of a name, in turn.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time,
};
use tonic::{
    Status, TimeoutExpired,
    body::Body,
    codegen::{BoxFuture, http},
};
use tower::Service;

use crate::{
    address::Address,
    backoff::Backoff,
    connection::{Connection, NoConnection, causes, last_cause},
    name::{Known, Name},
};

/// How long to wait before a server that could not be connected to is tried again. A
/// connection that ends sooner than the longest of these pauses counts as a failure too:
/// otherwise a server that speaks HTTP/2 and then closes would be connected to all the
/// time.
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

/// The connections, in their turn.
#[derive(Debug, Default)]
struct Lines {
    turns: Mutex<Turns>,
}

/// The first one is called next.
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

/// A connection to a server. gRPC calls it a subchannel.
#[derive(Debug)]
struct Line {
    address: Address,
    connection: Connection,
    /// How many attempts before this one have failed in a row.
    failures: u32,
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

    /// The servers that calls may go to now, in their turn.
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
        let last = last(&turns);
        // Those that have ended are taken out below, as soon as `keep` has heard of it.
        let mut all = turns.iter();
        let (turn, line) = all.find(|(_, line)| line.connection.ended().is_none())?;
        let (mut turn, line) = (turn.clone(), line.clone());
        turns.remove(&turn);
        turn.last = last + 1;
        turns.insert(turn, line.clone());
        Some(line)
    }
    // ANCHOR_END: turns

    fn turns(&self) -> MutexGuard<'_, Turns> {
        // A call that panicked has left a queue that is whole.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last turn that has been given.
fn last(turns: &Turns) -> u64 {
    turns.last_key_value().map_or(0, |(turn, _)| turn.last)
}

// ANCHOR: call
impl Service<http::Request<Body>> for Balanced {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // The server is chosen when there is something to send.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let line = this.pick().await?;
            match line.connection.call(request).await {
                Ok(response) => Ok(response.map(|body| {
                    // It can break until the last byte has come.
                    Body::new(body.map_err(move |status| line.failed(status)))
                })),
                Err(error) => Err(line.failed(Status::from_error(error.into()))),
            }
        })
    }
}
// ANCHOR_END: call

impl Line {
    // ANCHOR: failed
    /// What a call ends with that got no answer. If the connection is to blame, tonic
    /// says UNKNOWN, CANCELLED or UNAVAILABLE, according to where the call was when it
    /// broke. gRPC says UNAVAILABLE, and so do we.
    fn failed(&self, status: Status) -> Status {
        let Some(error) = status.source() else {
            // It has come from the server.
            return status;
        };
        let last = last_cause(error);
        if causes(error).any(|cause| cause.is::<TimeoutExpired>()) {
            return Status::deadline_exceeded(format!("{}: no answer in time", self.address));
        }
        // The server has ended this one call, and the connection is well.
        let reset = |error: &h2::Error| error.is_reset();
        if causes(error).any(|cause| cause.downcast_ref().is_some_and(reset)) {
            return status;
        }
        self.connection.broke(&last);
        Status::unavailable(format!("{}: {last}", self.address))
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
        /// Why the last connection, or attempt, failed; `None` at the very first attempt.
        because: Option<String>,
    },
}

/// Keeps a connection to each server of a name.
struct Keeper {
    name: Name,
    lines: Arc<Lines>,
    state: watch::Sender<State>,
    servers: BTreeMap<Address, Server>,
    attempts: JoinSet<(Address, Result<Connection, NoConnection>)>,
    /// One for each connection, which resolves when that ends.
    ends: JoinSet<()>,
}

async fn keep(name: Name, lines: Arc<Lines>, state: watch::Sender<State>) {
    let mut keeper = Keeper {
        name,
        lines,
        state,
        servers: BTreeMap::new(),
        attempts: JoinSet::new(),
        ends: JoinSet::new(),
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
                Some(_) = self.ends.join_next() => self.ended(),
            }
        }
    }
    // ANCHOR_END: run

    // ANCHOR: changes
    /// There is news of the name: connects to those that have come, and calls no more
    /// those that are gone. Calls that are in progress there go on.
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
                self.connect(address, 0, None);
            }
        }
    }

    fn attempted(&mut self, address: Address, connected: Result<Connection, NoConnection>) {
        let Some(Server::Connecting {
            failures, because, ..
        }) = self.servers.get(&address)
        else {
            return;
        };
        match connected {
            Ok(connection) => {
                self.ends.spawn(connection.end());
                let line = Arc::new(Line {
                    address: address.clone(),
                    connection,
                    failures: *failures,
                });
                let known = self.name.known.borrow();
                let addresses = known.iter().flat_map(|known| &known.addresses);
                let mut turns = self.lines.turns();
                let turn = Turn {
                    // A server that is new has waited longest. One that was away is last,
                    // or a server that comes and goes would draw more calls than others.
                    last: because.as_ref().map_or(0, |_| last(&turns) + 1),
                    place: addresses.take_while(|other| **other != address).count(),
                    address: address.clone(),
                };
                turns.insert(turn, line.clone());
                drop(turns);
                self.servers.insert(address, Server::Connected(line));
            }
            Err(error) => {
                let (failures, last) = (failures + 1, because.as_ref());
                let because = error.to_string();
                if last != Some(&because) {
                    tracing::info!(server = %address, because, "cannot connect");
                }
                self.connect(address, failures, Some(because));
            }
        }
    }

    /// A connection has ended, whether a call has found out or not.
    fn ended(&mut self) {
        let ended = |line: &Line| line.connection.ended();
        self.lines.turns().retain(|_, line| ended(line).is_none());
        let mut again = Vec::new();
        for (address, server) in &self.servers {
            if let Server::Connected(line) = server
                && let Some(because) = ended(line)
            {
                // Every server ends once, and most do so in good order. That it cannot be
                // connected to again is what the log should show.
                tracing::debug!(server = %address, because, "a connection ended");
                // That it was there at all shows nothing; that it lasted does.
                let lasted = line.connection.age() >= RECONNECT.longest;
                let failures = if lasted { 0 } else { line.failures + 1 };
                again.push((address.clone(), failures, because));
            }
        }
        for (address, failures, because) in again {
            self.connect(address, failures, Some(because));
        }
        // It may have moved.
        self.name.again.notify_one();
    }
    // ANCHOR_END: changes

    // ANCHOR: connect
    fn connect(&mut self, address: Address, failures: u32, because: Option<String>) {
        let to = address.clone();
        let attempt = self.attempts.spawn(async move {
            if failures > 0 {
                time::sleep(RECONNECT.pause(failures)).await;
            }
            let connected = to.connect().await;
            (to, connected)
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
                Server::Connecting { because, .. } => {
                    let because = because.as_deref().unwrap_or_default();
                    reasons.push(format!("{address}: {because}"));
                }
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

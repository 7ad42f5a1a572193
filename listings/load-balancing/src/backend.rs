//! One server, as a client sees it.

use std::{
    error::Error,
    future, iter,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time,
};
use tonic::{
    Code, Status,
    transport::{self, Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::SERVICE;

/// How long it may take to connect.
pub const CONNECT: Duration = Duration::from_secs(1);

/// How long to wait before a server that cannot be reached is tried again: at first,
/// and at most.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

// ANCHOR: backend
/// A server, the connection to it, and how much it has to do for us.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    weight: u32,
    pending: AtomicUsize,
    state: Mutex<State>,
}

/// Whether it can be called.
#[derive(Clone, Debug)]
pub enum State {
    /// That is not known yet.
    Connecting,
    /// It can.
    Ready(Connection),
    /// It cannot, for this reason.
    Out(String),
}

/// A connection, which calls may find broken. Each is told so by itself: a call may hear
/// of it late, when there is a new one already.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    broken: Arc<Notify>,
}
// ANCHOR_END: backend

impl Connection {
    fn new(channel: Channel) -> Self {
        let broken = Arc::default();
        Self { channel, broken }
    }

    /// What calls go through.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Says that a call has found it broken.
    pub fn broke(&self) {
        self.broken.notify_one();
    }
}

impl Backend {
    /// The server at `address`, which can do so many times as much as others.
    pub fn new(address: SocketAddr, weight: u32) -> Self {
        Self {
            address,
            weight,
            pending: AtomicUsize::new(0),
            state: Mutex::new(State::Connecting),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many times as much as others it can do.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// How many calls of ours are under way there.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Whether it can be called.
    pub fn state(&self) -> State {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Whoever panicked has left a state that is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ANCHOR: keep
    /// Keeps a connection to it, for ever, and tells `changed` whenever it can be
    /// called and could not, or the other way round.
    pub async fn keep(&self, changed: watch::Sender<()>) {
        let (mut pause, longest) = RECONNECT;
        loop {
            let because = match endpoint(self.address) {
                Ok(endpoint) => match endpoint.connect().await {
                    Ok(channel) => {
                        (pause, _) = RECONNECT;
                        self.follow(Connection::new(channel), &changed).await
                    }
                    Err(error) => last_cause(&error),
                },
                Err(error) => last_cause(&error),
            };
            self.set(State::Out(because), &changed);
            // One half of it is up to chance, so that not all clients come at once.
            time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Does as the server says of itself, as long as it is connected. Returns what
    /// ended that.
    async fn follow(&self, connection: Connection, changed: &watch::Sender<()>) -> String {
        let service = SERVICE.to_owned();
        let watching = HealthClient::new(connection.channel())
            .watch(HealthCheckRequest { service })
            .await;
        let mut watching = match watching {
            Ok(watching) => Some(watching.into_inner()),
            // It has nothing to say of its health: so it is well.
            Err(status) if status.code() == Code::Unimplemented => {
                self.set(State::Ready(connection.clone()), changed);
                None
            }
            Err(status) => return reason(&status),
        };
        loop {
            let said = async {
                match &mut watching {
                    Some(watching) => watching.message().await,
                    None => future::pending().await,
                }
            };
            let said = tokio::select! {
                said = said => said,
                () = connection.broken.notified() => return "the connection broke".to_owned(),
            };
            match said {
                Ok(Some(health)) if health.status() == ServingStatus::Serving => {
                    self.set(State::Ready(connection.clone()), changed);
                }
                // The connection stays, and so do the calls that are under way.
                Ok(Some(_)) => self.set(State::Out("it says not to".to_owned()), changed),
                Ok(None) => return "it has ended".to_owned(),
                Err(status) => return reason(&status),
            }
        }
    }
    // ANCHOR_END: keep

    fn set(&self, state: State, changed: &watch::Sender<()>) {
        let mut locked = self.locked();
        if let State::Out(because) = &state
            && !matches!(&*locked, State::Out(before) if before == because)
        {
            tracing::info!(server = %self.address, because, "out");
        }
        *locked = state;
        drop(locked);
        changed.send_replace(());
    }
}

// ANCHOR: pending
/// A call that is under way, until this is dropped.
#[derive(Debug)]
pub struct Pending(Arc<Backend>);

impl Pending {
    /// One more call of `backend`.
    pub fn new(backend: Arc<Backend>) -> Self {
        backend.pending.fetch_add(1, Ordering::Relaxed);
        Self(backend)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}
// ANCHOR_END: pending

/// How tonic connects to `address`.
///
/// # Errors
///
/// None that we know of: an address makes a URI.
pub fn endpoint(address: SocketAddr) -> Result<Endpoint, transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true))
}

/// An error, what caused it, what caused that, and so on.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| Error::source(*error))
}

/// The last cause is the one that says something.
pub(crate) fn last_cause(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).last();
    last.map(ToString::to_string).unwrap_or_default()
}

fn reason(status: &Status) -> String {
    match status.source() {
        Some(source) => last_cause(source),
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

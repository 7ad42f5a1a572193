//! One server, as a client sees it.

use std::{
    error::Error,
    future,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tonic::{
    Code, Status, Streaming,
    transport::{self, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use crate::{
    SERVICE,
    connection::{self, Connection, NoConnection, last_cause},
};

/// How long it may take to connect.
pub const CONNECT: Duration = Duration::from_secs(1);

/// How long a server may take to say for the first time how it is.
pub const HEALTH: Duration = Duration::from_secs(5);

/// How long to wait before a server that cannot be reached is tried again: at first,
/// and at most. It begins at first again only for a server that has been there for
/// longer than the longest pause.
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
    /// The state is not known yet; or again, since a good connection has ended.
    Connecting,
    /// It can.
    Ready(Connection),
    /// It cannot, for this reason.
    Out(String),
}

// ANCHOR_END: backend

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

    /// How many calls of ours are in progress there.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Whether it can be called.
    pub fn state(&self) -> State {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // A task that panicked has left a state that is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ANCHOR: keep
    /// Keeps a connection to it, forever, and tells `changed` whenever it can be
    /// called and could not, or the other way round.
    pub async fn keep(&self, changed: watch::Sender<()>) {
        let (first, longest) = RECONNECT;
        let mut pause = first;
        loop {
            let because = match self.connect().await {
                Ok((connection, health)) => {
                    let since = Instant::now();
                    let because = self.follow(connection, health, &changed).await;
                    if since.elapsed() >= longest {
                        pause = first;
                        tracing::info!(server = %self.address, because, "connecting again");
                        self.set(State::Connecting, &changed);
                        continue;
                    }
                    because
                }
                Err(because) => because,
            };
            self.set(State::Out(because), &changed);
            // One half of it is up to chance, so that not all clients come at once.
            time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Connects, and asks for the health. Both have to be answered in time: a server
    /// that is silent would be neither ready nor out, and calls would wait for it.
    async fn connect(&self) -> Result<(Connection, Health), String> {
        let connecting = async {
            let endpoint = endpoint(self.address)?;
            let stream = connection::tcp(&endpoint).await?;
            Connection::open(&endpoint, stream).await
        };
        let connection = connecting
            .await
            .map_err(|error: NoConnection| error.to_string())?;
        match time::timeout(HEALTH, Health::ask(&connection)).await {
            Ok(Ok(health)) => Ok((connection, health)),
            Ok(Err(status)) => Err(reason(&status)),
            Err(_) => Err(format!("it did not say how it is in {HEALTH:?}")),
        }
    }

    /// Does as the server says of itself, as long as it is connected. Returns what
    /// ended that.
    async fn follow(
        &self,
        connection: Connection,
        mut health: Health,
        changed: &watch::Sender<()>,
    ) -> String {
        loop {
            let state = match health.status {
                ServingStatus::Serving => State::Ready(connection.clone()),
                ServingStatus::ServiceUnknown => State::Out(unknown()),
                // The connection stays, and so do the calls that are in progress.
                _ => State::Out("it says not to".to_owned()),
            };
            self.set(state, changed);
            tokio::select! {
                said = health.next() => if let Err(because) = said {
                    return because;
                },
                () = connection.end() => return connection.ended().unwrap_or_default(),
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

/// What a server says of its health.
struct Health {
    status: ServingStatus,
    /// What changes; `None` if it has no health service.
    changes: Option<Streaming<HealthCheckResponse>>,
}

impl Health {
    /// The first answer. A server without a health service is well, as in grpc-go; any
    /// other error is one.
    async fn ask(connection: &Connection) -> Result<Self, Status> {
        let first = async {
            let service = SERVICE.to_owned();
            let mut changes = HealthClient::new(connection.channel())
                .watch(HealthCheckRequest { service })
                .await?
                .into_inner();
            match changes.message().await? {
                Some(health) => Ok((health.status(), changes)),
                None => Err(Status::unknown("it said nothing of its health")),
            }
        };
        match first.await {
            Ok((status, changes)) => Ok(Self {
                status,
                changes: Some(changes),
            }),
            Err(status) if status.code() == Code::Unimplemented => Ok(Self {
                status: ServingStatus::Serving,
                changes: None,
            }),
            Err(status) => Err(status),
        }
    }

    /// Waits for the next answer.
    async fn next(&mut self) -> Result<(), String> {
        let Some(changes) = &mut self.changes else {
            return future::pending().await;
        };
        match changes.message().await {
            Ok(Some(health)) => {
                self.status = health.status();
                Ok(())
            }
            Ok(None) => Err("it says no more of its health".to_owned()),
            Err(status) => Err(reason(&status)),
        }
    }
}

// ANCHOR: pending
/// A call that is in progress, until this is dropped.
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
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true);
    Ok(connection::with_keepalive(endpoint))
}

fn reason(status: &Status) -> String {
    match status.source() {
        Some(source) => last_cause(source),
        None if status.code() == Code::NotFound => unknown(),
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// A server that has a health service, and does not know our service there, is out: it
/// may not serve it. A server says so with the status SERVICE_UNKNOWN or, as that of
/// tonic does, with the code NOT_FOUND. Then it has to be asked again, which is done
/// like connecting, with exponential backoff.
fn unknown() -> String {
    format!("its health service does not know {SERVICE}")
}

//! One channel over many servers, for any policy.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::BodyExt;
use tokio::{sync::watch, task::JoinSet};
use tonic::{
    Status, TimeoutExpired,
    body::Body,
    codegen::{BoxFuture, http},
};
use tower::Service;

use crate::{
    backend::{Backend, Pending, State},
    connection::{Connection, causes, last_cause},
    policy::Policy,
};

// ANCHOR: balanced
/// A channel to many servers.
#[derive(Clone, Debug)]
pub struct Balanced {
    inner: Arc<Inner>,
    changed: watch::Receiver<()>,
}

#[derive(Debug)]
struct Inner {
    policy: Box<dyn Policy>,
    backends: Vec<Arc<Backend>>,
    /// One for each backend. They end with this.
    _keepers: JoinSet<()>,
}

impl Balanced {
    /// Connects to all of them, each in a task of its own, until the last clone of
    /// this is gone.
    pub fn new(policy: impl Policy + 'static, backends: impl IntoIterator<Item = Backend>) -> Self {
        let (sender, changed) = watch::channel(());
        let backends: Vec<_> = backends.into_iter().map(Arc::new).collect();
        let mut keepers = JoinSet::new();
        for backend in backends.clone() {
            let sender = sender.clone();
            keepers.spawn(async move { backend.keep(sender).await });
        }
        let inner = Inner {
            policy: Box::new(policy),
            backends,
            _keepers: keepers,
        };
        Self {
            inner: Arc::new(inner),
            changed,
        }
    }
    // ANCHOR_END: balanced

    /// The servers, in the order in which they were given.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.inner.backends
    }

    /// Waits until it is known of each server whether it can be called.
    pub async fn settled(&mut self) {
        self.until(|state| !matches!(state, State::Connecting))
            .await;
    }

    /// Waits until the state of each server is as wanted.
    pub async fn until(&mut self, wanted: impl Fn(&State) -> bool) {
        while !self.backends().iter().all(|one| wanted(&one.state())) {
            self.changed().await;
        }
    }

    /// Waits until the state of a server has changed.
    pub async fn changed(&mut self) {
        // The senders live as long as this.
        self.changed.changed().await.ok();
    }

    // ANCHOR: pick
    async fn pick(&mut self) -> Result<(Arc<Backend>, Connection), Status> {
        loop {
            self.changed.borrow_and_update();
            let (mut ready, mut reasons, mut connecting) = (Vec::new(), Vec::new(), false);
            for backend in self.backends() {
                match backend.state() {
                    State::Ready(connection) if connection.ended().is_none() => {
                        ready.push(backend.clone());
                    }
                    // Its task will say in a moment what becomes of one that has ended.
                    State::Ready(_) | State::Connecting => connecting = true,
                    State::Out(why) => reasons.push(format!("{}: {why}", backend.address())),
                }
            }
            if !ready.is_empty() {
                let picked = self.inner.policy.pick(&ready);
                // In between, it may have broken. Then once more.
                if let State::Ready(connection) = picked.state() {
                    return Ok((picked.clone(), connection));
                }
                continue;
            }
            if !connecting {
                let all = reasons.join(", ");
                return Err(Status::unavailable(format!("nobody can be called: {all}")));
            }
            self.changed().await;
        }
    }
    // ANCHOR_END: pick
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
        let mut this = self.clone();
        Box::pin(async move {
            let (backend, connection) = this.pick().await?;
            let pending = Pending::new(backend.clone());
            match connection.call(request).await {
                Ok(response) => Ok(response.map(|body| {
                    Body::new(body.map_err(move |status| {
                        // A stream is in progress until its last message.
                        let _until_the_body_is_gone = &pending;
                        failed(&backend, &connection, status)
                    }))
                })),
                Err(error) => {
                    let status = Status::from_error(error.into());
                    Err(failed(&backend, &connection, status))
                }
            }
        })
    }
}
// ANCHOR_END: call

/// What a call ends with that got no answer: UNAVAILABLE if the connection is to
/// blame, which tonic calls UNKNOWN or CANCELLED.
fn failed(backend: &Backend, connection: &Connection, status: Status) -> Status {
    let Some(error) = status.source() else {
        return status;
    };
    let address = backend.address();
    if causes(error).any(|cause| cause.is::<TimeoutExpired>()) {
        return Status::deadline_exceeded(format!("{address}: no answer in time"));
    }
    // The server has ended this one call, and the connection is well.
    let reset = |error: &h2::Error| error.is_reset();
    if causes(error).any(|cause| cause.downcast_ref().is_some_and(reset)) {
        return status;
    }
    let last = last_cause(error);
    connection.broke(&last);
    Status::unavailable(format!("{address}: {last}"))
}

//! One person's call.

use tokio::{
    sync::mpsc::{self, OwnedPermit},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{
    MAX_UNREAD, PATIENCE,
    pb::{ChatRequest, ChatResponse, Message, chat_service_server},
    registry::{Registration, Registry, Side},
};

/// The longest name, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// The service.
#[derive(Debug)]
pub struct Chat {
    registry: Registry,
    stopping: CancellationToken,
}

impl Chat {
    /// A service whose open calls end with `UNAVAILABLE` once `stopping` is cancelled.
    pub fn new(stopping: CancellationToken) -> Self {
        Self {
            registry: Registry::default(),
            stopping,
        }
    }
}

// ANCHOR: chat
#[tonic::async_trait]
impl chat_service_server::ChatService for Chat {
    type ChatStream = ReceiverStream<Result<ChatResponse, Status>>;

    async fn chat(
        &self,
        request: Request<Streaming<ChatRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let side = Side {
            from: name(request.metadata(), "from")?,
            to: name(request.metadata(), "to")?,
        };
        if side.from == side.to {
            return Err(Status::invalid_argument(
                "metadata `from` and `to` are the same: name two people",
            ));
        }
        // One slot more than for events: it is kept for the status that ends the call.
        let (events, responses) = mpsc::channel(MAX_UNREAD + 1);
        let status_slot = events.clone().try_reserve_owned();
        let status_slot = status_slot.map_err(|_| Status::internal("a new channel is full"))?;
        let registration = self.registry.join(side, events)?;
        let stopping = self.stopping.clone();
        tokio::spawn(run_call(
            registration,
            request.into_inner(),
            status_slot,
            stopping,
        ));
        // The handler returns before it has read a request, since a client may wait for
        // the response headers before it sends one.
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}
// ANCHOR_END: chat

// ANCHOR: run_call
/// Runs a call until it ends, in one of four ways.
async fn run_call(
    registration: Registration,
    requests: Streaming<ChatRequest>,
    status_slot: OwnedPermit<Result<ChatResponse, Status>>,
    stopping: CancellationToken,
) {
    let Side { from, to } = registration.side.clone();
    tracing::info!(from, to, "joined");
    let end = tokio::select! {
        end = forward(&registration, requests) => end,
        () = registration.events.closed() => Err(Status::cancelled("the client has gone")),
        () = registration.replaced.cancelled() => {
            Err(Status::aborted("a newer call has the same names"))
        }
        () = stopping.cancelled() => Err(Status::unavailable("the server is stopping: call again")),
    };
    tracing::info!(from, to, "left");

    let registry = registration.registry.clone();
    let side = registration.side.clone();
    let other = side.opposite();
    // The response stream ends when its last sender is gone. It ends with OK, unless its
    // last item is an error.
    match end {
        Ok(()) => drop(status_slot),
        Err(status) => drop(status_slot.send(Err(status))),
    }
    drop(registration);
    // The other side may not be reading, and tasks that wait for it must not pile up.
    let told = registry.send_presence(&other, &side);
    time::timeout(PATIENCE, told).await.ok();
}
// ANCHOR_END: run_call

// ANCHOR: forward
/// Forwards messages to the other side until the client half-closes.
///
/// # Errors
///
/// `RESOURCE_EXHAUSTED` if the other side has not read for [`PATIENCE`].
async fn forward(
    registration: &Registration,
    mut requests: Streaming<ChatRequest>,
) -> Result<(), Status> {
    let registry = &registration.registry;
    let (side, other) = (&registration.side, &registration.side.opposite());
    if !registration.announced {
        within_patience(other, registry.send_presence(other, side)).await?;
    }
    while let Some(ChatRequest { content }) = requests.message().await? {
        let from = side.from.clone();
        let message = Message { from, content };
        if !within_patience(other, registry.send_message(other, message)).await? {
            within_patience(side, registry.send_presence(side, other)).await?;
        }
    }
    Ok(())
}

/// Limits the wait for room in the channel of `side`. Without a limit, a half-close that
/// follows the message would never be seen.
async fn within_patience<T>(side: &Side, send: impl Future<Output = T>) -> Result<T, Status> {
    time::timeout(PATIENCE, send).await.map_err(|_| {
        let name = &side.from;
        Status::resource_exhausted(format!(
            "{name} has not read for {PATIENCE:?}: try again later"
        ))
    })
}
// ANCHOR_END: forward

// ANCHOR: name
/// The name in the metadata under `key`.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is missing, empty, too long, or not printable ASCII.
fn name(metadata: &MetadataMap, key: &str) -> Result<String, Status> {
    let bad = |what: String| Status::invalid_argument(format!("metadata `{key}` {what}"));
    let value = metadata
        .get(key)
        .ok_or_else(|| bad("is missing: send a name".to_owned()))?;
    let name = value
        .to_str()
        .map_err(|_| bad("is not ASCII: other text needs a key that ends in -bin".to_owned()))?;
    if name.is_empty() {
        return Err(bad("is empty: send a name".to_owned()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("has a space in it: send one word".to_owned()));
    }
    if name.len() > MAX_NAME_CHARS {
        let chars = name.len();
        return Err(bad(format!(
            "has {chars} characters: send at most {MAX_NAME_CHARS}"
        )));
    }
    Ok(name.to_owned())
}
// ANCHOR_END: name

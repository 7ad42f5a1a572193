//! One person's call.

use tokio::{
    sync::mpsc::{self, OwnedPermit},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{
    MAX_UNREAD, PATIENCE,
    pb::{ChatRequest, ChatResponse, Message, chat_service_server},
    registry::{EventSender, Registration, Registry, Side},
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
        let final_status = FinalStatus::reserve(&events)?;
        let registration = self.registry.join(side, events)?;
        let stopping = self.stopping.clone();
        tokio::spawn(run_call(
            registration,
            request.into_inner(),
            final_status,
            stopping,
        ));
        // The handler returns before it has read a request, since a client may wait for
        // the response headers before it sends one.
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}
// ANCHOR_END: chat

// ANCHOR: run_call
/// Runs a call until it ends.
async fn run_call(
    registration: Registration,
    requests: Streaming<ChatRequest>,
    final_status: FinalStatus,
    stopping: CancellationToken,
) {
    let Side { from, to } = registration.side.clone();
    tracing::info!(from, to, "joined");
    let end = tokio::select! {
        end = forward(&registration, requests) => end,
        () = registration.replaced.cancelled() => {
            Err(Status::aborted("a newer call has the same names"))
        }
        () = stopping.cancelled() => Err(Status::unavailable("the server is stopping: call again")),
    };
    let code = end.as_ref().err().map_or(Code::Ok, Status::code);
    tracing::info!(from, to, ?code, "left");
    // Removes the call from the registry and tells the other side.
    drop(registration);
    final_status.send(end);
}
// ANCHOR_END: run_call

// ANCHOR: final_status
/// The slot of the response channel that is kept for the status. If it is dropped, the
/// status is `INTERNAL`, because the task has panicked.
#[derive(Debug)]
pub struct FinalStatus(Option<OwnedPermit<Result<ChatResponse, Status>>>);

impl FinalStatus {
    /// Reserves the slot.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the channel is full, which a new one is not.
    pub fn reserve(events: &EventSender) -> Result<Self, Status> {
        match events.clone().try_reserve_owned() {
            Ok(slot) => Ok(Self(Some(slot))),
            Err(_) => Err(Status::internal("a new channel is full")),
        }
    }

    /// Ends the call. A response stream that ends without an error ends with `OK`.
    pub fn send(mut self, end: Result<(), Status>) {
        if let (Some(slot), Err(status)) = (self.0.take(), end) {
            slot.send(Err(status));
        }
    }
}

impl Drop for FinalStatus {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.send(Err(Status::internal("the call has failed in the server")));
        }
    }
}
// ANCHOR_END: final_status

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
        .map_err(|_| bad("is not ASCII: send ASCII letters".to_owned()))?;
    if name.is_empty() {
        return Err(bad("is empty: send a name".to_owned()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("has a space or a tab in it: send one word".to_owned()));
    }
    if name.len() > MAX_NAME_CHARS {
        let chars = name.len();
        return Err(bad(format!(
            "has {chars} characters: send at most {MAX_NAME_CHARS}"
        )));
    }
    Ok(name.to_owned())
}

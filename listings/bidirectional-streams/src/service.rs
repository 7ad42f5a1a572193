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
    seats::{Place, Seat, Seats},
};

/// The longest name, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// The service.
#[derive(Debug)]
pub struct Chat {
    seats: Seats,
    stopping: CancellationToken,
}

impl Chat {
    /// Serves until `stopping` is cancelled; then all calls end.
    pub fn new(stopping: CancellationToken) -> Self {
        Self {
            seats: Seats::default(),
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
        let place = Place {
            from: name(request.metadata(), "from")?,
            to: name(request.metadata(), "to")?,
        };
        if place.from == place.to {
            return Err(Status::invalid_argument(
                "metadata `from` and `to` are the same: name somebody else",
            ));
        }
        // One place more: for the status that ends the call.
        let (ear, events) = mpsc::channel(MAX_UNREAD + 1);
        let last_word = ear.clone().try_reserve_owned();
        let last_word = last_word.map_err(|_| Status::internal("a new channel has no room"))?;
        let seat = self.seats.sit(place, ear)?;
        let stopping = self.stopping.clone();
        tokio::spawn(attend(seat, request.into_inner(), last_word, stopping));
        // At once, without a look at the requests: a client may wait for our
        // response before it sends the first.
        Ok(Response::new(ReceiverStream::new(events)))
    }
}
// ANCHOR_END: chat

// ANCHOR: attend
/// Stays with a person until they leave.
async fn attend(
    seat: Seat,
    requests: Streaming<ChatRequest>,
    last_word: OwnedPermit<Result<ChatResponse, Status>>,
    stopping: CancellationToken,
) {
    let Place { from, to } = seat.place.clone();
    tracing::info!(from, to, "came");
    let end = tokio::select! {
        end = pass_on(&seat, requests) => end,
        () = seat.ear.closed() => Err(Status::cancelled("the client has gone")),
        () = seat.lost.cancelled() => Err(Status::aborted("you have come again elsewhere")),
        () = stopping.cancelled() => Err(Status::unavailable("the server is stopping")),
    };
    tracing::info!(from, to, "left");

    let (seats, here, there) = (
        seat.seats.clone(),
        seat.place.clone(),
        seat.place.opposite(),
    );
    // The call ends when its last ear is gone: with OK, unless a status is the
    // last that it hears.
    match end {
        Ok(()) => drop(last_word),
        Err(status) => drop(last_word.send(Err(status))),
    }
    drop(seat);
    // The other one may be deaf: those who leave must not pile up.
    let told = seats.tell_presence(&there, &here);
    time::timeout(PATIENCE, told).await.ok();
}

/// Passes on what a person says, until they have no more to say.
///
/// No wait in here is without a limit but the one for the person's next message: a
/// half-close lies behind all messages, so it is not seen while one of them waits.
///
/// # Errors
///
/// `RESOURCE_EXHAUSTED` if the other person has not read for [`PATIENCE`].
async fn pass_on(seat: &Seat, mut requests: Streaming<ChatRequest>) -> Result<(), Status> {
    let (here, there) = (&seat.place, &seat.place.opposite());
    if !seat.told {
        heard(there, seat.seats.tell_presence(there, here)).await?;
    }
    while let Some(ChatRequest { content }) = requests.message().await? {
        let from = here.from.clone();
        let message = Message { from, content };
        if !heard(there, seat.seats.tell(there, message)).await? {
            heard(here, seat.seats.tell_presence(here, there)).await?;
        }
    }
    Ok(())
}

/// Waits until the person at `place` has room for what they are told.
async fn heard<T>(place: &Place, telling: impl Future<Output = T>) -> Result<T, Status> {
    time::timeout(PATIENCE, telling).await.map_err(|_| {
        let name = &place.from;
        Status::resource_exhausted(format!("{name} has not read for {PATIENCE:?}: come again"))
    })
}
// ANCHOR_END: attend

// ANCHOR: name
/// The name in the metadata under `key`.
fn name(metadata: &MetadataMap, key: &str) -> Result<String, Status> {
    let bad = |what: String| Status::invalid_argument(format!("metadata `{key}` {what}"));
    let value = metadata
        .get(key)
        .ok_or_else(|| bad("is missing: send a name".to_owned()))?;
    let name = value
        .to_str()
        .map_err(|_| bad("is not ASCII: metadata is, unless its key ends in -bin".to_owned()))?;
    if name.is_empty() {
        return Err(bad("is empty: send a name".to_owned()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("has a blank in it: send one word".to_owned()));
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

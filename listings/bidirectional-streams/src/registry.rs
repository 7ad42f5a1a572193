//! Who is here. Each open call has an entry, through which other calls send it events.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    MAX_CALLS,
    pb::{ChatResponse, Message, Presence, chat_response::Event},
};

/// Sends events to a client. It is closed when tonic has dropped the response stream.
pub type EventSender = mpsc::Sender<Result<ChatResponse, Status>>;

// ANCHOR: types
/// One side of a conversation: a person, and the one they talk to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// The person on this side.
    pub from: String,
    /// The person on the other side.
    pub to: String,
}

/// The calls that are open, by their side. A clone is another handle to them.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: Arc<Mutex<HashMap<Side, Entry>>>,
}

/// How other calls reach a call.
#[derive(Clone, Debug)]
struct Entry {
    events: EventSender,
    /// Cancelled when a newer call has taken the place of this one.
    replaced: CancellationToken,
}

/// A call's place in the registry. Dropping it gives the place up, and tells the other
/// side.
#[derive(Debug)]
pub struct Registration {
    /// The registry.
    pub registry: Registry,
    /// The side that is registered.
    pub side: Side,
    /// Sends events to this call's own client.
    pub events: EventSender,
    /// Cancelled when a newer call has taken the place of this one.
    pub replaced: CancellationToken,
    /// Whether the other side was told that this one is here. It was not if its channel
    /// was full.
    pub announced: bool,
}
// ANCHOR_END: types

impl Side {
    /// The other side of the conversation.
    pub fn opposite(&self) -> Self {
        Self {
            from: self.to.clone(),
            to: self.from.clone(),
        }
    }
}

impl Registry {
    // ANCHOR: join
    /// Registers a call, tells its client whether the other side is here, and tells the
    /// other side that this one is. An older call of the same side is replaced.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if [`MAX_CALLS`] are registered.
    pub fn join(&self, side: Side, events: EventSender) -> Result<Registration, Status> {
        let replaced = CancellationToken::new();
        let entry = Entry {
            events: events.clone(),
            replaced: replaced.clone(),
        };
        let other_side = side.opposite();
        let mut entries = self.lock();
        if entries.len() >= MAX_CALLS && !entries.contains_key(&side) {
            return Err(Status::resource_exhausted(format!(
                "all {MAX_CALLS} places are taken: try again later"
            )));
        }
        // The client's first event. The channel is new, so it has room.
        events.try_send(presence(&entries, &other_side)).ok();
        if let Some(older) = entries.insert(side.clone(), entry) {
            older.replaced.cancel();
        }
        // Under the same lock: a call that joins later finds this entry, and must not
        // hear of it a second time.
        let announced = match entries.get(&other_side) {
            Some(other) => other.events.try_send(presence(&entries, &side)).is_ok(),
            None => true,
        };
        drop(entries);
        Ok(Registration {
            registry: self.clone(),
            side,
            events,
            replaced,
            announced,
        })
    }
    // ANCHOR_END: join

    /// Sends a message to `side`, once its channel has room. Returns whether `side` is
    /// here.
    pub async fn send_message(&self, side: &Side, message: Message) -> bool {
        let make = |_: &HashMap<Side, Entry>| event(Event::Message(message.clone()));
        self.send(side, make).await
    }

    /// Tells `side` whether `other` is here, once its channel has room.
    pub async fn send_presence(&self, side: &Side, other: &Side) {
        self.send(side, |entries| presence(entries, other)).await;
    }

    // ANCHOR: send
    /// Waits until the channel of `side` has room, and then makes the event and sends it
    /// under the lock. Returns whether `side` is here.
    async fn send(
        &self,
        side: &Side,
        make: impl Fn(&HashMap<Side, Entry>) -> Result<ChatResponse, Status>,
    ) -> bool {
        loop {
            let Some(Entry { events, replaced }) = self.lock().get(side).cloned() else {
                return false;
            };
            let room = tokio::select! {
                room = events.reserve() => room,
                () = replaced.cancelled() => continue, // Look up the newer call.
            };
            let entries = self.lock();
            let current = entries.get(side).map(|entry| &entry.events);
            if current.is_some_and(|current| current.same_channel(&events)) {
                return room.map(|room| room.send(make(&entries))).is_ok();
            }
        }
    }
    // ANCHOR_END: send

    /// Locks the map. A panic while the lock was held cannot have left the map half
    /// changed, because every change is a single call.
    fn lock(&self) -> MutexGuard<'_, HashMap<Side, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ANCHOR: leave
impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = self.registry.lock();
        let current = entries.get(&self.side).map(|entry| &entry.events);
        if current.is_some_and(|current| current.same_channel(&self.events)) {
            entries.remove(&self.side);
            if let Some(other) = entries.get(&self.side.opposite()) {
                // If there is no room, the other side learns it when it sends a message.
                other.events.try_send(presence(&entries, &self.side)).ok();
            }
        }
    }
}
// ANCHOR_END: leave

// ANCHOR: presence
/// The event that says whether `side` is here.
fn presence(entries: &HashMap<Side, Entry>, side: &Side) -> Result<ChatResponse, Status> {
    let entry = entries.get(side);
    event(Event::Presence(Presence {
        name: side.from.clone(),
        here: entry.is_some_and(|entry| !entry.events.is_closed()),
    }))
}
// ANCHOR_END: presence

fn event(event: Event) -> Result<ChatResponse, Status> {
    Ok(ChatResponse { event: Some(event) })
}

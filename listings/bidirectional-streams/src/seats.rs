//! Who is here. A conversation has two seats, and a person in a seat can be
//! told what happens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    MAX_SEATS,
    pb::{ChatResponse, Message, Presence, chat_response::Event},
};

/// Takes what a person is to hear; closed when their call has ended.
pub type Ear = mpsc::Sender<Result<ChatResponse, Status>>;

/// A place in a conversation: who sits there, and whom they talk to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Who sits there.
    pub from: String,
    /// Whom they talk to.
    pub to: String,
}

impl Place {
    /// The other one's place.
    pub fn opposite(&self) -> Self {
        Self {
            from: self.to.clone(),
            to: self.from.clone(),
        }
    }
}

/// All seats that are taken. A clone is another handle to them.
#[derive(Clone, Debug, Default)]
pub struct Seats {
    taken: Arc<Mutex<HashMap<Place, Taken>>>,
}

#[derive(Clone, Debug)]
struct Taken {
    ear: Ear,
    /// Cancelled when somebody else takes the seat.
    lost: CancellationToken,
}

// ANCHOR: sit
impl Seats {
    /// Takes a seat, tells whoever sits there now whether the other one is here, and
    /// the other one that somebody came. Whoever had the seat has lost it.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if all are taken.
    pub fn sit(&self, place: Place, ear: Ear) -> Result<Seat, Status> {
        let lost = CancellationToken::new();
        let taken = Taken {
            ear: ear.clone(),
            lost: lost.clone(),
        };
        let mut all = self.lock();
        if all.len() >= MAX_SEATS && !all.contains_key(&place) {
            return Err(Status::resource_exhausted(format!(
                "there are {MAX_SEATS} people here, and no room for one more: try again later"
            )));
        }
        // The first thing that they hear: nobody else has their ear yet, and it
        // has room.
        ear.try_send(presence(&all, &place.opposite())).ok();
        if let Some(before) = all.insert(place.clone(), taken) {
            before.lost.cancel();
        }
        // Under the same lock: whoever comes after this hears it first of all, and
        // is not to hear it again.
        let other = all.get(&place.opposite());
        let told = other.is_none_or(|other| other.ear.try_send(presence(&all, &place)).is_ok());
        drop(all);
        Ok(Seat {
            seats: self.clone(),
            place,
            ear,
            lost,
            told,
        })
    }
    // ANCHOR_END: sit

    // ANCHOR: tell
    /// Tells the person at `place` what was said, and waits until there is room
    /// to; whether there was anybody to tell.
    pub async fn tell(&self, place: &Place, message: Message) -> bool {
        let said = |_: &HashMap<Place, Taken>| event(Event::Message(message.clone()));
        self.send(place, said).await
    }

    /// Tells the person at `place` whether anybody is at `other`.
    pub async fn tell_presence(&self, place: &Place, other: &Place) {
        // Looked up when it is told: of two who say this, the later one is right.
        self.send(place, |taken| presence(taken, other)).await;
    }

    /// Waits for room in the ear of the person at `place`, and then makes the
    /// event and sends it, under the lock.
    async fn send(
        &self,
        place: &Place,
        event: impl Fn(&HashMap<Place, Taken>) -> Result<ChatResponse, Status>,
    ) -> bool {
        loop {
            let Some(Taken { ear, lost }) = self.lock().get(place).cloned() else {
                return false;
            };
            let room = tokio::select! {
                room = ear.reserve() => room,
                () = lost.cancelled() => continue, // Who sits there now?
            };
            let taken = self.lock();
            let still = taken.get(place).map(|taken| &taken.ear);
            if still.is_some_and(|still| still.same_channel(&ear)) {
                return room.map(|room| room.send(event(&taken))).is_ok();
            }
        }
    }
    // ANCHOR_END: tell

    /// Whoever panicked while it held the lock left the map whole: each change
    /// of it is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat that somebody has. To drop it leaves it.
#[derive(Debug)]
pub struct Seat {
    /// All seats.
    pub seats: Seats,
    /// Which one this is.
    pub place: Place,
    /// The ear of whoever sits here.
    pub ear: Ear,
    /// Cancelled when somebody else has taken the seat.
    pub lost: CancellationToken,
    /// Whether the other one has been told that somebody came; not if they read so
    /// slowly that there was no room.
    pub told: bool,
}

// ANCHOR: leave
impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        let mine = taken.get(&self.place);
        if mine.is_some_and(|mine| mine.ear.same_channel(&self.ear)) {
            taken.remove(&self.place);
        }
    }
}
// ANCHOR_END: leave

/// Whether anybody is at `place`.
fn presence(taken: &HashMap<Place, Taken>, place: &Place) -> Result<ChatResponse, Status> {
    let here = taken.get(place);
    event(Event::Presence(Presence {
        name: place.from.clone(),
        here: here.is_some_and(|here| !here.ear.is_closed()),
    }))
}

fn event(event: Event) -> Result<ChatResponse, Status> {
    Ok(ChatResponse { event: Some(event) })
}

//! Mailboxes, keyed by recipient. Of gRPC, this module knows only the messages and the
//! statuses.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Semaphore, watch},
    time,
};
use tonic::Status;

use crate::pb::{Message, ReceiveMessagesResponse};

// ANCHOR: limits
/// The size of mailboxes, and how long senders and receivers wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many mailboxes there may be at once. An empty mailbox that is not in use is
    /// removed.
    pub mailboxes: usize,
    /// How many messages one mailbox holds, at most [`MAX_MESSAGES`].
    pub messages: usize,
    /// How long a sender waits for room in a full mailbox.
    pub patience: Duration,
    /// How long a receiver waits for a message before its stream ends.
    pub idle: Duration,
}

/// The largest value of [`Limits::messages`]. A semaphore panics above
/// [`Semaphore::MAX_PERMITS`], but so many messages would not fit into memory anyway.
pub const MAX_MESSAGES: usize = 1_000_000;

/// The largest value of [`Limits::idle`] that the program accepts.
pub const MAX_IDLE: Duration = Duration::from_secs(60 * 60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            mailboxes: 1000,
            messages: 256,
            patience: Duration::from_secs(5),
            idle: Duration::from_secs(5),
        }
    }
}
// ANCHOR_END: limits

/// All mailboxes. A clone is another handle to the same ones.
#[derive(Clone, Debug)]
pub struct Mailboxes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    by_user: Mutex<HashMap<String, InUse>>,
    /// The last number that was given to a message or a receiver.
    last: AtomicU64,
}

/// A mailbox, and the number of handles to it.
#[derive(Debug)]
struct InUse {
    mailbox: Arc<Mailbox>,
    handles: usize,
}

// ANCHOR: mailbox
/// One person's messages.
#[derive(Debug)]
struct Mailbox {
    /// One permit for each message that still fits.
    room: Semaphore,
    /// The messages. Changing them wakes the receiver.
    queue: watch::Sender<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order of their numbers.
    messages: VecDeque<ReceiveMessagesResponse>,
    /// The id of the current receiver, which is the one that came last.
    receiver: u64,
    /// The highest number that was handed out to any receiver.
    handed_out: u64,
}

impl Queue {
    /// How many messages have a number up to `last`.
    fn up_to(&self, last: u64) -> usize {
        self.messages.partition_point(|m| m.number <= last)
    }

    /// The first message with a number above `last`.
    fn after(&self, last: u64) -> Option<&ReceiveMessagesResponse> {
        self.messages.get(self.up_to(last))
    }
}
// ANCHOR_END: mailbox

impl Mailboxes {
    /// An empty set of mailboxes.
    pub fn new(limits: Limits) -> Self {
        // Numbers start at the microseconds since 1970, so they are above those of an
        // earlier run of the server, unless the clock was set back.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_micros());
        Self {
            shared: Arc::new(Shared {
                limits,
                by_user: Mutex::default(),
                last: AtomicU64::new(u64::try_from(now).unwrap_or_default()),
            }),
        }
    }

    // ANCHOR: put
    /// Puts a message into its recipient's mailbox, once there is room.
    ///
    /// Cancel-safe: if the future is dropped before it is ready, nothing was put.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if there is no room within [`Limits::patience`], or if there
    /// are too many mailboxes.
    pub async fn put(&self, message: Message) -> Result<(), Status> {
        let handle = self.open(&message.to)?;
        let patience = self.shared.limits.patience;
        let room = time::timeout(patience, handle.mailbox.room.acquire()).await;
        // The inner result is an error only if the semaphore is closed, which ours never is.
        let Ok(Ok(room)) = room else {
            return Err(Status::resource_exhausted(format!(
                "the mailbox of {:?} is full and stayed so for {patience:?}: send the rest later",
                message.to
            )));
        };
        // Without this, the permit would return at the end of this function. It returns
        // when the message is acknowledged.
        room.forget();
        handle.mailbox.queue.send_modify(|queue| {
            // Taken under the queue's lock, so that numbers grow within the queue.
            let number = self.shared.number();
            queue.messages.push_back(ReceiveMessagesResponse {
                number,
                message: Some(message),
            });
        });
        Ok(())
    }
    // ANCHOR_END: put

    // ANCHOR: receive
    /// Takes over the mailbox of `user`. A receiver that has it ends with `ABORTED`.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if there are too many mailboxes.
    pub fn receive(&self, user: &str) -> Result<Receiver, Status> {
        let handle = self.open(user)?;
        let id = self.shared.number();
        let queue = handle.mailbox.queue.subscribe();
        handle
            .mailbox
            .queue
            .send_modify(|queue| queue.receiver = id);
        Ok(Receiver {
            handle,
            queue,
            id,
            last: 0,
        })
    }
    // ANCHOR_END: receive

    // ANCHOR: acknowledge
    /// Removes the messages of `user` with numbers up to `through`.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RANGE` if that would remove a message that was not handed out.
    pub fn acknowledge(&self, user: &str, through: u64) -> Result<(), Status> {
        let Some(handle) = self.find(user) else {
            return Ok(()); // There is nothing to remove.
        };
        let mut removed = None;
        handle.mailbox.queue.send_if_modified(|queue| {
            let count = queue.up_to(through);
            if count <= queue.up_to(queue.handed_out) {
                queue.messages.drain(..count);
                removed = Some(count);
            }
            false // Do not wake the receiver: there is no new message.
        });
        let removed = removed.ok_or_else(|| {
            Status::out_of_range(format!(
                "not every message up to {through} was handed out: send a number that you received"
            ))
        })?;
        handle.mailbox.room.add_permits(removed);
        Ok(())
    }
    // ANCHOR_END: acknowledge

    /// How many mailboxes there are.
    pub fn count(&self) -> usize {
        self.shared.lock().len()
    }

    /// The mailbox of `user`, made if there is none.
    fn open(&self, user: &str) -> Result<Handle, Status> {
        let mut by_user = self.shared.lock();
        if let Some(in_use) = by_user.get_mut(user) {
            return Ok(self.handle(user, in_use));
        }
        let Limits {
            mailboxes,
            messages,
            ..
        } = self.shared.limits;
        if by_user.len() >= mailboxes {
            return Err(Status::resource_exhausted(format!(
                "there are {mailboxes} mailboxes, and no room for one more: try again later"
            )));
        }
        let mailbox = Mailbox {
            room: Semaphore::new(messages.min(MAX_MESSAGES)),
            queue: watch::Sender::default(),
        };
        let in_use = by_user.entry(user.to_owned()).or_insert(InUse {
            mailbox: Arc::new(mailbox),
            handles: 0,
        });
        Ok(self.handle(user, in_use))
    }

    fn find(&self, user: &str) -> Option<Handle> {
        let mut by_user = self.shared.lock();
        let in_use = by_user.get_mut(user)?;
        Some(self.handle(user, in_use))
    }

    fn handle(&self, user: &str, in_use: &mut InUse) -> Handle {
        in_use.handles += 1;
        Handle {
            shared: Arc::clone(&self.shared),
            user: user.to_owned(),
            mailbox: Arc::clone(&in_use.mailbox),
        }
    }
}

impl Shared {
    /// Locks the map. A panic while the lock was held cannot have left the map half
    /// changed, because every change is a single call.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, InUse>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }
}

/// A mailbox in use. Dropping the last handle of an empty mailbox removes it.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    user: String,
    mailbox: Arc<Mailbox>,
}

// ANCHOR: drop
impl Drop for Handle {
    fn drop(&mut self) {
        let mut by_user = self.shared.lock();
        let Some(in_use) = by_user.get_mut(&self.user) else {
            return; // This cannot happen: a mailbox stays while it has handles.
        };
        in_use.handles -= 1;
        if in_use.handles == 0 && self.mailbox.queue.borrow().messages.is_empty() {
            by_user.remove(&self.user);
        }
    }
}
// ANCHOR_END: drop

/// Receives the messages of a mailbox, which stay there until they are acknowledged.
#[derive(Debug)]
pub struct Receiver {
    handle: Handle,
    queue: watch::Receiver<Queue>,
    id: u64,
    /// The number of the last message that was handed out.
    last: u64,
}

impl Receiver {
    // ANCHOR: next
    /// Waits for the next message. Returns `None` if none comes within [`Limits::idle`].
    ///
    /// # Errors
    ///
    /// `ABORTED` if another receiver has taken over the mailbox.
    pub async fn next(&mut self) -> Result<Option<ReceiveMessagesResponse>, Status> {
        let idle = self.handle.shared.limits.idle;
        let change = self
            .queue
            .wait_for(|queue| queue.receiver != self.id || queue.after(self.last).is_some());
        let Ok(Ok(queue)) = time::timeout(idle, change).await else {
            return Ok(None);
        };
        if queue.receiver != self.id {
            return Err(Status::aborted(
                "another receiver has taken over the mailbox",
            ));
        }
        let next = queue.after(self.last).cloned();
        // `queue` is a read lock, and the change below takes the write lock.
        drop(queue);
        if let Some(next) = &next {
            self.last = next.number;
            self.handle.mailbox.queue.send_if_modified(|queue| {
                queue.handed_out = queue.handed_out.max(next.number);
                false // Do not wake the receiver: it is ourselves.
            });
        }
        Ok(next)
    }
    // ANCHOR_END: next
}

//! Mailboxes, each keyed by whom its messages are for. Nothing here knows of
//! gRPC but the messages themselves and the status of what is refused.

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
/// What mailboxes may hold, and for how long one waits at them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many mailboxes there may be at once. One that is empty and that
    /// nobody waits at is removed.
    pub mailboxes: usize,
    /// How many messages one mailbox holds: [`MAX_MESSAGES`] at most.
    pub messages: usize,
    /// How long a sender waits for room in a full mailbox.
    pub patience: Duration,
    /// How long a receiver waits for a message until its stream is closed.
    pub idle: Duration,
}

/// The most that [`Limits::messages`] may be. A semaphore with more permits than
/// [`Semaphore::MAX_PERMITS`] would panic; this many messages fill the memory
/// sooner.
pub const MAX_MESSAGES: usize = 1_000_000;

/// The most that [`Limits::idle`] is for the program.
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

/// All mailboxes, by whom they belong to. A clone is another handle to them.
#[derive(Clone, Debug)]
pub struct Mailboxes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    by_user: Mutex<HashMap<String, InUse>>,
    /// The last number that was given, to a message or a receiver.
    last: AtomicU64,
}

/// A mailbox, and how many handles there are to it.
#[derive(Debug)]
struct InUse {
    mailbox: Arc<Mailbox>,
    handles: usize,
}

// ANCHOR: mailbox
/// One person's messages.
#[derive(Debug)]
struct Mailbox {
    /// A permit for each message that still fits. Who waits for one is served
    /// in the order in which they came.
    room: Semaphore,
    /// The messages. To change them wakes those who wait for a change.
    queue: watch::Sender<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// By their numbers, which grow.
    messages: VecDeque<ReceiveMessagesResponse>,
    /// Who receives: the last that asked to.
    receiver: u64,
    /// The number of the last message that was handed out to anybody.
    handed_out: u64,
}

impl Queue {
    /// How many messages have the number `last` or a smaller one.
    fn up_to(&self, last: u64) -> usize {
        self.messages.partition_point(|m| m.number <= last)
    }

    /// The first message behind the one with the number `last`.
    fn after(&self, last: u64) -> Option<&ReceiveMessagesResponse> {
        self.messages.get(self.up_to(last))
    }
}
// ANCHOR_END: mailbox

impl Mailboxes {
    /// No mailboxes yet, and room for as many as `limits` says.
    pub fn new(limits: Limits) -> Self {
        // Numbers begin where those of an earlier run of the server have not
        // come, if the clock was not set back: at the microseconds since 1970.
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
    /// Puts a message into the mailbox of whom it is for, and waits for room.
    ///
    /// To drop the future before it is done puts nothing.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if there is no room within the sender's patience,
    /// or if there are too many mailboxes.
    pub async fn put(&self, message: Message) -> Result<(), Status> {
        let handle = self.open(&message.to)?;
        let patience = self.shared.limits.patience;
        let room = time::timeout(patience, handle.mailbox.room.acquire()).await;
        // The inner result is an error for a semaphore that was closed: ours
        // never is.
        let Ok(Ok(room)) = room else {
            return Err(Status::resource_exhausted(format!(
                "the mailbox of {:?} is full and stayed so for {patience:?}: send the rest later",
                message.to
            )));
        };
        // Given back when the message is acknowledged, and not at the end of
        // this function.
        room.forget();
        handle.mailbox.queue.send_modify(|queue| {
            // Taken in here, so that numbers grow from message to message.
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
    /// Takes the mailbox of `user` over: another receiver of it ends.
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
    /// Removes the messages of `user` up to the one with the number `through`.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RANGE` if that would remove a message that nobody has received.
    pub fn acknowledge(&self, user: &str, through: u64) -> Result<(), Status> {
        let Some(handle) = self.find(user) else {
            return Ok(()); // Nothing is left to remove.
        };
        let mut removed = None;
        handle.mailbox.queue.send_if_modified(|queue| {
            let dealt_with = queue.up_to(through);
            if dealt_with <= queue.up_to(queue.handed_out) {
                queue.messages.drain(..dealt_with);
                removed = Some(dealt_with);
            }
            false // A receiver waits for what comes, not for what goes.
        });
        let removed = removed.ok_or_else(|| {
            Status::out_of_range(format!(
                "not everything up to {through} was handed out: send the number of a message that came"
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
    /// Whoever panicked while it held the lock left the map whole: each change
    /// of it is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, InUse>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }
}

/// A mailbox in use. The last one to let go of an empty mailbox removes it.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    user: String,
    mailbox: Arc<Mailbox>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut by_user = self.shared.lock();
        let Some(in_use) = by_user.get_mut(&self.user) else {
            return; // It is there as long as this handle is.
        };
        in_use.handles -= 1;
        if in_use.handles == 0 && self.mailbox.queue.borrow().messages.is_empty() {
            by_user.remove(&self.user);
        }
    }
}

/// Who receives the messages of a mailbox. They stay there until they are
/// acknowledged.
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
    /// The next message; none if none has come for the idle time.
    ///
    /// # Errors
    ///
    /// `ABORTED` if another receiver has taken the mailbox over.
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
                "another receiver has taken the mailbox over",
            ));
        }
        let next = queue.after(self.last).cloned();
        drop(queue);
        if let Some(next) = &next {
            self.last = next.number;
            self.handle.mailbox.queue.send_if_modified(|queue| {
                queue.handed_out = queue.handed_out.max(next.number);
                false // Nobody waits for that.
            });
        }
        Ok(next)
    }
    // ANCHOR_END: next
}

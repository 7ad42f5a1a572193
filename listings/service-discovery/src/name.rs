//! A name, and what is known of it: shared by those who keep it up to date and those
//! who call.

use std::sync::Arc;

use indexmap::IndexSet;
use tokio::sync::{Notify, watch};

use crate::address::Address;

// ANCHOR: known
/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last good answer, in its order. It stays while there is no newer one.
    pub addresses: IndexSet<Address>,
    /// What is wrong, if the last answer was not a good one.
    pub problem: Option<String>,
}

/// A name, and what is known of it from moment to moment. The task that keeps it up to
/// date ends once nobody holds this any more.
#[derive(Clone, Debug)]
pub struct Name {
    /// The target, for messages.
    pub target: Arc<str>,
    /// `None` until there is a first answer.
    pub known: watch::Receiver<Option<Known>>,
    /// Asks for a new answer soon, as after a broken connection. It is a hint.
    pub again: Arc<Notify>,
}
// ANCHOR_END: known

// ANCHOR: tell
/// Wakes those who listen only if there is something new.
pub fn tell<T: PartialEq>(listeners: &watch::Sender<Option<T>>, news: T) {
    listeners.send_if_modified(|last| {
        let changed = last.as_ref() != Some(&news);
        *last = Some(news);
        changed
    });
}
// ANCHOR_END: tell

impl Name {
    /// A name of which the sender knows.
    pub fn new(target: impl Into<Arc<str>>) -> (watch::Sender<Option<Known>>, Self) {
        let (sender, known) = watch::channel(None);
        let again = Arc::default();
        let target = target.into();
        let name = Self {
            target,
            known,
            again,
        };
        (sender, name)
    }

    /// A name of which everything is known.
    pub fn fixed(target: impl Into<Arc<str>>, known: Known) -> Self {
        let (sender, name) = Self::new(target);
        sender.send_replace(Some(known));
        name
    }
}

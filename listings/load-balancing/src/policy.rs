//! Which server the next call goes to.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::backend::Backend;

// ANCHOR: policy
/// Decides which server the next call goes to.
pub trait Policy: fmt::Debug + Send + Sync {
    /// One of those that can be called. There is at least one.
    fn pick<'a>(&self, ready: &'a [Arc<Backend>]) -> &'a Arc<Backend>;
}
// ANCHOR_END: policy

// ANCHOR: pick_first
/// The first one in the list, as long as it is there.
#[derive(Debug)]
pub struct PickFirst;

impl Policy for PickFirst {
    fn pick<'a>(&self, ready: &'a [Arc<Backend>]) -> &'a Arc<Backend> {
        &ready[0]
    }
}
// ANCHOR_END: pick_first

// ANCHOR: round_robin
/// One after the other.
#[derive(Debug, Default)]
pub struct RoundRobin(AtomicUsize);

impl Policy for RoundRobin {
    fn pick<'a>(&self, ready: &'a [Arc<Backend>]) -> &'a Arc<Backend> {
        &ready[self.0.fetch_add(1, Ordering::Relaxed) % ready.len()]
    }
}
// ANCHOR_END: round_robin

// ANCHOR: least_pending
/// The one that has the fewest of our calls to answer. Of those that have equally
/// few, one after the other.
#[derive(Debug, Default)]
pub struct LeastPending(AtomicUsize);

impl Policy for LeastPending {
    fn pick<'a>(&self, ready: &'a [Arc<Backend>]) -> &'a Arc<Backend> {
        let start = self.0.fetch_add(1, Ordering::Relaxed) % ready.len();
        let (before, after) = ready.split_at(start);
        let all = after.iter().chain(before);
        all.min_by_key(|backend| backend.pending())
            .unwrap_or(&ready[0])
    }
}
// ANCHOR_END: least_pending

// ANCHOR: weighted
/// In turn, but each as often as its weight says; and spread, so that the heavy one
/// does not get all of its calls at a time. (nginx calls it smooth.)
#[derive(Debug, Default)]
pub struct Weighted(Mutex<HashMap<SocketAddr, i64>>);

impl Policy for Weighted {
    fn pick<'a>(&self, ready: &'a [Arc<Backend>]) -> &'a Arc<Backend> {
        // A call that panicked has left numbers that even out.
        let mut credits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let mut best = (&ready[0], i64::MIN);
        for backend in ready {
            let weight = i64::from(backend.weight());
            let credit = credits.entry(backend.address()).or_default();
            *credit += weight;
            total += weight;
            if *credit > best.1 {
                best = (backend, *credit);
            }
        }
        credits.insert(best.0.address(), best.1 - total);
        best.0
    }
}
// ANCHOR_END: weighted

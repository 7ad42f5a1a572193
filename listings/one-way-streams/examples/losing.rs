//! `cargo run --example losing`: the tempting mailbox, and five ways in which it
//! is wrong. The clock is paused: it jumps to what is waited for.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use one_way_streams::pb::Message;
use tokio::{
    join,
    sync::Barrier,
    time::{Duration, Instant, sleep},
};

// ANCHOR: queues
/// A map with a lock, as Go's `sync.Map` is: each call is safe by itself.
#[derive(Default)]
struct Queues(Mutex<HashMap<String, Vec<Message>>>);

impl Queues {
    fn load(&self, user: &str) -> Option<Vec<Message>> {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(user).cloned()
    }

    fn store(&self, user: &str, queue: Vec<Message>) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.insert(user.to_owned(), queue);
    }
}
// ANCHOR_END: queues

// ANCHOR: send
/// Puts messages into the queue, and counts them.
fn send(queues: &Queues, messages: impl IntoIterator<Item = Message>) -> usize {
    let mut count = 0;
    for message in messages {
        let key = message.from.clone();
        match queues.load(&key) {
            None => queues.store(&key, vec![message]),
            Some(mut queue) => {
                queue.push(message);
                queues.store(&key, queue);
                count += 1;
            }
        }
    }
    count
}
// ANCHOR_END: send

// ANCHOR: receive
/// Takes messages out of the queue until none has come for five seconds. Handing one
/// over takes `slow`.
async fn receive(queues: &Queues, user: &str, slow: Duration) -> usize {
    let mut received = 0;
    let mut timer = Timer::new(Duration::from_secs(5));
    loop {
        sleep(Duration::from_millis(100)).await;
        if timer.has_fired() {
            return received;
        }
        let mut queue = queues.load(user).unwrap_or_default();
        if queue.is_empty() {
            continue;
        }
        queue.remove(0);
        sleep(slow).await;
        received += 1;
        queues.store(user, queue);
        timer.reset();
    }
}
// ANCHOR_END: receive

// ANCHOR: timer
/// Go's timer, as it was before Go 1.23: a tick that was not taken is still there after
/// a reset.
struct Timer {
    duration: Duration,
    end: Instant,
    tick: bool,
}

impl Timer {
    fn new(duration: Duration) -> Self {
        Self {
            duration,
            end: Instant::now() + duration,
            tick: false,
        }
    }

    fn has_fired(&self) -> bool {
        self.tick || Instant::now() >= self.end
    }

    fn reset(&mut self) {
        self.tick = self.has_fired();
        self.end = Instant::now() + self.duration;
    }
}
// ANCHOR_END: timer

fn message(content: &str) -> Message {
    Message {
        from: "jack".to_owned(),
        to: "mike".to_owned(),
        content: content.to_owned(),
    }
}

fn messages(count: usize) -> impl Iterator<Item = Message> {
    std::iter::repeat_n(message("在吗"), count)
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    const AT_ONCE: Duration = Duration::ZERO;

    let queues = Queues::default();
    let count = send(&queues, messages(2));
    println!("the count: 2 messages sent, {count} counted");

    let mike = receive(&queues, "mike", AT_ONCE).await;
    let jack = receive(&queues, "jack", AT_ONCE).await;
    println!("the key: jack sends 2 to mike; mike gets {mike}, jack gets {jack}");

    // ANCHOR: race
    let queues = Queues::default();
    queues.store("mike", Vec::new());
    let both_have_loaded = Barrier::new(2);
    let sender = async |content| {
        let mut queue = queues.load("mike").unwrap_or_default();
        both_have_loaded.wait().await;
        queue.push(message(content));
        queues.store("mike", queue);
    };
    join!(sender("在吗"), sender("下午有没有时间"));
    let left = queues.load("mike").unwrap_or_default().len();
    println!("the race: two senders put 1 each, {left} is there");
    // ANCHOR_END: race

    queues.store("mike", messages(50).collect());
    let start = Instant::now();
    receive(&queues, "mike", AT_ONCE).await;
    let took = start.elapsed() - Duration::from_secs(5);
    println!("the poll: 50 messages that were there take {took:.0?}");

    queues.store("mike", messages(2).collect());
    let received = receive(&queues, "mike", Duration::from_secs(6)).await;
    println!("the timer: a slow receiver gets {received} of 2, and a goodbye");
}

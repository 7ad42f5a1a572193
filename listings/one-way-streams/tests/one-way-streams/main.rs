//! What the mailboxes and the service promise, and the exercises of the chapter.

mod client;
mod exercises;
mod mailboxes;
mod peer;
mod post;

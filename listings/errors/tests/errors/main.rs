//! What the registry and its client promise, and the exercises of the chapter.

mod client;
mod exercises;
mod malformed;
mod peer;
mod registry;
mod retry;

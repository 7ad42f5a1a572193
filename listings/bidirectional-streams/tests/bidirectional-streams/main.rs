//! What the chat promises, and the exercises of the chapter.

mod chat;
mod client;
mod exercises;
mod peer;

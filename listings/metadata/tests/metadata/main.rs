//! What the till promises of metadata, and the exercises of the chapter.

mod client;
mod exercises;
mod peer;
mod till;

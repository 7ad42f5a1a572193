//! What the till promises, and the exercises of the chapter.

mod client;
mod exercises;
mod peer;
mod resets;
mod till;

//! What the greeter promises, and the exercises of the chapter.

mod client;
mod exercises;
mod greeting;
mod levels;
mod limits;
mod peer;

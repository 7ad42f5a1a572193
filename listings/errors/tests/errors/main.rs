//! What the registry and its client promise, and the exercises of the chapter.

mod exercises;
mod malformed;
mod registry;
mod retry;

//! What the registry promises, and the exercises of the chapter.

mod client;
mod exercises;
mod peer;
mod registry;

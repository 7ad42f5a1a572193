//! What the registry promises, and the exercises of the chapter.

mod exercises;
mod registry;

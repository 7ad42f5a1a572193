//! What the greeter promises, and the exercises of the chapter.

mod exercises;
mod json;
mod wire;

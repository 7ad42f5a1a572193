//! What the greeter promises, and the exercises of the chapter.

mod exercises;
mod greeting;
mod limits;

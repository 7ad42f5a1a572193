//! What the till promises, and the exercises of the chapter.

mod exercises;
mod till;

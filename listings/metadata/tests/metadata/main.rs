//! What the till promises of metadata, and the exercises of the chapter.

mod exercises;
mod till;

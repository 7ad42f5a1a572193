//! The tools of the book: what `cargo xtask` runs, and the tests call.
//!
//! A chapter is found by its slug in four rooms: `src/<slug>` tells it,
//! `listings/<slug>` is it, `proto/` holds its contract and `tests/` proves it.

pub mod anchors;
pub mod bench;
pub mod chapter;
pub mod export;
pub mod generated;
pub mod page;
pub mod preprocess;
pub mod program;
pub mod serve;
pub mod session;
pub mod versions;
pub mod wire;
pub mod workspace;

use std::{fmt, path::PathBuf};

/// Something that is wrong in a file of the book, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the root of the book.
    pub file: PathBuf,
    /// The line in it, counted from one.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem at `line` of `file`.
    pub fn new(file: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

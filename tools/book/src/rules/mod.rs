//! What the book promises of its pages and listings. A rule is one file: its check, and the faults
//! that it must find.
//!
//! The faults are planted, one at a time, in the small book below `tests/proofs/fixture`, so that
//! their cost does not grow with the book.

pub mod anchors;
pub mod asserted;
pub mod binaries;
pub mod commands;
pub mod copies;
pub mod dependencies;
pub mod fences;
pub mod language;
pub mod orphans;
pub mod readme;
pub mod rendering;
pub mod search;
pub mod solutions;
pub mod titles;
pub mod trees;
pub mod unfenced_code;
pub mod versions;

use anyhow::Result;

use crate::{Book, Problem};

/// A rule that the book keeps.
pub struct Rule {
    /// Its name in the list of tests.
    pub name: &'static str,
    /// Finds where the book breaks it.
    pub check: fn(&Book) -> Result<Vec<Problem>>,
    /// What it must find.
    pub faults: &'static [Fault],
}

impl Rule {
    /// A rule with its faults. In a constant, a rule without a fault does not compile.
    pub const fn new(
        name: &'static str,
        check: fn(&Book) -> Result<Vec<Problem>>,
        faults: &'static [Fault],
    ) -> Self {
        assert!(!faults.is_empty(), "a rule needs a fault that it finds");
        Self {
            name,
            check,
            faults,
        }
    }
}

/// A fault to plant in the fixture book.
pub struct Fault {
    /// Its name in the list of tests.
    pub name: &'static str,
    /// How it is planted.
    pub edits: &'static [Edit],
    /// What the rule must say: the place, or the message, or both.
    pub found: &'static str,
}

/// A change to a file of the fixture book.
pub enum Edit {
    /// Replaces the first `old`, which must be there.
    Replace {
        /// The file, from the root.
        file: &'static str,
        /// What is there.
        old: &'static str,
        /// What replaces it.
        new: &'static str,
    },
    /// Adds text at the end, or makes a new file.
    Append {
        /// The file, from the root.
        file: &'static str,
        /// What is added.
        text: &'static str,
    },
}

/// A fault with one edit.
macro_rules! fault {
    ($name:literal, append($file:expr, $text:expr), $found:expr) => {
        $crate::rules::Fault {
            name: $name,
            edits: &[$crate::rules::Edit::Append {
                file: $file,
                text: $text,
            }],
            found: $found,
        }
    };
    ($name:literal, replace($file:expr, $old:expr, $new:expr), $found:expr) => {
        $crate::rules::Fault {
            name: $name,
            edits: &[$crate::rules::Edit::Replace {
                file: $file,
                old: $old,
                new: $new,
            }],
            found: $found,
        }
    };
}
pub(crate) use fault;

/// The rules for pages that the preprocessor enforces too: `mdbook build` fails if one is broken.
pub const PAGE_RULES: &[&Rule] = &[
    &rendering::RULE,
    &fences::RULE,
    &commands::RULE,
    &unfenced_code::RULE,
    &versions::RULE,
    &asserted::RULE,
];

/// The other rules.
pub const BOOK_RULES: &[&Rule] = &[
    &anchors::RULE,
    &binaries::RULE,
    &copies::RULE,
    &dependencies::RULE,
    &language::RULE,
    &orphans::RULE,
    &readme::RULE,
    &search::RULE,
    &solutions::RULE,
    &titles::RULE,
    &trees::RULE,
];

/// The files of the fixture that most faults are planted in.
pub(crate) mod fixture {
    pub const PAGE: &str = "src/clock/index.md";
    pub const LIB: &str = "listings/clock/src/lib.rs";
    pub const MANIFEST: &str = "listings/clock/Cargo.toml";
}

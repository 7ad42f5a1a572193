//! The README says which Rust is needed.

use super::{Fault, Rule, fault};
use crate::{Problem, versions::Versions};

/// The sentence, for the Rust of the workspace's manifest.
pub fn rust_sentence(versions: &Versions) -> String {
    format!("You need Rust {} or later", versions.rust())
}

/// The README says which Rust is needed.
pub const RULE: Rule = Rule::new(
    "readme",
    |book| {
        let sentence = rust_sentence(&book.versions);
        let readme = book
            .documents
            .iter()
            .find(|it| it.file.ends_with("README.md"));
        if readme.is_some_and(|readme| readme.text.contains(&sentence)) {
            return Ok(Vec::new());
        }
        let message = format!("does not say `{sentence}`, as in the workspace's Cargo.toml");
        Ok(vec![Problem::new("README.md", 1, message)])
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[fault!(
    "another Rust",
    replace("README.md", "or later", "or newer"),
    "README.md:1: does not say `You need Rust 1.88 or later`"
)];

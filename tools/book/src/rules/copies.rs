//! A module that several listings need is the same file in each of them.

use std::collections::BTreeMap;

use super::{Edit, Fault, Rule};
use crate::{Book, Problem, anchors, workspace::read};

/// The modules that listings share by copying, since a listing depends on no other.
/// `SLUG` is the name of the listing.
pub const SHARED: &[&str] = &[
    "src/connection.rs",
    "src/escape.rs",
    "src/health.rs",
    "src/incoming.rs",
    "src/limit.rs",
    "src/malformed.rs",
    "src/shutdown.rs",
    "tests/SLUG/peer.rs",
];

/// The copies of a shared module are equal, but for the anchors: a page includes one of them.
pub const RULE: Rule = Rule::new(
    "copies",
    |book| {
        let mut problems = Vec::new();
        for module in SHARED {
            let copies = copies(book, module)?;
            // Most copies are as they should be. If they are of two minds, either may be right.
            let equal = |one: &str, other: &str| anchors::strip(one) == anchors::strip(other);
            let agreeing = |text: &str| copies.values().filter(|it| equal(it, text)).count();
            let Some((model, expected)) = copies.iter().max_by_key(|copy| agreeing(copy.1)) else {
                continue;
            };
            for (file, text) in copies.iter().filter(|copy| !equal(copy.1, expected)) {
                let line = first_difference(expected, text);
                let message = format!(
                    "differs from {model}: a module that listings share is the same in each of them"
                );
                problems.push(Problem::new(file, line, message));
            }
        }
        Ok(problems)
    },
    FAULTS,
);

/// The copies of `module`, by file.
fn copies(book: &Book, module: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut copies = BTreeMap::new();
    for slug in book.listings.keys() {
        let file = format!("listings/{slug}/{}", module.replace("SLUG", slug));
        let path = book.workspace.root().join(&file);
        if path.exists() {
            copies.insert(file, read(&path)?);
        }
    }
    Ok(copies)
}

/// The first line of `text` that is not as in `expected`.
fn first_difference(expected: &str, text: &str) -> usize {
    let mut expected = anchors::without_anchors(expected);
    let mut last = 0;
    for (line, content) in anchors::without_anchors(text) {
        if expected
            .next()
            .is_none_or(|(_, expected)| expected != content)
        {
            return line;
        }
        last = line;
    }
    last + 1
}

const FAULTS: &[Fault] = &[Fault {
    name: "shared module that was changed in one listing",
    edits: &[
        Edit::Append {
            file: "listings/clock/src/shutdown.rs",
            text: "fn stop() {}\n",
        },
        Edit::Append {
            file: "listings/other/Cargo.toml",
            text: "[package]\nname = \"other\"\n",
        },
        Edit::Append {
            file: "listings/other/src/shutdown.rs",
            text: "fn stop() {}\nfn wait() {}\n",
        },
    ],
    found: "listings/clock/src/shutdown.rs:2: differs from listings/other/src/shutdown.rs",
}];

//! A module that several listings need is the same file in each of them.

use super::{Edit, Fault, Rule};
use crate::{Book, Problem, anchors, lines::first_difference, workspace::read};

/// The modules that listings share by copying, since a listing depends on no other.
/// `SLUG` is the name of the listing.
const SHARED: &[&str] = &[
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
            let agreeing = |copy: &&Copy| {
                let equal = copies.iter().filter(|it| it.stripped == copy.stripped);
                equal.count()
            };
            let Some(model) = copies.iter().max_by_key(agreeing) else {
                continue;
            };
            for copy in &copies {
                if let Some(line) = first_difference(&model.stripped, &copy.stripped) {
                    let line = anchors::line_before_strip(&copy.text, line);
                    let message = format!(
                        "differs from {}: a module that listings share is the same in each of them",
                        model.file
                    );
                    problems.push(Problem::new(&copy.file, line, message));
                }
            }
        }
        Ok(problems)
    },
    FAULTS,
);

/// A shared module in one listing.
struct Copy {
    file: String,
    text: String,
    stripped: String,
}

fn copies(book: &Book, module: &str) -> anyhow::Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for slug in book.listings.keys() {
        let file = format!("listings/{slug}/{}", module.replace("SLUG", slug));
        let path = book.workspace.root().join(&file);
        if path.exists() {
            let text = read(&path)?;
            let stripped = anchors::strip(&text);
            copies.push(Copy {
                file,
                text,
                stripped,
            });
        }
    }
    Ok(copies)
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

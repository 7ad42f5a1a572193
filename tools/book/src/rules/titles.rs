//! A title is found in the sidebar once, and means the same on its page.

use std::collections::HashMap;

use super::{Fault, Rule, fault};
use crate::{Problem, workspace::read};

/// Each page has a title of its own, which `src/SUMMARY.md` repeats.
pub const RULE: Rule = Rule::new(
    "titles",
    |book| {
        let summary = read(&book.workspace.src().join("SUMMARY.md"))?;
        let mut problems = Vec::new();
        let mut pages = HashMap::new();
        for page in &book.pages {
            let title = page.text.lines().next().unwrap_or_default();
            let title = title.strip_prefix("# ").unwrap_or_default();
            if let Some(other) = pages.insert(title, page.path()) {
                let other = other.display();
                let message = format!("{other} has the title `{title}` too: say which chapter");
                problems.push(Problem::new(&page.file, 1, message));
            }
            let entry = format!("[{title}]({})", page.path().display());
            if !summary.contains(&entry) {
                let message = format!("src/SUMMARY.md does not have `{entry}`");
                problems.push(Problem::new(&page.file, 1, message));
            }
        }
        Ok(problems)
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[
    Fault {
        name: "a title twice",
        edits: &[
            super::Edit::Replace {
                file: "src/clock/listing.md",
                old: "# The whole listing",
                new: "# Take it home",
            },
            super::Edit::Replace {
                file: "src/SUMMARY.md",
                old: "[The whole listing]",
                new: "[Take it home]",
            },
        ],
        found: "src/clock/listing.md:1: clock/take-home.md has the title `Take it home` too",
    },
    fault!(
        "another title in the sidebar",
        replace("src/SUMMARY.md", "[A clock]", "[The clock]"),
        "src/clock/index.md:1: src/SUMMARY.md does not have `[A clock](clock/index.md)`"
    ),
];

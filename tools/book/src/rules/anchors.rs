//! Every anchor is whole and used.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Fault, Rule, fault, fixture::LIB};
use crate::{
    Problem,
    anchors::anchors,
    workspace::{files_below, read, slashed},
};

/// Every anchor in a listing or a proto is whole, and a page includes it.
pub const RULE: Rule = Rule::new(
    "anchors",
    |book| {
        let used: BTreeSet<(String, String)> = book
            .pages
            .iter()
            .flat_map(|page| &page.includes)
            .filter_map(|include| Some((include.file().to_owned(), include.selector.clone()?)))
            .collect();
        let mut problems = Vec::new();
        for folder in ["listings", "proto"] {
            for file in files_below(&book.workspace.root().join(folder))? {
                let path = PathBuf::from(folder).join(&file);
                let Ok(text) = read(&book.workspace.root().join(&path)) else {
                    continue;
                };
                for anchor in anchors(&text) {
                    let name = &anchor.name;
                    if let Some(fault) = anchor.fault {
                        let message = format!("the anchor `{name}` {}", fault.describe());
                        problems.push(Problem::new(&path, anchor.line, message));
                    } else if !used.contains(&(slashed(&path), name.clone())) {
                        let message = format!(
                            "no page includes the anchor `{name}`: include it, or remove it"
                        );
                        problems.push(Problem::new(&path, anchor.line, message));
                    }
                }
            }
        }
        Ok(problems)
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[
    fault!(
        "unused anchor",
        append(
            LIB,
            "// ANCHOR: spare\nconst _: () = ();\n// ANCHOR_END: spare\n"
        ),
        "no page includes the anchor `spare`"
    ),
    fault!(
        "doubled anchor",
        append(
            LIB,
            "// ANCHOR: time\nconst _: () = ();\n// ANCHOR_END: time\n"
        ),
        "the anchor `time` is there twice"
    ),
    fault!(
        "anchor that is never opened",
        append(LIB, "// ANCHOR_END: other\n"),
        "the anchor `other` is closed but never opened"
    ),
];

//! A tree marks the files that its page shows.

use std::collections::BTreeSet;

use super::{Fault, Rule, fault, fixture::PAGE};
use crate::{Problem, render::tree::path_ends_with};

/// A tree marks each file of its listing that the page includes.
pub const RULE: Rule = Rule::new(
    "trees",
    |book| {
        let mut problems = Vec::new();
        for page in &book.pages {
            let included = page.blocks.iter().filter_map(|block| block.include());
            let shown: BTreeSet<_> = included.map(|it| it.file().to_owned()).collect();
            for tree in page.directives_named("tree") {
                let folder = format!("listings/{}/", tree.subject);
                // Without what runs have written: nobody edits that.
                let of_the_listing = shown.iter().filter_map(|file| {
                    let source = file.strip_prefix(&folder);
                    let file = source.or_else(|| file.strip_prefix("proto/"))?;
                    let recorded = file.starts_with("output/") || file.starts_with("measured/");
                    (!recorded).then_some(file)
                });
                let is_marked = |file: &str| tree.words.iter().any(|it| path_ends_with(file, it));
                for file in of_the_listing.filter(|file| !is_marked(file)) {
                    let message =
                        format!("the page shows {file}, and its tree does not mark it: add it");
                    problems.push(Problem::new(&page.file, tree.line, message));
                }
            }
        }
        Ok(problems)
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[fault!(
    "unmarked file",
    replace(PAGE, "{{tree clock src/lib.rs", "{{tree clock"),
    "src/clock/index.md:5: the page shows src/lib.rs, and its tree does not mark it"
)];

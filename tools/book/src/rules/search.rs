//! The search finds what a page explains, but not once more in the whole listing.

use std::collections::BTreeSet;

use anyhow::Context;

use super::{Fault, Rule, fault};
use crate::{
    Problem,
    markdown::line_with,
    workspace::{read, slashed},
};

/// The pages that `book.toml` leaves out of the search are those that show a whole listing and have
/// no text beside it.
pub const RULE: Rule = Rule::new(
    "search",
    |book| {
        let text = read(&book.workspace.root().join("book.toml"))?;
        let config: toml::Table = toml::from_str(&text).context("cannot parse book.toml")?;
        let chapters = (|| {
            config
                .get("output")?
                .get("html")?
                .get("search")?
                .get("chapter")
        })();
        let listed: BTreeSet<String> = chapters
            .and_then(|chapters| chapters.as_table())
            .into_iter()
            .flatten()
            .map(|(page, _)| page.clone())
            .collect();
        let wanted: BTreeSet<String> = book
            .pages
            .iter()
            .filter(|page| page.directives_named("listing").next().is_some())
            .filter(|page| !page.text.contains("\n## "))
            .map(|page| slashed(page.path()))
            .collect();
        let mut problems = Vec::new();
        for page in wanted.difference(&listed) {
            let message = format!(
                "{page} shows a whole listing and nothing else: add `\"{page}\" = {{ enable = false }}` to [output.html.search.chapter]"
            );
            let line = line_with(&text, "[output.html.search.chapter]");
            problems.push(Problem::new("book.toml", line, message));
        }
        for page in listed.difference(&wanted) {
            let message = format!(
                "{page} is left out of the search, and is no page that shows only a listing: remove the line"
            );
            problems.push(Problem::new("book.toml", line_with(&text, page), message));
        }
        Ok(problems)
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[
    fault!(
        "listing that is searched",
        replace("book.toml", "\"clock/listing.md\" = { enable = false }", ""),
        "book.toml:13: clock/listing.md shows a whole listing"
    ),
    fault!(
        "page that is not searched",
        replace(
            "book.toml",
            "\"clock/listing.md\"",
            "\"clock/index.md\" = { enable = false }\n\"clock/listing.md\""
        ),
        "book.toml:14: clock/index.md is left out of the search"
    ),
];

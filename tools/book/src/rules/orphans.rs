//! Every page is in the summary, and every listing on a page.

use std::{collections::BTreeSet, path::Path};

use super::{Fault, Rule, fault};
use crate::{Problem, workspace::files_below};

/// Every page is in the summary, and one page shows the whole of each listing.
pub const RULE: Rule = Rule::new(
    "orphans",
    |book| {
        let pages: BTreeSet<_> = book.pages.iter().map(|page| page.path()).collect();
        let mut problems = Vec::new();
        for file in files_below(&book.workspace.src())? {
            let is_page = file.extension().is_some_and(|extension| extension == "md");
            if is_page && file != Path::new("SUMMARY.md") && !pages.contains(file.as_path()) {
                let message = "no reader finds this page: add it to src/SUMMARY.md";
                problems.push(Problem::new(Path::new("src").join(file), 1, message));
            }
        }
        for (slug, listing) in &book.listings {
            let whole = listing
                .shown_on
                .iter()
                .filter(|it| it.folder == Path::new(""));
            let count = whole.count();
            if count != 1 {
                let message = format!(
                    "{count} pages show the whole of this listing: write {{{{listing {slug}}}}} at the end of its chapter, once"
                );
                let manifest = format!("listings/{slug}/Cargo.toml");
                problems.push(Problem::new(manifest, 1, message));
            }
        }
        Ok(problems)
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[
    fault!(
        "page that is not in the summary",
        append("src/lost.md", "# Lost\n"),
        "src/lost.md:1: no reader finds this page"
    ),
    fault!(
        "listing that no page shows",
        append("listings/lost/Cargo.toml", "[package]\nname = \"lost\"\n"),
        "listings/lost/Cargo.toml:1: 0 pages show the whole of this listing"
    ),
];

//! Every include and directive can be rendered.

use super::{
    Edit, Fault, Rule, fault,
    fixture::{LIB, PAGE},
};
use crate::render::render;

/// Every include and directive can be rendered.
pub const RULE: Rule = Rule::new(
    "rendering",
    |book| {
        Ok(book
            .pages
            .iter()
            .flat_map(|page| render(book, page).problems)
            .collect())
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[
    Fault {
        name: "renamed anchor",
        edits: &[
            Edit::Replace {
                file: LIB,
                old: "ANCHOR: time",
                new: "ANCHOR: renamed",
            },
            Edit::Replace {
                file: LIB,
                old: "ANCHOR_END: time",
                new: "ANCHOR_END: renamed",
            },
        ],
        found: "there is no anchor `time` in listings/clock/src/lib.rs, which has: renamed",
    },
    fault!(
        "unclosed anchor",
        replace(LIB, "ANCHOR_END: time", "ANCHOR_END: other"),
        "the anchor `time` in listings/clock/src/lib.rs is never closed"
    ),
    Fault {
        name: "empty anchor",
        edits: &[
            Edit::Append {
                file: LIB,
                text: "// ANCHOR: none\n\n// ANCHOR_END: none\n",
            },
            Edit::Append {
                file: PAGE,
                text: "\n```rust,no_run\n{{#rustdoc_include ../../listings/clock/src/lib.rs:none}}\n```\n",
            },
        ],
        found: "the anchor `none` in listings/clock/src/lib.rs is empty",
    },
    fault!(
        "missing file",
        append(
            PAGE,
            "\n```rust,no_run\n{{#rustdoc_include ../../listings/clock/src/gone.rs}}\n```\n"
        ),
        "src/clock/index.md:46: there is no file listings/clock/src/gone.rs"
    ),
    fault!(
        "line numbers",
        append(
            PAGE,
            "\n```rust,no_run\n{{#rustdoc_include ../../listings/clock/src/lib.rs:3:9}}\n```\n"
        ),
        "lines are included by their numbers, `3:9`"
    ),
    fault!(
        "playground",
        append(
            PAGE,
            "\n```rust,no_run\n{{#playground ../../listings/clock/src/lib.rs}}\n```\n"
        ),
        "a playground asks another host"
    ),
    fault!(
        "code beside an include",
        append(
            PAGE,
            "\n```rust\n{{#rustdoc_include ../../listings/clock/src/lib.rs}}\nfn more() {}\n```\n"
        ),
        "holds the include and nothing else"
    ),
    fault!(
        "include in a quotation",
        append(
            PAGE,
            "\n> ```text\n> {{#include ../../Cargo.toml}}\n> ```\n"
        ),
        "in a list or a quotation"
    ),
    fault!(
        "include outside a block",
        append(PAGE, "\n{{#include ../../Cargo.toml}}\n"),
        "Cargo.toml is neither a picture nor a table"
    ),
    fault!(
        "broken table",
        replace(
            "listings/clock/output/zones.md",
            "| zone |",
            "| number | zone |"
        ),
        "zones.md is no table"
    ),
    fault!(
        "unknown crate",
        append(PAGE, "\n{{version never-heard-of}}\n"),
        "Cargo.lock has no crate `never-heard-of`"
    ),
    fault!(
        "tree of a missing file",
        append(PAGE, "\n{{tree clock src/gone.rs}}\n"),
        "the listing clock has no file src/gone.rs"
    ),
    fault!(
        "unknown listing",
        append(PAGE, "\n{{tree clok src/lib.rs}}\n"),
        "there is no listing `clok`"
    ),
    fault!(
        "solution of no exercise",
        append(PAGE, "\n{{solution clock 7}}\n"),
        "src/clock/index.md:46: the listing clock has no solution 7"
    ),
    fault!(
        "solution without a number",
        append(PAGE, "\n{{solution clock}}\n"),
        "src/clock/index.md:46: write the number of the exercise"
    ),
];

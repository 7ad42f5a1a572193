//! Every code block is one that a proof looks at.

use super::{Fault, Rule, fault, fixture::PAGE};
use crate::{Book, Problem, markdown::Block, page::Page};

/// The languages of code blocks. A block in another language would be one that no proof looks at.
pub const LANGUAGES: [&str; 12] = [
    "console",
    "diff",
    "go",
    "http",
    "javascript",
    "json",
    "protobuf",
    "python",
    "rust",
    "text",
    "toml",
    "yaml",
];

/// What may follow `rust` on a fence.
const RUST_TAGS: [&str; 4] = ["no_run", "should_panic", "compile_fail", "ignore"];

/// Every code block is one that a proof looks at.
pub const RULE: Rule = Rule::new(
    "fences",
    |book| Ok(book.all_pages().flat_map(check).collect()),
    FAULTS,
);

fn check(page: &Page) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, block) in page.blocks.iter().enumerate() {
        let mut report = |message: String| {
            problems.push(Problem::new(&page.file, block.line, message));
        };
        check_language(block, &mut report);
        if let Some(code) = block.error_code() {
            let error = page.blocks.get(at + 1).map_or("", |next| &next.body);
            if !error.starts_with(&format!("error[{code}]: ")) {
                report(format!(
                    "show the error: a ```text block below, with the compiler's line `error[{code}]: …`"
                ));
            }
        }
    }
    problems
}

fn check_language(block: &Block, report: &mut dyn FnMut(String)) {
    let language = block.language.as_str();
    if !LANGUAGES.contains(&language) {
        return report(format!(
            "no proof looks at a block in `{language}`: the languages of this book are {}",
            LANGUAGES.join(", ")
        ));
    }
    if language != "rust" {
        return;
    }
    for tag in &block.tags {
        if !RUST_TAGS.contains(&tag.as_str()) && block.error_code() != Some(tag) {
            report(format!(
                "`{tag}` is not a tag of a Rust block: use one of {}",
                RUST_TAGS.join(", ")
            ));
        }
    }
    if block.has_tag("compile_fail") != block.error_code().is_some() {
        report(
            "write `rust,compile_fail,E0000` with the code of the error that the block gives"
                .to_owned(),
        );
    }
    if block.has_tag("ignore") {
        if block.note("ignore").is_none() {
            report("`ignore` needs its reason in the line above: `<!-- ignore: why nothing runs this -->`".to_owned());
        }
        if !block
            .include()
            .is_some_and(|include| is_compiled_by_cargo(&include.path))
        {
            report(
                "only an include of a Rust file of a listing or of tests/ may be `ignore`: cargo compiles those"
                    .to_owned(),
            );
        }
    }
}

/// Whether cargo compiles the file, as a page names it: with its listing, where a proof checks that
/// cargo did, or with the book's tests.
fn is_compiled_by_cargo(path: &str) -> bool {
    (path.contains("listings/") || path.contains("../tests/")) && path.ends_with(".rs")
}

/// Whether skeptic tests the block.
pub fn is_tested(block: &Block) -> bool {
    block.language == "rust" && !block.has_tag("ignore")
}

/// How many Rust blocks of the rendered page are known to the proofs: those that skeptic tests, and
/// the files that cargo compiles.
pub fn known_rust_blocks(book: &Book, page: &Page) -> usize {
    let written = page
        .blocks
        .iter()
        .filter(|it| it.language == "rust")
        .count();
    let files = page.directives_named("listing").flat_map(|directive| {
        let listing = book.listings.get(&directive.subject);
        let sources = listing.and_then(|listing| listing.sources.as_ref().ok());
        let folder = directive.words.join(" ");
        sources.into_iter().flatten().filter(move |source| {
            let page = listing.and_then(|listing| listing.page_showing(&source.project));
            page.is_some_and(|page| page.folder.as_os_str() == folder.as_str())
                && source.project.extension().is_some_and(|it| it == "rs")
        })
    });
    written + files.count()
}

const FAULTS: &[Fault] = &[
    fault!(
        "unknown language",
        append(PAGE, "\n```rs\nfn main() {}\n```\n"),
        "src/clock/index.md:46: no proof looks at a block in `rs`"
    ),
    fault!(
        "no language",
        append(PAGE, "\n```\nplain\n```\n"),
        "no proof looks at a block in ``"
    ),
    fault!(
        "unknown tag",
        append(PAGE, "\n```rust,norun\nfn main() {}\n```\n"),
        "`norun` is not a tag of a Rust block"
    ),
    fault!(
        "ignore without a reason",
        append(
            PAGE,
            "\n```rust,ignore\n{{#include ../../listings/clock/src/lib.rs}}\n```\n"
        ),
        "`ignore` needs its reason"
    ),
    fault!(
        "ignored block",
        append(
            PAGE,
            "\n<!-- ignore: it does not work -->\n```rust,ignore\nlet x = 1\n```\n"
        ),
        "only an include of a Rust file of a listing or of tests/ may be `ignore`"
    ),
    fault!(
        "compile_fail without a code",
        append(PAGE, "\n```rust,compile_fail\nlet x: u8 = \"\";\n```\n"),
        "with the code of the error"
    ),
    fault!(
        "compile_fail without the error",
        append(
            PAGE,
            "\n```rust,compile_fail,E0308\nlet x: u8 = \"\";\n```\n"
        ),
        "show the error"
    ),
];

//! A page for mdBook. This runs before mdBook's own `links`, which expands the includes, and
//! rejects what `links` would accept in silence.
//!
//! - A block that includes a file becomes a figure: a caption with the path, linked to the file in
//!   the chapter's whole listing, and an id.
//! - `{{version tonic}}` becomes the version in `Cargo.lock`.
//! - `{{tree hello-world src/lib.rs}}` becomes the files of a listing, with those named after the
//!   slug marked; folded, except on a chapter's first page.
//! - `{{listing hello-world}}` becomes the whole listing, file by file, folded but for the first;
//!   without a folder that another page shows by `{{listing hello-world tests}}`.
//! - `{{solution hello-world 1}}` becomes the change that solves an exercise, folded.
//! - A file that the reader types, `type: src/lib.rs`, becomes a figure with that caption.
//! - Trees, and the lines that a block of Rust hides, become HTML that the search does not index.
//! - Comments that are for authors, `ignore`, `proof`, `type` and `asserted`, are left out.

mod figure;
mod ids;
pub mod include;
mod listing;
mod solution;
pub mod tree;
mod unsearched;

use std::{collections::HashMap, ops::Range};

use anyhow::Result;

use crate::{
    Book, Problem,
    markdown::{Directive, line_at},
    page::Page,
    rules::asserted,
};

/// A page for mdBook.
#[derive(Debug)]
pub struct Rendered {
    /// Its text. What could not be rendered stays as it was written.
    pub text: String,
    /// What could not be rendered.
    pub problems: Vec<Problem>,
}

/// Renders `page`, a page of `book`.
pub fn render(book: &Book, page: &Page) -> Rendered {
    let mut problems = Vec::new();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut ids = HashMap::new();

    for block in &page.blocks {
        let note = block.note.as_ref().map(|note| note.range.clone());
        match figure::figure(book, page, block, &mut ids) {
            Ok(Some(figure)) => {
                let start = note.map_or(block.range.start, |note| note.start);
                edits.push((start..block.range.end, figure));
            }
            Ok(None) => edits.extend(note.map(|note| (note, String::new()))),
            Err(message) => problems.push(Problem::new(&page.file, block.line, message)),
        }
    }
    edits.extend(asserted::lines_of_comments(&page.text).map(|line| (line, String::new())));
    for include in page.unfenced_includes() {
        if let Err(message) = include::check_unfenced(book, page, include) {
            let line = line_at(&page.text, include.range.start);
            problems.push(Problem::new(&page.file, line, message));
        }
    }
    for directive in &page.directives {
        match expand(book, page, directive) {
            Ok(new) => edits.push((directive.range.clone(), new)),
            Err(error) => {
                let message = format!("{error:#}");
                problems.push(Problem::new(&page.file, directive.line, message));
            }
        }
    }
    problems.sort();
    Rendered {
        text: apply(&page.text, edits),
        problems,
    }
}

fn expand(book: &Book, page: &Page, directive: &Directive) -> Result<String> {
    match directive.name.as_str() {
        "version" => Ok(book.versions.of(&directive.subject)?.to_owned()),
        "tree" => tree::tree(book, page, directive),
        "solution" => solution::solution(book, page, directive),
        _ => listing::listing(book, directive),
    }
}

/// `text` with each range replaced. A range inside one that was replaced already is left out.
fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let (mut edited, mut done) = (String::new(), 0);
    for (range, new) in edits {
        if range.start >= done {
            edited.push_str(&text[done..range.start]);
            edited.push_str(&new);
            done = range.end;
        }
    }
    edited.push_str(&text[done..]);
    edited
}

//! `{{tree SLUG FILE…}}`: the files of a listing, those of this page marked.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use termtree::Tree;

use crate::{
    Book,
    markdown::Directive,
    page::Page,
    render::{ids::escape, listing::sources, unsearched},
    workspace::slashed,
};

const MARK: &str = "  ← this page";

/// Whether the path `file` ends with the path `word`.
pub fn path_ends_with(file: &str, word: &str) -> bool {
    format!("/{file}").ends_with(&format!("/{word}"))
}

/// The files of a listing. Those that the page shows are marked, and named while the tree is
/// folded.
pub(super) fn tree(book: &Book, page: &Page, directive: &Directive) -> Result<String> {
    let slug = &directive.subject;
    let files: Vec<_> = sources(book, slug)?
        .iter()
        .map(|source| slashed(&source.book))
        .collect();
    let mut marked = Vec::new();
    for word in &directive.words {
        match files.iter().find(|file| path_ends_with(file, word)) {
            Some(file) => marked.push(file.as_str()),
            None => bail!(
                "the listing {slug} has no file {word}; it has: {}",
                files.join(", ")
            ),
        }
    }
    let tree = unsearched::text(&draw(&files, &marked));
    // A chapter's first page lays the listing out. On the others it would be in the way.
    if marked.is_empty() || page.file.ends_with("index.md") {
        return Ok(tree);
    }
    Ok(format!(
        "<details class=\"tree\">\n<summary data-text=\"On this page: {}\"></summary>\n\n{tree}\n</details>\n",
        escape(&directive.words.join(", "))
    ))
}

#[derive(Default)]
struct Folder<'a> {
    entries: BTreeMap<&'a str, Folder<'a>>,
    is_marked: bool,
}

impl Folder<'_> {
    fn to_tree(&self, name: &str) -> Tree<String> {
        let slash = if self.entries.is_empty() { "" } else { "/" };
        let mark = if self.is_marked { MARK } else { "" };
        Tree::new(format!("{name}{slash}{mark}"))
            .with_leaves(self.entries.iter().map(|(name, entry)| entry.to_tree(name)))
    }
}

/// Draws paths as trees, with [`MARK`] beside the marked ones, in one column.
fn draw(files: &[String], marked: &[&str]) -> String {
    let mut root = Folder::default();
    for file in files {
        let mut folder = &mut root;
        for part in file.split('/') {
            folder = folder.entries.entry(part).or_default();
        }
        folder.is_marked = marked.contains(&file.as_str());
    }
    let drawn: String = root
        .entries
        .iter()
        .map(|(name, entry)| entry.to_tree(name).to_string())
        .collect();
    let is_marked = |line: &&str| line.ends_with(MARK);
    let marked_lines = drawn.lines().filter(is_marked);
    let width = marked_lines.map(|line| line.chars().count()).max();
    drawn
        .lines()
        .map(|line| match line.strip_suffix(MARK) {
            Some(name) => {
                let gap = width.unwrap_or(0) - line.chars().count();
                format!("{name}{}{MARK}\n", " ".repeat(gap))
            }
            None => format!("{line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_folders_and_marks() {
        let files = ["a/b/c.rs", "a/longer.rs", "z.txt"].map(str::to_owned);
        assert_eq!(
            draw(&files, &["a/b/c.rs", "a/longer.rs"]),
            "a/\n├── b/\n│   └── c.rs   ← this page\n└── longer.rs  ← this page\nz.txt\n"
        );
    }
}

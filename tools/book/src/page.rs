//! A page, parsed once.

use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag};

use crate::markdown::{self, Block, Directive, Include, UnfencedCode};

/// A page as it is written.
#[derive(Clone, Debug)]
pub struct Page {
    /// The file, relative to the root of the book.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// Its fenced code blocks, in order.
    pub blocks: Vec<Block>,
    /// Code that is not in a fenced block.
    pub unfenced: Vec<UnfencedCode>,
    /// Its includes, those inside blocks among them.
    pub includes: Vec<Include>,
    /// Its directives.
    pub directives: Vec<Directive>,
}

impl Page {
    /// Parses the page `file`.
    pub fn parse(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let (blocks, unfenced) = markdown::code(&text);
        Self {
            file: file.into(),
            blocks,
            unfenced,
            includes: markdown::includes(&text).collect(),
            directives: markdown::directives(&text).collect(),
            text,
        }
    }

    /// Its path relative to `src/`.
    pub fn path(&self) -> &Path {
        self.file.strip_prefix("src").unwrap_or(&self.file)
    }

    /// The chapter that it is a page of: the first part of its path.
    pub fn chapter(&self) -> &str {
        let first = self.path().iter().next().and_then(|part| part.to_str());
        first.unwrap_or_default().trim_end_matches(".md")
    }

    /// The includes that are not inside a code block.
    pub fn unfenced_includes(&self) -> impl Iterator<Item = &Include> {
        self.includes.iter().filter(|include| {
            let inside = |block: &Block| block.range.contains(&include.range.start);
            !self.blocks.iter().any(inside)
        })
    }

    /// Its directives of the name `name`.
    pub fn directives_named(&self, name: &str) -> impl Iterator<Item = &Directive> {
        self.directives.iter().filter(move |it| it.name == name)
    }

    /// The first line that contains `wanted`, counted from one; 1 if none does.
    pub fn line_with(&self, wanted: &str) -> usize {
        markdown::line_with(&self.text, wanted)
    }
}

/// The pages that `src/SUMMARY.md` links to, relative to `src/`.
pub fn summary_links(summary: &str) -> Vec<PathBuf> {
    Parser::new(summary)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. }) if !dest_url.is_empty() => {
                Some(PathBuf::from(dest_url.as_ref()))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_includes_outside_blocks() {
        let text = "{{#include a.svg}}\n\n```text\n{{#include b.txt}}\n```\n";
        let page = Page::parse("src/x/y.md", text);
        let paths: Vec<_> = page.unfenced_includes().map(|it| &it.path).collect();
        assert_eq!(paths, ["a.svg"]);
        assert_eq!(page.includes.len(), 2);
        assert_eq!((page.chapter(), page.path()), ("x", Path::new("x/y.md")));
    }

    #[test]
    fn reads_the_summary() {
        let links =
            summary_links("# S\n\n[I](i.md)\n\n- [A](a/index.md)\n  - [B](a/b.md)\n- [Draft]()\n");
        assert_eq!(links, ["i.md", "a/index.md", "a/b.md"].map(PathBuf::from));
    }
}

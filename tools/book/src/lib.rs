//! What a page may say: parsing, rendering and rules. Starts no process.
//!
//! A chapter is found by its slug in four places: `src/<slug>` explains it, `listings/<slug>` is
//! its program, `proto/` has its contract, and `tests/` proves it.

pub mod anchors;
pub mod lines;
pub mod listing;
pub mod markdown;
pub mod page;
pub mod prose;
pub mod render;
pub mod rules;
pub mod solutions;
pub mod versions;
pub mod workspace;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    listing::Listing,
    page::Page,
    versions::Versions,
    workspace::{Workspace, read},
};

/// Something that is wrong in a file of the book, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the root of the book.
    pub file: PathBuf,
    /// The line in it, counted from one.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem at `line` of `file`.
    pub fn new(file: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// The Markdown files outside `src/` that follow the rules of pages.
pub const DOCUMENTS: [&str; 4] = [
    "README.md",
    "CONTRIBUTING.md",
    "ADMIN.md",
    "tests/README.md",
];

/// The whole book, read and parsed once.
#[derive(Debug)]
pub struct Book {
    /// Where it lies.
    pub workspace: Workspace,
    /// The versions that a page can name.
    pub versions: Versions,
    /// The pages, in the order of `src/SUMMARY.md`.
    pub pages: Vec<Page>,
    /// Those of [`DOCUMENTS`] that exist.
    pub documents: Vec<Page>,
    /// The listings, by slug.
    pub listings: BTreeMap<String, Listing>,
}

impl Book {
    /// Reads the pages that `src/SUMMARY.md` names.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read: a page that the summary names, a manifest, `Cargo.lock`.
    pub fn load(workspace: Workspace) -> Result<Self> {
        let summary = read(&workspace.src().join("SUMMARY.md"))?;
        let pages = page::summary_links(&summary)
            .into_iter()
            .map(|path| {
                let text = read(&workspace.src().join(&path))?;
                Ok((path, text))
            })
            .collect::<Result<Vec<_>>>()?;
        Self::from_pages(workspace, pages)
    }

    /// The book with these pages: their paths relative to `src/`, and their text.
    ///
    /// # Errors
    ///
    /// Fails if a file of the workspace cannot be read.
    pub fn from_pages(
        workspace: Workspace,
        pages: impl IntoIterator<Item = (PathBuf, String)>,
    ) -> Result<Self> {
        let pages: Vec<_> = pages
            .into_iter()
            .map(|(path, text)| Page::parse(Path::new("src").join(path), text))
            .collect();
        let documents = DOCUMENTS
            .iter()
            .filter(|file| workspace.root().join(file).exists())
            .map(|file| Ok(Page::parse(file, read(&workspace.root().join(file))?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            versions: Versions::read(&workspace)?,
            listings: listing::load_all(&workspace, &pages)?,
            workspace,
            pages,
            documents,
        })
    }

    /// The pages and the documents.
    pub fn all_pages(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter().chain(&self.documents)
    }

    /// The slugs of the chapters: the listings', and those of the pages and folders in `src/`.
    pub fn chapters(&self) -> Vec<String> {
        let pages = self.pages.iter().map(|page| page.chapter().to_owned());
        let mut slugs: Vec<_> = self.listings.keys().cloned().chain(pages).collect();
        slugs.sort();
        slugs.dedup();
        slugs
    }

    /// The chapter that a file belongs to; none if it belongs to the whole book.
    pub fn chapter_of(&self, file: &Path) -> Option<String> {
        let mut parts = file.iter().map(|part| part.to_string_lossy());
        match parts.next()?.as_ref() {
            "src" => Some(parts.next()?.trim_end_matches(".md").to_owned()),
            "listings" => Some(parts.next()?.into_owned()),
            _ => None,
        }
    }
}

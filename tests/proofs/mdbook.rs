//! The book as mdBook builds it: no other process, and the pages that the rules have parsed.

use std::collections::BTreeMap;

use anyhow::anyhow;
use book::{Book, page::Page};
use harness::Result;
use mdbook_driver::{
    MDBook,
    book::{BookItem, Chapter},
    config::Config,
};

/// The book with `text_of` each page, and mdBook's own preprocessors still to run.
pub fn prepare(book: &Book, text_of: impl Fn(&Page) -> String) -> Result<MDBook> {
    let root = book.workspace.root();
    let error = |error| anyhow!("mdBook cannot load the book: {error:#}");
    let mut config = Config::from_disk(root.join("book.toml")).map_err(error)?;
    config
        .set("preprocessor", BTreeMap::<String, String>::new())
        .map_err(error)?;
    let mut prepared = MDBook::load_with_config(root, config).map_err(error)?;
    prepared.book.for_each_mut(|item| {
        if let BookItem::Chapter(Chapter {
            source_path: Some(path),
            content,
            ..
        }) = item
            && let Some(page) = book.pages.iter().find(|page| page.path() == path)
        {
            *content = text_of(page);
        }
    });
    Ok(prepared)
}

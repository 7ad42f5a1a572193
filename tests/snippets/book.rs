//! The book as mdBook would build it, with our preprocessor called as a
//! library: cargo, called from a build script, would wait for itself.

use std::collections::BTreeMap;

use mdbook_driver::{MDBook, book::Book, config::Config};
use xtask::{Problem, preprocess::preprocess, workspace::Workspace};

pub type Error = Box<dyn std::error::Error>;

/// The pages as they are written, the book with our preprocessor's work done
/// and mdBook's still to do, and what our preprocessor refuses.
pub fn load(workspace: &Workspace) -> Result<(Book, MDBook, Vec<Problem>), Error> {
    let mut config = Config::from_disk(workspace.root().join("book.toml"))?;
    config.set("preprocessor", BTreeMap::<String, String>::new())?;
    let mut prepared = MDBook::load_with_config(workspace.root(), config)?;
    let written = prepared.book.clone();
    let problems = preprocess(workspace, &mut prepared.book)?;
    Ok((written, prepared, problems))
}

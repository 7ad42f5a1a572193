//! The pages as they are written: nothing is refused, nothing is left over.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{bail, ensure};
use harness::{Result, workspace};
use mdbook_driver::book::Book;
use xtask::{
    Problem,
    anchors::anchors,
    page::{self, blocks},
    preprocess::{is_named, trees},
    session,
    versions::Versions,
    workspace::{Workspace, files_below, read, slashed},
};

use crate::{assert_none, book};

#[test]
fn the_preprocessor_refuses_nothing() -> Result {
    assert_none(refused(&workspace())?);
    Ok(())
}

#[test]
fn every_page_is_in_the_summary_and_every_listing_on_a_page() -> Result {
    assert_none(orphans(&workspace())?);
    Ok(())
}

#[test]
fn every_server_is_started_on_a_page() -> Result {
    assert_none(untold_servers(&workspace())?);
    Ok(())
}

#[test]
fn every_tree_marks_the_files_of_its_page() -> Result {
    assert_none(unmarked_files(&workspace())?);
    Ok(())
}

#[test]
fn every_anchor_is_used() -> Result {
    assert_none(unused_anchors(&workspace())?);
    Ok(())
}

#[test]
fn the_readme_and_contributing_keep_the_rules_of_pages() -> Result {
    let workspace = workspace();
    let versions = Versions::read(&workspace)?;
    // The one version that is typed: GitHub shows the file as it is.
    let rust = format!("You need Rust {} or later", versions.of("rust")?);
    let readme = read(&workspace.root().join("README.md"))?;
    ensure!(readme.contains(&rust), "README.md does not say `{rust}`");
    let contributing = read(&workspace.root().join("CONTRIBUTING.md"))?;
    for (file, text) in [
        ("README.md", readme.replace(&rust, "")),
        ("CONTRIBUTING.md", contributing),
    ] {
        assert_none(page::check(&workspace, &versions, file.as_ref(), &text));
    }
    Ok(())
}

/// What the preprocessor refuses, in this process as under `mdbook build`.
pub fn refused(workspace: &Workspace) -> Result<Vec<Problem>> {
    Ok(load(workspace)?.1)
}

/// Pages that no reader finds, and listings that no page shows.
pub fn orphans(workspace: &Workspace) -> Result<Vec<Problem>> {
    let book = load(workspace)?.0;
    let pages: BTreeSet<PathBuf> = book
        .chapters()
        .filter_map(|chapter| chapter.source_path.clone())
        .collect();
    let mut problems = Vec::new();
    for file in files_below(&workspace.src())? {
        let is_page = file.extension().is_some_and(|extension| extension == "md");
        if is_page && file.as_os_str() != "SUMMARY.md" && !pages.contains(&file) {
            let message = "no reader finds this page: add it to src/SUMMARY.md";
            problems.push(Problem::new(PathBuf::from("src").join(file), 1, message));
        }
    }
    for slug in workspace.slugs()? {
        let wanted = format!("{{{{listing {slug}}}}}");
        let shown = book
            .chapters()
            .filter(|chapter| chapter.content.contains(&wanted))
            .count();
        if shown != 1 {
            let message = format!(
                "{shown} pages show the whole of this listing: write {wanted} at the end of its chapter, once"
            );
            problems.push(Problem::new(
                format!("listings/{slug}/Cargo.toml"),
                1,
                message,
            ));
        }
    }
    Ok(problems)
}

/// Servers that run in a session, and that no reader is told to start: by a transcript, or in a
/// sentence.
pub fn untold_servers(workspace: &Workspace) -> Result<Vec<Problem>> {
    let book = load(workspace)?.0;
    let pages = || book.chapters().map(|chapter| chapter.content.as_str());
    let mut told: String = pages().collect();
    for include in pages().flat_map(page::includes) {
        if include.path.contains("/output/") {
            told.extend(
                read(&workspace.root().join(include.file()))?
                    .lines()
                    .take(1),
            );
            told.push('\n');
        }
    }
    let mut problems = Vec::new();
    for slug in workspace.slugs()? {
        for command in session::servers(workspace, &slug)? {
            let named = format!("`{command}`");
            if !told.contains(&format!("$ {command}\n")) && !told.contains(&named) {
                problems.push(Problem::new(
                    format!("listings/{slug}/session.toml"),
                    1,
                    format!("no page says how a server is started: show its transcript, or write {named}"),
                ));
            }
        }
    }
    Ok(problems)
}

/// Files of a listing that a page shows, and that the listing's tree on that page does not mark.
pub fn unmarked_files(workspace: &Workspace) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for chapter in load(workspace)?.0.chapters() {
        let Some(page) = &chapter.source_path else {
            continue;
        };
        let shown: BTreeSet<_> = blocks(&chapter.content)
            .iter()
            .filter_map(|block| block.include())
            .map(|include| include.file().to_owned())
            .collect();
        for tree in trees(&chapter.content) {
            let slug = tree.slug;
            // But for what runs have written: it is no file that one edits.
            let of_the_listing = shown.iter().filter_map(|file| {
                let source = file.strip_prefix(&format!("listings/{slug}/"));
                let file = source.or_else(|| file.strip_prefix("proto/"))?;
                let written = file.starts_with("output/") || file.starts_with("measured/");
                (!written).then_some(file)
            });
            let is_marked = |file: &str| tree.marked().any(|word| is_named(file, word));
            for file in of_the_listing.filter(|file| !is_marked(file)) {
                let message =
                    format!("the page shows {file}, and its tree does not mark it: add it");
                problems.push(Problem::new(
                    PathBuf::from("src").join(page),
                    tree.line,
                    message,
                ));
            }
        }
    }
    Ok(problems)
}

/// Anchors that are broken, or that no page includes.
pub fn unused_anchors(workspace: &Workspace) -> Result<Vec<Problem>> {
    let used = used_anchors(&load(workspace)?.0);
    let mut problems = Vec::new();
    for room in ["listings", "proto"] {
        for file in files_below(&workspace.root().join(room))? {
            let path = PathBuf::from(room).join(&file);
            let Ok(text) = read(&workspace.root().join(&path)) else {
                continue;
            };
            for anchor in anchors(&text) {
                let name = &anchor.name;
                if let Some(fault) = anchor.fault {
                    let message = format!("the anchor `{name}` {}", fault.describe());
                    problems.push(Problem::new(&path, anchor.line, message));
                } else if !used.contains(&(slashed(&path), name.clone())) {
                    let message =
                        format!("no page includes the anchor `{name}`: include it, or remove it");
                    problems.push(Problem::new(&path, anchor.line, message));
                }
            }
        }
    }
    Ok(problems)
}

/// The files and anchors that pages include.
fn used_anchors(book: &Book) -> BTreeSet<(String, String)> {
    let includes = book
        .chapters()
        .flat_map(|chapter| blocks(&chapter.content))
        .filter_map(|block| block.include());
    includes
        .filter_map(|include| Some((include.file().to_owned(), include.selector?)))
        .collect()
}

/// The pages as they are written, and what is refused of them.
fn load(workspace: &Workspace) -> Result<(Book, Vec<Problem>)> {
    match book::load(workspace) {
        Ok((written, _, problems)) => Ok((written, problems)),
        Err(error) => bail!("the book cannot be loaded: {error}"),
    }
}

//! What the book promises of its pages, listings and tools.

mod browser;
mod contracts;
mod listings;
mod measured;
mod pages;
mod planted;
mod serve;
mod site;
mod tools;
mod transcripts;

#[path = "../snippets/book.rs"]
mod book;

use std::{fmt::Display, process::Output};

use anyhow::ensure;
use harness::Result;

/// Fails with one line a problem, if there are any.
#[track_caller]
fn assert_none<P: Display>(problems: impl IntoIterator<Item = P>) {
    let problems: Vec<_> = problems
        .into_iter()
        .map(|problem| problem.to_string())
        .collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Fails with what a program printed, if it failed.
fn succeeded(what: &str, output: &Output) -> Result {
    ensure!(
        output.status.success(),
        "{what}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

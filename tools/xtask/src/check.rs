//! `cargo xtask check`: proves one chapter, what is quick first.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use book::{Book, workspace::Workspace};

/// Checks the pages of the chapter `slug` against all rules, then runs everything that plain
/// `cargo test` runs of it.
///
/// # Errors
///
/// Fails if there is no such chapter, with the rules that it breaks, or if a test fails.
pub fn check(workspace: Workspace, slug: &str) -> Result<()> {
    let start = Instant::now();
    let book = Book::load(workspace)?;
    let chapters = book.chapters();
    ensure!(
        chapters.iter().any(|chapter| chapter == slug),
        "there is no chapter `{slug}`; the chapters are: {}",
        chapters.join(", ")
    );
    let mut problems = Vec::new();
    for rule in stage::rules() {
        problems.extend((rule.check)(&book)?);
    }
    problems.retain(|problem| book.chapter_of(&problem.file).is_none_or(|it| it == slug));
    if !problems.is_empty() {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        bail!("{slug} breaks rules:\n{}", problems.join("\n"));
    }
    println!(
        "{slug}: the pages keep the rules ({:.1} s)",
        start.elapsed().as_secs_f32()
    );
    let status = Command::new("cargo")
        // Of the same packages as plain `cargo test`, whose features decide what is compiled.
        .args(["test", "--quiet"])
        .args(["--test", "proofs", "--test", "chapters", "--", slug])
        .current_dir(book.workspace.root())
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "{slug} is not proved: see above");
    println!("{slug}: proved ({:.1} s)", start.elapsed().as_secs_f32());
    Ok(())
}

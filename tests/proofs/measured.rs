//! What was measured is shown as it was measured.

use anyhow::ensure;
use harness::{Result, workspace};
use xtask::{
    Problem,
    bench::Measured,
    session::first_difference,
    workspace::{Workspace, read},
};

use crate::{
    assert_none, succeeded,
    tools::{refused, xtask},
};

#[test]
fn each_table_and_picture_shows_what_was_measured() -> Result {
    assert_none(untrue(&workspace())?);
    Ok(())
}

/// `cargo xtask bench SLUG`, but short, not optimised, and nothing is written.
#[test]
fn each_benchmark_works() -> Result {
    let mut worked = 0;
    for slug in workspace().slugs()? {
        if Measured::read(&workspace(), &slug)?.is_some() {
            let output = xtask(&["bench", &slug, "--quick"])?;
            succeeded(&format!("the benchmark of {slug}"), &output)?;
            let printed = String::from_utf8(output.stdout)?;
            ensure!(printed.starts_with("on "), "{printed}");
            worked += 1;
        }
    }
    ensure!(worked > 0, "no listing is measured");
    Ok(())
}

#[test]
fn what_cannot_be_measured_is_said_so() -> Result {
    let sentence = "error: the listing `hello-world` has no example `hello-world-bench`";
    ensure!(refused(&["bench", "hello-world"])?.starts_with(sentence));
    ensure!(refused(&["bench", "hello-wrold"])?.contains("hello-world"));
    Ok(())
}

/// Tables and pictures that were not made from the data beside them.
pub fn untrue(workspace: &Workspace) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for slug in workspace.slugs()? {
        let Some(measured) = Measured::read(workspace, &slug)? else {
            continue;
        };
        for (file, text) in measured.files(&slug)? {
            let written = read(&workspace.root().join(&file)).unwrap_or_default();
            if let Some(line) = first_difference(&written, &text) {
                let message = format!(
                    "this is not what was measured: write it anew with cargo xtask bench {slug}"
                );
                problems.push(Problem::new(file, line, message));
            }
        }
    }
    Ok(problems)
}

//! Transcripts: recorded by `cargo xtask transcripts`, compared by the tests.

use std::{collections::BTreeMap, fs};

use anyhow::{Result, bail, ensure};
use book::{
    lines::first_difference,
    workspace::{Workspace, files_below, read, slashed, write},
};
use snapbox::{Assert, Data, IntoData, report::Palette};

use crate::session::{self, RunOptions, normalise::mask_os_error_codes};

/// Runs the sessions of the listing `slug`, rewrites its `output/`, and returns what has changed.
///
/// # Errors
///
/// Fails, and leaves the files as they are, if a session fails.
pub fn record(workspace: &Workspace, slug: &str) -> Result<Vec<String>> {
    let new = session::run(workspace, slug, RunOptions::ALL)?;
    let old = recorded(workspace, slug)?;
    let dir = workspace.listing(slug).join("output");
    let mut changed = Vec::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(dir.join(name))?;
        changed.push(format!("{name} (removed)"));
    }
    for (name, text) in new {
        if let Some(text) = text.filter(|text| old.get(&name) != Some(text)) {
            write(&dir.join(&name), text)?;
            changed.push(name);
        }
    }
    Ok(changed)
}

/// Runs the sessions of the listing `slug`, and compares what they print with its `output/`.
///
/// # Errors
///
/// Fails if a session fails, and with a diff if a transcript differs.
pub fn compare(workspace: &Workspace, slug: &str, options: RunOptions) -> Result<()> {
    let mut recorded = recorded(workspace, slug)?;
    let printed = session::run(workspace, slug, options)?;
    ensure!(
        !printed.is_empty(),
        "listings/{slug}/session.toml: no session, so no transcript"
    );
    for (name, printed) in printed {
        let file = format!("listings/{slug}/output/{name}");
        let recorded = recorded.remove(&name);
        let Some(printed) = printed else {
            // The session needs other programs, and is not run here. But it has been.
            ensure!(
                recorded.is_some(),
                "{file}:1: is missing: cargo xtask transcripts {slug}"
            );
            continue;
        };
        let recorded = mask_os_error_codes(&recorded.unwrap_or_default());
        let printed = mask_os_error_codes(&printed);
        if let Some(line) = first_difference(&recorded, &printed) {
            // `raw`: what a page shows is what was printed, and no pattern.
            let diff = Assert::new()
                .palette(Palette::plain())
                .try_eq(
                    Some(&file.as_str()),
                    printed.into_data().raw(),
                    Data::text(recorded).raw(),
                )
                .expect_err("they differ");
            bail!(
                "{file}:{line}: a run printed something else.\n{diff}\n\
                 If the program is right, rewrite the file: cargo xtask transcripts {slug}"
            );
        }
    }
    let unknown: Vec<_> = recorded
        .keys()
        .map(|name| format!("listings/{slug}/output/{name}"))
        .collect();
    ensure!(
        unknown.is_empty(),
        "{}:1: no session writes this file: remove it with cargo xtask transcripts {slug}",
        unknown.join(", ")
    );
    Ok(())
}

/// The files in `output/` of a listing, by name.
fn recorded(workspace: &Workspace, slug: &str) -> Result<BTreeMap<String, String>> {
    let dir = workspace.listing(slug).join("output");
    let files = if dir.exists() {
        files_below(&dir)?
    } else {
        Vec::new()
    };
    files
        .iter()
        .map(|file| Ok((slashed(file), read(&dir.join(file))?)))
        .collect()
}

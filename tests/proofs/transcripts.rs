//! Each transcript was printed by a run of its session.

use std::thread;

use anyhow::ensure;
use harness::{Result, workspace};
use snapbox::{Data, IntoData};
use xtask::{
    session::{self, Ports, Which},
    workspace::Workspace,
};

/// Side by side: a session mostly waits, and its ports are its own.
#[test]
fn each_transcript_is_true() -> Result {
    let slugs = workspace().slugs()?;
    thread::scope(|scope| {
        let runs: Vec<_> = slugs
            .iter()
            .map(|slug| scope.spawn(|| matches(&workspace(), slug, Ports::Free, Which::RustAlone)))
            .collect();
        runs.into_iter().try_for_each(|run| {
            run.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// The same with no argument added to any command, and with those that need more
/// than Rust.
#[test]
#[ignore = "needs the ports on the pages, 50050 to 50053 and 50080, to be free, and the programs that the sessions name"]
fn each_command_works_as_it_is_typed() -> Result {
    for slug in workspace().slugs()? {
        matches(&workspace(), &slug, Ports::AsTyped, Which::All)?;
    }
    Ok(())
}

/// Runs the sessions of a listing, and compares with its `output/`.
pub fn matches(workspace: &Workspace, slug: &str, ports: Ports, which: Which) -> Result {
    let mut written = session::written(workspace, slug)?;
    let printed = session::run(workspace, slug, ports, which)?;
    ensure!(
        !printed.is_empty(),
        "listings/{slug}/session.toml: no session, so no transcript"
    );
    for (name, printed) in printed {
        let file = format!("listings/{slug}/output/{name}");
        let written = written.remove(&name);
        let Some(printed) = printed else {
            // Not run; but it has been.
            ensure!(
                written.is_some(),
                "{file}:1: is missing: cargo xtask transcripts {slug}"
            );
            continue;
        };
        let written = written.unwrap_or_default();
        let (written, printed) = (session::comparable(&written), session::comparable(&printed));
        if let Some(line) = session::first_difference(&written, &printed) {
            // Without patterns: what a page shows is what was printed.
            let diff = snapbox::Assert::new()
                .palette(snapbox::report::Palette::plain())
                .try_eq(
                    Some(&file.as_str()),
                    printed.into_data().raw(),
                    Data::text(written).raw(),
                )
                .expect_err("they differ");
            anyhow::bail!(
                "{file}:{line}: a run printed something else.\n{diff}\n\
                 If the program is right, rewrite the file: cargo xtask transcripts {slug}"
            );
        }
    }
    let left: Vec<_> = written
        .keys()
        .map(|name| format!("listings/{slug}/output/{name}"))
        .collect();
    ensure!(
        left.is_empty(),
        "{}:1: no session writes this file: remove it with cargo xtask transcripts {slug}",
        left.join(", ")
    );
    Ok(())
}

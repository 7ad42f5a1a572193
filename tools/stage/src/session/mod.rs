//! Sessions: what a reader types in several terminals, run for real.
//!
//! `listings/<slug>/session.toml` names the programs of each session, in the order in which they
//! start; [`format`] describes it. What each program printed, below the command that started it, is
//! a transcript in `listings/<slug>/output/`.

pub mod format;
pub mod normalise;
mod run;

pub use run::{WIRE_PROGRAM, wait_until_free};

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use book::workspace::Workspace;

use crate::build::build;

/// How sessions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Run the commands to the letter, where readers type them and on the ports of the page.
    /// Otherwise the built programs are started on free ports, so that sessions can run side by
    /// side, and the addresses of the page are written back into the transcript.
    pub literal: bool,
    /// Run the sessions that need more than Rust, too.
    pub external_tools: bool,
}

impl RunOptions {
    /// As plain `cargo test` runs them.
    pub const RUST_ONLY: Self = Self {
        literal: false,
        external_tools: false,
    };
    /// As `cargo xtask transcripts` runs them.
    pub const ALL: Self = Self {
        literal: false,
        external_tools: true,
    };
    /// As a reader types them.
    pub const LITERAL: Self = Self {
        literal: true,
        external_tools: true,
    };
}

/// Runs the sessions of the listing `slug`, and returns what they printed, by its name in
/// `output/`. Of a session that is left out, there is only the name.
///
/// # Errors
///
/// Fails with what a program printed if it does not do as the session says, and if a program is
/// missing that a session needs.
pub fn run(
    workspace: &Workspace,
    slug: &str,
    options: RunOptions,
) -> Result<BTreeMap<String, Option<String>>> {
    /// Two runs in one folder would find each other's files.
    static RUNNING: LazyLock<Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>>> =
        LazyLock::new(Mutex::default);

    let built = build(workspace, slug)?;
    let sessions = format::load(workspace, slug)?;
    let place = run::Place::new(workspace, slug, &built, &sessions, options);
    let folder_lock = {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(running.entry(place.dir().to_owned()).or_default())
    };
    let _guard = folder_lock.lock().unwrap_or_else(PoisonError::into_inner);
    let mut output = BTreeMap::new();
    for session in &sessions.session {
        let files = place.files(session).with_context(|| {
            format!(
                "the session `{}` of the listing `{slug}` fails",
                session.name
            )
        })?;
        for (name, text) in files {
            if output.insert(name.clone(), text).is_some() {
                bail!("listings/{slug}/session.toml: two programs write output/{name}");
            }
        }
    }
    for excerpt in &sessions.generated {
        let (name, text) = excerpt.read(&built)?;
        output.insert(name, Some(text));
    }
    Ok(output)
}

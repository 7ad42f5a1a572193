//! A listing with all of its exercises solved.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use book::{
    listing::sources,
    solutions::{FilePatch, Solution, exercises, solutions},
    workspace::{Workspace, slashed},
};
use diffy::Patch;

use crate::{
    build::BuiltListing,
    export::{project, update},
};

/// The version of each listing, and of its solved copy. Cargo names what it builds after the
/// version too, so the copy shares the listing's dependencies and overwrites nothing of it.
const VERSIONS: (&str, &str) = ("version = \"0.1.0\"", "version = \"0.1.0-solved\"");

/// A listing with its solutions applied, and its tests built.
#[derive(Debug)]
pub struct Solved {
    /// The project.
    pub listing: BuiltListing,
    /// A text that changes with any file of the project, and when a test is linked again.
    pub state: String,
}

/// Exports the listing `slug` to a fixed folder below `target/`, applies its solutions one after
/// another, and builds its tests there.
///
/// # Errors
///
/// Fails if a solution does not apply, or leaves its exercise unsolved; or with the compiler's
/// messages.
pub fn build(workspace: &Workspace, slug: &str) -> Result<Solved> {
    workspace.check_slug(slug)?;
    let mut files = project(workspace, slug)?;
    let sources = sources(workspace, slug)?;
    for solution in solutions(&sources) {
        apply(&mut files, &solution)
            .with_context(|| format!("{}:1: does not apply", slashed(&solution.file)))?;
    }
    for mut source in sources {
        source.text = files.get(&source.project).cloned().unwrap_or_default();
        for exercise in exercises(&[source]) {
            ensure!(
                !exercise.expects_panic,
                "{}:1: no solution removes the `should_panic` of `{}`",
                slashed(&exercise.file),
                exercise.test
            );
        }
    }
    let manifest = files.entry("Cargo.toml".into()).or_default();
    ensure!(
        manifest.contains(VERSIONS.0),
        "listings/{slug}/Cargo.toml:1: has no line `{}`",
        VERSIONS.0
    );
    *manifest = manifest.replacen(VERSIONS.0, VERSIONS.1, 1);

    let dir = workspace.target().join("solved").join(slug);
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let mut state = format!("{:x}\n", hasher.finish());
    update(&dir, files)?;
    let mut listing = BuiltListing::in_dir(dir, workspace, "solved-target");
    listing
        .compile_tests(slug)
        .with_context(|| format!("the solutions of `{slug}` do not compile"))?;
    for executable in listing.tests.values() {
        let linked = executable.metadata()?.modified()?;
        state.push_str(&format!("{} {linked:?}\n", executable.display()));
    }
    Ok(Solved { listing, state })
}

/// Applies a patch to the files of a project.
fn apply(files: &mut BTreeMap<PathBuf, String>, solution: &Solution) -> Result<()> {
    let patches = solution.files();
    ensure!(!patches.is_empty(), "it is no unified diff");
    for FilePatch { header, hunks } in patches {
        let text = header + &hunks.concat();
        let patch = Patch::from_str(&text)?;
        let path = patch.modified().and_then(|path| path.strip_prefix("b/"));
        let path = path.context("a solution changes and adds files: `+++ b/src/lib.rs`")?;
        let is_new = patch.original() == Some("/dev/null");
        let known = files.get(Path::new(path));
        ensure!(
            known.is_none() == is_new,
            "{path} {}",
            if is_new {
                "exists already"
            } else {
                "is missing"
            }
        );
        let before = known.map(String::as_str).unwrap_or_default();
        let after = diffy::apply(before, &patch).with_context(|| path.to_owned())?;
        files.insert(path.into(), after);
    }
    Ok(())
}

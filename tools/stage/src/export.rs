//! Writes a listing as a project of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{self, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use book::{
    listing::sources,
    workspace::{Workspace, files_below, read, write},
};

/// Writes the listing `slug` into the new or empty folder `dir`.
///
/// # Errors
///
/// Fails, and leaves `dir` as it is, if `slug` is unknown, `dir` is not empty,
/// or lies in the book itself.
pub fn export(workspace: &Workspace, slug: &str, dir: &Path) -> Result<()> {
    workspace.check_slug(slug)?;
    if dir.exists() && (!dir.is_dir() || fs::read_dir(dir)?.next().is_some()) {
        bail!(
            "{} is not an empty folder: name one that is, or that does not exist yet",
            dir.display()
        );
    }
    // Absolute, or a name alone would have no folder above it to look at.
    let absolute = path::absolute(dir)?;
    let parent = absolute.ancestors().find_map(|dir| dir.canonicalize().ok());
    let root = workspace.root().canonicalize()?;
    if parent
        .is_some_and(|parent| parent.starts_with(&root) && !parent.starts_with(root.join("target")))
    {
        bail!(
            "{} is in the book's own workspace, where cargo would not build it: name a folder outside {}",
            dir.display(),
            root.display()
        );
    }
    for (file, text) in project(workspace, slug)? {
        write(&dir.join(file), text)?;
    }
    Ok(())
}

/// Exports the listing to a fixed folder below `target/`, for tests and sessions. A file that has
/// not changed is not written, so that cargo builds only what changed.
///
/// # Errors
///
/// Fails if the listing cannot be read or the files cannot be written.
pub fn export_to_target(workspace: &Workspace, slug: &str) -> Result<PathBuf> {
    let dir = workspace.target().join("listings").join(slug);
    update(&dir, project(workspace, slug)?)?;
    Ok(dir)
}

/// Makes the project in `dir` equal to `wanted`, but for what its programs have written. A file that
/// has not changed is not written.
pub(crate) fn update(dir: &Path, wanted: BTreeMap<PathBuf, String>) -> Result<()> {
    if dir.exists() {
        for file in files_below(dir)? {
            if !wanted.contains_key(&file) && !is_runtime_output(&file, &wanted) {
                fs::remove_file(dir.join(&file))
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
    }
    for (file, text) in wanted {
        let path = dir.join(&file);
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            // Renamed, so that a build in another process never reads half a file.
            let new = path.with_file_name(format!(
                ".{}.new",
                file.file_name().unwrap_or_default().to_string_lossy()
            ));
            write(&new, text)?;
            fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether a program of the project may have written the file: it is in a folder that the listing
/// does not have and cargo does not compile. The program may still need it.
fn is_runtime_output(file: &Path, wanted: &BTreeMap<PathBuf, String>) -> bool {
    let Some(folder) = file.parent().and_then(|parent| parent.iter().next()) else {
        return false;
    };
    let known = ["src", "tests", "examples", "benches", "proto", "solutions"];
    known.iter().all(|known| folder != *known) && !wanted.keys().any(|it| it.starts_with(folder))
}

/// Makes the project build wherever it is put.
const OWN_WORKSPACE: &str = "
# The project is a workspace of its own, so that it builds inside the folder of another one, too.
# Remove this table if you add the project to the members of yours.
[workspace]
";

/// All files of the exported project.
pub(crate) fn project(workspace: &Workspace, slug: &str) -> Result<BTreeMap<PathBuf, String>> {
    let mut files: BTreeMap<_, _> = sources(workspace, slug)?
        .into_iter()
        .map(|source| (source.project, source.text))
        .collect();
    if let Some(manifest) = files.get_mut(Path::new("Cargo.toml")) {
        manifest.push_str(OWN_WORKSPACE);
    }
    // The project is built with the versions that were tested. Cargo drops what it does not need.
    files.insert(
        "Cargo.lock".into(),
        read(&workspace.root().join("Cargo.lock"))?,
    );
    files.insert(".gitignore".into(), "/target/\n".to_owned());
    Ok(files)
}

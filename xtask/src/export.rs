//! A listing as a project of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{self, Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::{
    anchors,
    workspace::{Workspace, files_below, read, slashed, write},
};

/// The line of a listing's `build.rs` that points outside, and what replaces it.
const PROTO_INSIDE: (&str, &str) = (
    r#"const PROTO: &str = "../../proto";"#,
    r#"const PROTO: &str = "proto";"#,
);

/// Where a listing with generated code that is kept says what it is made from.
const GENERATION: &str = "buf.gen.yaml";

/// A file of a listing.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is in the book, relative to its root.
    pub book: PathBuf,
    /// Where it is in the exported project, relative to that.
    pub project: PathBuf,
    /// The text that is exported: without anchors, with paths mended.
    pub text: String,
}

/// The files of a listing that a reader takes home, manifest first: all but the
/// transcripts with the session that makes them, what was measured, and what a `.gitignore` of `*`
/// keeps out; and the contracts that its `build.rs` or its `buf.gen.yaml` names, with
/// what they import.
///
/// # Errors
///
/// Fails if a file cannot be read, or a contract is missing.
pub fn sources(workspace: &Workspace, slug: &str) -> Result<Vec<Source>> {
    let listing = workspace.listing(slug);
    let mut sources = Vec::new();
    let mut protos = BTreeSet::new();
    for file in files_below(&listing)? {
        let hidden = slashed(&file).starts_with('.');
        if hidden
            || file.starts_with("output")
            || file.starts_with("measured")
            || file.starts_with("target")
            || file == Path::new("session.toml")
            || keeps_to_itself(&listing, &file)
        {
            continue;
        }
        let mut text = anchors::strip(&read(&listing.join(&file))?);
        if file == Path::new("build.rs") {
            // One of its own, such as that of somebody else's server, comes with it.
            let named = strings_ending_in_proto(&text).into_iter();
            protos.extend(named.filter(|proto| !listing.join(proto).exists()));
            if !protos.is_empty() && !text.contains(PROTO_INSIDE.0) {
                bail!(
                    "{}/build.rs has no line `{}`, by which export finds the contracts",
                    slug,
                    PROTO_INSIDE.0
                );
            }
            text = text.replace(PROTO_INSIDE.0, PROTO_INSIDE.1);
        }
        if file == Path::new(GENERATION) {
            text = text.replace("../../proto", "proto");
            let named = strings_ending_in_proto(&text);
            protos.extend(
                named
                    .iter()
                    .filter_map(|it| it.strip_prefix("proto/"))
                    .map(str::to_owned),
            );
            // The rules of the contracts come with them.
            sources.push(Source {
                book: "buf.yaml".into(),
                project: "buf.yaml".into(),
                text: read(&workspace.root().join("buf.yaml"))?,
            });
        }
        sources.push(Source {
            book: Path::new("listings").join(slug).join(&file),
            project: file,
            text,
        });
    }
    for (proto, text) in with_imports(workspace, protos)? {
        let file = Path::new("proto").join(proto);
        sources.push(Source {
            book: file.clone(),
            project: file,
            text,
        });
    }
    sources.sort_by_key(|source| {
        let rank = match slashed(&source.project).as_str() {
            "Cargo.toml" => 0,
            "build.rs" | "buf.yaml" | GENERATION => 1,
            path if path.starts_with("proto/") => 2,
            path if path.starts_with("src/") => 3,
            _ => 4,
        };
        (rank, source.project.clone())
    });
    Ok(sources)
}

/// Whether the file is in a folder that nobody is to commit, such as one with keys:
/// whatever wrote them has put a `.gitignore` beside them, of one line `*`.
fn keeps_to_itself(listing: &Path, file: &Path) -> bool {
    file.ancestors().skip(1).any(|folder| {
        let ignored = fs::read_to_string(listing.join(folder).join(".gitignore"));
        ignored.is_ok_and(|ignored| ignored.trim() == "*")
    })
}

fn strings_ending_in_proto(text: &str) -> Vec<String> {
    static STRING: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""([\w/.-]+\.proto)""#).expect("the pattern is a constant"));
    STRING
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

/// The contracts in `wanted` and all that they import, but for the well-known
/// types, which protox brings along.
fn with_imports(
    workspace: &Workspace,
    wanted: BTreeSet<String>,
) -> Result<BTreeMap<String, String>> {
    static IMPORT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?m)^\s*import\s+(?:public\s+|weak\s+)?"([^"]+)""#)
            .expect("the pattern is a constant")
    });
    let mut found = BTreeMap::new();
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    while let Some(proto) = wanted.pop() {
        let path = workspace.proto().join(&proto);
        if found.contains_key(&proto) || (proto.starts_with("google/protobuf/") && !path.exists()) {
            continue;
        }
        let text = anchors::strip(&read(&path)?);
        wanted.extend(
            IMPORT
                .captures_iter(&text)
                .map(|import| import[1].to_owned()),
        );
        found.insert(proto, text);
    }
    Ok(found)
}

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

/// Exports the listing to a fixed place below `target/`, for tests and
/// sessions. Files that are the same already are left alone, so that cargo
/// builds only what changed.
///
/// # Errors
///
/// Fails if the listing cannot be read or the files cannot be written.
pub fn export_to_target(workspace: &Workspace, slug: &str) -> Result<PathBuf> {
    let dir = workspace.target().join("listings").join(slug);
    let wanted = project(workspace, slug)?;
    if dir.exists() {
        for file in files_below(&dir)? {
            if !wanted.contains_key(&file) && !is_written(&file, &wanted) {
                fs::remove_file(dir.join(&file))
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
    }
    for (file, text) in wanted {
        let path = dir.join(&file);
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            // Renamed into its place: another process may be building there.
            let new = path.with_file_name(format!(
                ".{}.new",
                file.file_name().unwrap_or_default().to_string_lossy()
            ));
            write(&new, text)?;
            fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(dir)
}

/// Whether a program of the project has written the file: it is in a folder that
/// neither the listing has nor cargo looks into. The program may still want it.
fn is_written(file: &Path, wanted: &BTreeMap<PathBuf, String>) -> bool {
    let Some(folder) = file.parent().and_then(|parent| parent.iter().next()) else {
        return false;
    };
    let known = ["src", "tests", "examples", "benches", "proto"];
    known.iter().all(|known| folder != *known) && !wanted.keys().any(|it| it.starts_with(folder))
}

/// All files of the exported project.
fn project(workspace: &Workspace, slug: &str) -> Result<BTreeMap<PathBuf, String>> {
    let mut files: BTreeMap<_, _> = sources(workspace, slug)?
        .into_iter()
        .map(|source| (source.project, source.text))
        .collect();
    // So that the project is built from the versions that were tested. Cargo
    // drops what it does not need of it in the first build.
    files.insert(
        "Cargo.lock".into(),
        read(&workspace.root().join("Cargo.lock"))?,
    );
    files.insert(".gitignore".into(), "/target/\n".to_owned());
    Ok(files)
}

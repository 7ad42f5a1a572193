//! A listing: its files as a reader takes them home, and the pages that show them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Result, bail};
use regex::Regex;

use crate::{
    anchors,
    page::Page,
    workspace::{Workspace, files_below, read, slashed},
};

/// The line of a listing's `build.rs` that points outside, and what export makes of it.
const PROTO_PATH: (&str, &str) = (
    r#"const PROTO: &str = "../../proto";"#,
    r#"const PROTO: &str = "proto";"#,
);

/// The file in which a listing that keeps its generated code says what it is generated from.
const BUF_TEMPLATE: &str = "buf.gen.yaml";

/// A listing, as the pages need it.
#[derive(Debug)]
pub struct Listing {
    /// Its files; or why they cannot be read.
    pub sources: Result<Vec<Source>, String>,
    /// The pages that show it whole.
    pub shown_on: Vec<ListingPage>,
}

/// A page that shows a folder of a listing; or the rest of it, if the folder has no name.
#[derive(Debug)]
pub struct ListingPage {
    /// The folder, relative to the exported project.
    pub folder: PathBuf,
    /// The page, relative to `src/`.
    pub page: PathBuf,
}

impl Listing {
    /// The page that shows a file of the exported project.
    pub fn page_showing(&self, project: &Path) -> Option<&ListingPage> {
        self.shown_on
            .iter()
            .filter(|page| project.starts_with(&page.folder))
            .max_by_key(|page| page.folder.components().count())
    }
}

/// Reads all listings, by slug.
///
/// # Errors
///
/// Fails if `listings/` cannot be read.
pub(crate) fn load_all(workspace: &Workspace, pages: &[Page]) -> Result<BTreeMap<String, Listing>> {
    let mut listings = BTreeMap::new();
    for slug in workspace.slugs()? {
        let listing = Listing {
            sources: sources(workspace, &slug).map_err(|error| format!("{error:#}")),
            shown_on: Vec::new(),
        };
        listings.insert(slug, listing);
    }
    for page in pages {
        for directive in page.directives_named("listing") {
            if let Some(listing) = listings.get_mut(&directive.subject) {
                listing.shown_on.push(ListingPage {
                    folder: directive.words.join(" ").into(),
                    page: page.path().to_owned(),
                });
            }
        }
    }
    Ok(listings)
}

/// A file of a listing.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is in the book, relative to its root.
    pub book: PathBuf,
    /// Where it is in the exported project, relative to that.
    pub project: PathBuf,
    /// The text that is exported: without anchors, with paths adjusted.
    pub text: String,
}

/// The files of a listing that a reader takes home, manifest first.
///
/// Left out are the transcripts with the session that makes them, the results of benchmarks, and
/// what a `.gitignore` excludes. Added are the protos that its `build.rs` or its `buf.gen.yaml`
/// names, with what they import.
///
/// # Errors
///
/// Fails if a file cannot be read, or a proto is missing.
pub fn sources(workspace: &Workspace, slug: &str) -> Result<Vec<Source>> {
    let listing = workspace.listing(slug);
    let mut sources = Vec::new();
    let mut protos = BTreeSet::new();
    for file in files_below(&listing)? {
        let not_exported = ["output", "measured", "target", "session.toml"];
        if not_exported.iter().any(|path| file.starts_with(path)) {
            continue;
        }
        let mut text = anchors::strip(&read(&listing.join(&file))?);
        if file == Path::new("build.rs") {
            // A proto of the listing's own, such as that of a server by others, is there already.
            let named = proto_paths(&text).into_iter();
            protos.extend(named.filter(|proto| !listing.join(proto).exists()));
            if !protos.is_empty() && !text.contains(PROTO_PATH.0) {
                bail!(
                    "listings/{slug}/build.rs has no line `{}`, by which export finds the protos",
                    PROTO_PATH.0
                );
            }
            text = text.replace(PROTO_PATH.0, PROTO_PATH.1);
        }
        if file == Path::new(BUF_TEMPLATE) {
            text = text.replace("../../proto", "proto");
            let named = proto_paths(&text);
            protos.extend(
                named
                    .iter()
                    .filter_map(|it| it.strip_prefix("proto/"))
                    .map(str::to_owned),
            );
            // The rules for the protos come with them.
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
            "build.rs" | "buf.yaml" | BUF_TEMPLATE => 1,
            path if path.starts_with("proto/") => 2,
            path if path.starts_with("src/") => 3,
            _ => 4,
        };
        (rank, source.project.clone())
    });
    Ok(sources)
}

/// The string literals in `text` that end in `.proto`.
fn proto_paths(text: &str) -> Vec<String> {
    static STRING: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""([\w/.-]+\.proto)""#).expect("the pattern is a constant"));
    STRING
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

/// The protos in `wanted` and all that they import, but for the well-known types, which protox
/// has built in.
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

//! The book's preprocessor. It runs before mdBook's own `links`, which expands
//! the includes; it refuses what `links` would pass in silence.
//!
//! On a page,
//!
//! - a block that includes a file becomes a figure: a caption with the path,
//!   linked to the file in the chapter's whole listing, and an id;
//! - `{{version tonic}}` becomes the version in `Cargo.lock`;
//! - `{{tree hello-world src/lib.rs}}` becomes the files of a listing, with
//!   those named after the slug marked; folded, but on a chapter's first page;
//! - `{{listing hello-world}}` becomes the whole listing, file by file, folded;
//!   but for a folder that another page shows, with `{{listing hello-world tests}}`.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Result, bail, ensure};
use mdbook_preprocessor::book::{Book, BookItem, Chapter};
use regex::Regex;

use crate::{
    Problem,
    anchors::anchors,
    export::{self, Source},
    page::{self, Block, Include, blocks, includes, line_of},
    versions::Versions,
    workspace::{Workspace, read, slashed},
};

/// Rewrites all pages of `book`, and lists what is wrong with them. What is
/// wrong stays as it was written.
///
/// # Errors
///
/// Fails if a file of the workspace cannot be read.
pub fn preprocess(workspace: &Workspace, book: &mut Book) -> Result<Vec<Problem>> {
    let versions = Versions::read(workspace)?;
    let listings = listings(workspace, book)?;
    let mut problems = Vec::new();
    book.for_each_mut(|item| {
        if let BookItem::Chapter(Chapter {
            source_path: Some(path),
            content,
            ..
        }) = item
        {
            let page = Page {
                workspace,
                versions: &versions,
                listings: &listings,
                path,
            };
            let (text, found) = page.expand(content);
            *content = text;
            problems.extend(found);
        }
    });
    Ok(problems)
}

/// A listing, as the pages need it.
struct Listing {
    /// Its files; or why they cannot be read.
    sources: Result<Vec<Source>, String>,
    /// The pages that show it.
    homes: Vec<Home>,
}

/// A page that shows a folder of a listing; or the rest of it, if the folder has no name.
struct Home {
    folder: PathBuf,
    page: PathBuf,
}

impl Listing {
    /// Where a file of the exported project is shown.
    fn home(&self, project: &Path) -> Option<&Home> {
        self.homes
            .iter()
            .filter(|home| project.starts_with(&home.folder))
            .max_by_key(|home| home.folder.components().count())
    }
}

/// All listings, by slug: their files are read once for the whole book.
fn listings(workspace: &Workspace, book: &Book) -> Result<BTreeMap<String, Listing>> {
    let mut listings = BTreeMap::new();
    for slug in workspace.slugs()? {
        let sources = export::sources(workspace, &slug).map_err(|error| format!("{error:#}"));
        listings.insert(
            slug,
            Listing {
                sources,
                homes: Vec::new(),
            },
        );
    }
    for chapter in book.chapters() {
        for found in DIRECTIVE.captures_iter(&chapter.content) {
            let (slug, folder) = slug_and_rest(&found[2]);
            if let ("listing", Some(listing), Some(page)) =
                (&found[1], listings.get_mut(slug), &chapter.source_path)
            {
                listing.homes.push(Home {
                    folder: folder.into(),
                    page: page.clone(),
                });
            }
        }
    }
    Ok(listings)
}

/// The words of `{{listing slug folder}}` or `{{tree slug file…}}`.
fn slug_and_rest(argument: &str) -> (&str, &str) {
    let argument = argument.trim();
    let (slug, rest) = argument
        .split_once(char::is_whitespace)
        .unwrap_or((argument, ""));
    (slug, rest.trim())
}

static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{\s*(version|tree|listing)\b([^}]*)\}\}").expect("the pattern is a constant")
});

/// A tree of a listing, as a page asks for it.
pub struct Tree<'a> {
    /// Its line in the page, counted from one.
    pub line: usize,
    /// The listing.
    pub slug: &'a str,
    words: &'a str,
}

impl<'a> Tree<'a> {
    /// The files that it marks, by their names or the ends of their paths.
    pub fn marked(&self) -> impl Iterator<Item = &'a str> {
        self.words.split_whitespace()
    }
}

/// The trees that a page asks for.
pub fn trees(text: &str) -> impl Iterator<Item = Tree<'_>> {
    DIRECTIVE.captures_iter(text).filter_map(move |found| {
        let (whole, name, argument) = (found.get(0)?, found.get(1)?, found.get(2)?);
        let (slug, words) = slug_and_rest(argument.as_str());
        let line = line_of(text, whole.start());
        (name.as_str() == "tree").then_some(Tree { line, slug, words })
    })
}

/// Whether `word` in a tree is meant for `file`.
pub fn is_named(file: &str, word: &str) -> bool {
    format!("/{file}").ends_with(&format!("/{word}"))
}

struct Page<'a> {
    workspace: &'a Workspace,
    versions: &'a Versions,
    listings: &'a BTreeMap<String, Listing>,
    /// Relative to `src/`.
    path: &'a Path,
}

impl Page<'_> {
    /// The page for mdBook, and what is wrong with it.
    fn expand(&self, text: &str) -> (String, Vec<Problem>) {
        let file = Path::new("src").join(self.path);
        let mut problems = page::check(self.workspace, self.versions, &file, text);
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut ids = HashMap::new();

        let blocks = blocks(text);
        for block in &blocks {
            match self.figure(block, &mut ids) {
                Ok(Some(figure)) => {
                    let start = block
                        .note
                        .as_ref()
                        .map_or(block.range.start, |note| note.range.start);
                    edits.push((start..block.range.end, figure));
                }
                Ok(None) => edits.extend(
                    block
                        .note
                        .as_ref()
                        .map(|note| (note.range.clone(), String::new())),
                ),
                Err(message) => problems.push(Problem::new(&file, block.line, message)),
            }
        }
        for include in includes(text) {
            if blocks
                .iter()
                .any(|block| block.range.contains(&include.range.start))
            {
                continue;
            }
            if let Err(message) = self.whole(&include) {
                problems.push(Problem::new(
                    &file,
                    line_of(text, include.range.start),
                    message,
                ));
            }
        }
        for found in DIRECTIVE.captures_iter(text) {
            let range = found.get(0).map_or(0..0, |whole| whole.range());
            match self.directive(&found[1], found[2].trim()) {
                Ok(new) => edits.push((range, new)),
                Err(error) => problems.push(Problem::new(
                    &file,
                    line_of(text, range.start),
                    format!("{error:#}"),
                )),
            }
        }

        edits.sort_by_key(|(range, _)| range.start);
        let (mut expanded, mut done) = (String::new(), 0);
        for (range, new) in edits {
            // What a block's figure replaced is not edited again.
            if range.start >= done {
                expanded.push_str(&text[done..range.start]);
                expanded.push_str(&new);
                done = range.end;
            }
        }
        expanded.push_str(&text[done..]);
        problems.sort();
        (expanded, problems)
    }

    /// The figure for a block that includes a file; none for another block.
    fn figure(
        &self,
        block: &Block,
        ids: &mut HashMap<String, usize>,
    ) -> Result<Option<String>, String> {
        let Some(include) = block.include() else {
            return Ok(None);
        };
        if block.body.trim() != &block.body[include.range.clone()] {
            return Err(
                "a block that includes a file holds the include and nothing else".to_owned(),
            );
        }
        if block.nested {
            return Err(
                "an include stands in a list or a quotation: move it out, it becomes a figure"
                    .to_owned(),
            );
        }
        let file = self.included(&include)?;
        let shown = slashed(&file);

        let mut id = shown.trim_start_matches("listings/").to_owned();
        if let Some(anchor) = &include.selector {
            id = format!("{id}-{anchor}");
        }
        let id = id_of(&id);
        let times = ids.entry(id.clone()).or_insert(0);
        *times += 1;
        let id = if *times > 1 {
            format!("{id}-{times}")
        } else {
            id
        };

        let transcript = block.language == "console";
        let caption = if transcript {
            // `client-no-name.txt` is the client's terminal, without a name.
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            match name.split_once('-') {
                Some((program, what)) => format!("{program}: {}", what.replace('-', " ")),
                None => name.into_owned(),
            }
        } else {
            let path = self.path_of(&shown);
            match self.link_to(&file) {
                Some(link) => format!("<a href=\"{link}\">{path}</a>"),
                None => path,
            }
        };
        let class = if transcript {
            "listing transcript"
        } else {
            "listing"
        };
        let mut fence = vec![block.language.clone()];
        fence.extend(block.tags.clone());
        Ok(Some(format!(
            "<figure class=\"{class}\" id=\"{id}\">\n<figcaption>{caption}</figcaption>\n\n```{}\n{}\n```\n\n</figure>\n",
            fence.join(","),
            block.body.trim()
        )))
    }

    /// Checks an include outside a block: a picture, or a table that a run
    /// printed. Neither has anchors.
    fn whole(&self, include: &Include) -> Result<(), String> {
        let file = self.included(include)?;
        let name = slashed(&file);
        let is_picture = name.ends_with(".svg");
        let is_table =
            name.starts_with("listings/") && name.contains("/output/") && name.ends_with(".md");
        if include.selector.is_some() || !(is_picture || is_table) {
            return Err(format!(
                "{name} is neither a picture nor a table of a run: include it in a fenced block"
            ));
        }
        if is_table {
            let text = read(&self.workspace.root().join(&file)).map_err(|it| it.to_string())?;
            let mut cells = text.lines().map(|line| line.matches('|').count());
            let columns = cells.next();
            if !cells.all(|cells| Some(cells) == columns) {
                return Err(format!(
                    "{name} is no table: its lines differ in their number of cells"
                ));
            }
        }
        Ok(())
    }

    /// The file of an include, relative to the root, once it is sure that
    /// mdBook will find in it what the page asks for.
    fn included(&self, include: &Include) -> Result<PathBuf, String> {
        if include.kind == "playground" || include.kind == "playpen" {
            return Err("a playground asks another host: use rustdoc_include".to_owned());
        }
        let page = Path::new("src").join(self.path);
        let file = tidy(&page.parent().unwrap_or(Path::new("")).join(&include.path))
            .ok_or_else(|| format!("{} is outside the book", include.path))?;
        let text = read(&self.workspace.root().join(&file)).map_err(|_| {
            format!(
                "there is no file {}, which is included here",
                slashed(&file)
            )
        })?;
        let Some(name) = &include.selector else {
            return Ok(file);
        };
        if name.contains(':') || name.is_empty() || name.parse::<usize>().is_ok() {
            return Err(format!(
                "lines are included by their numbers, `{name}`, which move: put an anchor in {}",
                slashed(&file)
            ));
        }
        let anchors = anchors(&text);
        let named: Vec<_> = anchors
            .iter()
            .filter(|anchor| anchor.name == *name)
            .collect();
        if let Some(fault) = named.iter().find_map(|anchor| anchor.fault) {
            return Err(format!(
                "the anchor `{name}` in {} {}",
                slashed(&file),
                fault.describe()
            ));
        }
        if named.is_empty() {
            let known: Vec<_> = anchors.iter().map(|anchor| anchor.name.as_str()).collect();
            return Err(format!(
                "there is no anchor `{name}` in {}, which has: {}",
                slashed(&file),
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ));
        }
        Ok(file)
    }

    /// The place of a file in its chapter's whole listing, seen from this page.
    fn link_to(&self, file: &Path) -> Option<String> {
        let (slug, home) = self.listings.iter().find_map(|(slug, listing)| {
            let sources = listing.sources.as_ref().ok()?;
            let source = sources.iter().find(|source| source.book == file)?;
            Some((slug, listing.home(&source.project)?))
        })?;
        let up = "../".repeat(self.path.components().count() - 1);
        Some(format!(
            "{up}{}#{}",
            slashed(&home.page),
            file_id(slug, file)
        ))
    }

    /// A file's path for its caption. The theme leaves out the listing of the chapter itself
    /// where there is little room.
    fn path_of(&self, file: &str) -> String {
        let chapter = self.path.iter().next().unwrap_or_default();
        let room = format!("listings/{}/", chapter.to_string_lossy());
        match file.strip_prefix(&room) {
            Some(rest) => format!(
                "<span class=\"room\">{}</span>{}",
                breakable(&room),
                breakable(rest)
            ),
            None => breakable(file),
        }
    }

    /// The files of the listing `slug`.
    fn sources(&self, slug: &str) -> Result<&[Source]> {
        self.workspace.check_slug(slug)?;
        match &self.listings[slug].sources {
            Ok(sources) => Ok(sources),
            Err(error) => bail!("{error}"),
        }
    }

    fn directive(&self, name: &str, argument: &str) -> Result<String> {
        match name {
            "version" => Ok(self.versions.of(argument)?.to_owned()),
            "tree" => self.tree(argument),
            _ => self.listing(argument),
        }
    }

    /// The files of a listing, those that the page touches marked, and named while the tree is
    /// folded.
    fn tree(&self, argument: &str) -> Result<String> {
        let (slug, words) = slug_and_rest(argument);
        let sources = self.sources(slug)?;
        let files: Vec<_> = sources.iter().map(|source| slashed(&source.book)).collect();
        let mut marked = Vec::new();
        for word in words.split_whitespace() {
            match files.iter().find(|file| is_named(file, word)) {
                Some(file) => marked.push(file.as_str()),
                None => bail!(
                    "the listing {slug} has no file {word}; it has: {}",
                    files.join(", ")
                ),
            }
        }
        let tree = format!("```text\n{}```\n", draw(&files, &marked));
        // A chapter's first page lays the listing out. On the others it would be in the way.
        if marked.is_empty() || self.path.ends_with("index.md") {
            return Ok(tree);
        }
        let named: Vec<_> = words
            .split_whitespace()
            .map(|word| format!("<code>{}</code>", breakable(word)))
            .collect();
        Ok(format!(
            "<details class=\"tree\">\n<summary>On this page: {}</summary>\n\n{tree}\n</details>\n",
            named.join(", ")
        ))
    }

    /// The whole listing, file by file; or what this page shows of it.
    fn listing(&self, argument: &str) -> Result<String> {
        let (slug, folder) = slug_and_rest(argument);
        let mut all = String::new();
        for source in self.sources(slug)? {
            let home = self.listings[slug].home(&source.project);
            if home.is_none_or(|home| home.folder != Path::new(folder)) {
                continue;
            }
            let id = file_id(slug, &source.book);
            let path = slashed(&source.project);
            let (language, text) = (language_of(&source.project), source.text.trim_end());
            // Longer than any fence in the file.
            let fence = "`".repeat(8);
            all.push_str(&format!(
                "<details class=\"file\">\n<summary>{path}</summary>\n\n<div id=\"{id}\">\n\n{fence}{language}\n{text}\n{fence}\n\n</div>\n\n</details>\n\n"
            ));
        }
        ensure!(
            !all.is_empty(),
            "the listing {slug} has no file below {folder}"
        );
        Ok(format!(
            "<div class=\"files\" role=\"group\" aria-label=\"The files of {slug}\">\n\n{all}</div>\n"
        ))
    }
}

/// `path` without `.` and `..`; none if it leaves the folder that it starts in.
fn tidy(path: &Path) -> Option<PathBuf> {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => tidy.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !tidy.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(tidy)
}

fn id_of(text: &str) -> String {
    let id: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    id.split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// A path that may go on in the next line after each slash: a telephone is narrow.
fn breakable(path: &str) -> String {
    path.replace('/', "/<wbr>")
}

/// The id of a file in the whole listing.
fn file_id(slug: &str, file: &Path) -> String {
    let file = slashed(file);
    let file = file
        .strip_prefix(&format!("listings/{slug}/"))
        .unwrap_or(&file);
    id_of(&format!("{slug}-file-{file}"))
}

fn language_of(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        // Cargo compiles it with the listing; a proof checks that it did.
        Some("rs") => "rust,ignore",
        Some("toml" | "lock") => "toml",
        Some("proto") => "protobuf",
        Some("yaml" | "yml") => "yaml",
        Some("json") => "json",
        _ => "text",
    }
}

/// Draws paths as a tree, an arrow behind the marked ones.
fn draw(files: &[String], marked: &[&str]) -> String {
    #[derive(Default)]
    struct Folder<'a> {
        entries: BTreeMap<&'a str, Folder<'a>>,
        path: Option<&'a str>,
    }
    fn lines(folder: &Folder, indent: &str, out: &mut Vec<(String, bool)>, marked: &[&str]) {
        for (at, (name, entry)) in folder.entries.iter().enumerate() {
            let last = at + 1 == folder.entries.len();
            let branch = if last { "└── " } else { "├── " };
            let is_marked = entry.path.is_some_and(|path| marked.contains(&path));
            let slash = if entry.entries.is_empty() { "" } else { "/" };
            out.push((format!("{indent}{branch}{name}{slash}"), is_marked));
            lines(
                entry,
                &format!("{indent}{}", if last { "    " } else { "│   " }),
                out,
                marked,
            );
        }
    }
    let mut root = Folder::default();
    for file in files {
        let mut folder = &mut root;
        for part in file.split('/') {
            folder = folder.entries.entry(part).or_default();
        }
        folder.path = Some(file);
    }
    let mut out = Vec::new();
    for (name, entry) in &root.entries {
        let slash = if entry.entries.is_empty() { "" } else { "/" };
        let is_marked = entry.path.is_some_and(|path| marked.contains(&path));
        out.push((format!("{name}{slash}"), is_marked));
        lines(entry, "", &mut out, marked);
    }
    let marked = out.iter().filter(|(_, is_marked)| *is_marked);
    let width = marked.map(|(line, _)| line.chars().count()).max();
    let mut text = String::new();
    for (line, is_marked) in out {
        text.push_str(&if is_marked {
            let gap = " ".repeat(width.unwrap_or(0) - line.chars().count());
            format!("{line}{gap}  ← this page\n")
        } else {
            format!("{line}\n")
        });
    }
    text
}

//! The site as its readers get it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use harness::{Result, workspace};
use regex::Regex;
use scraper::{ElementRef, Html, Selector};
use xtask::{
    Problem,
    workspace::{Workspace, files_below, read, slashed},
};

use crate::{assert_none, book};

/// Each page, how many of its Rust blocks `tests/snippets` tests, and how many
/// it leaves to cargo: written by `build.rs`.
pub const TESTED: &str = include_str!(concat!(env!("OUT_DIR"), "/pages.tsv"));

static SITE: LazyLock<Site> =
    LazyLock::new(|| Site::build(&workspace(), "site").expect("the book is built"));

#[test]
fn every_rust_block_is_tested() -> Result {
    assert_none(SITE.untested_blocks(TESTED)?);
    Ok(())
}

#[test]
fn every_link_and_fragment_resolves() -> Result {
    assert_none(SITE.broken_links()?);
    Ok(())
}

#[test]
fn nothing_is_loaded_from_another_host() {
    assert_none(SITE.foreign_resources());
}

#[test]
fn every_picture_has_words_and_follows_the_theme() -> Result {
    assert_none(SITE.poor_pictures()?);
    Ok(())
}

/// The rendered book.
#[derive(Debug)]
pub struct Site {
    workspace: Workspace,
    /// By path in the site: `hello-world/server.html`.
    pages: BTreeMap<String, String>,
    files: BTreeSet<PathBuf>,
}

impl Site {
    /// Renders the book of `workspace` to a folder `name`.
    pub fn build(workspace: &Workspace, name: &str) -> Result<Self> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let wrong = |error: book::Error| anyhow::anyhow!("the book cannot be built: {error}");
        let (_, mut book, _) = book::load(workspace).map_err(wrong)?;
        book.config.build.build_dir.clone_from(&dir);
        book.build().map_err(|error| wrong(error.into()))?;

        let files: BTreeSet<PathBuf> = files_below(&dir)?.into_iter().collect();
        let mut pages = BTreeMap::new();
        for file in &files {
            if file
                .extension()
                .is_some_and(|extension| extension == "html")
            {
                pages.insert(slashed(file), fs::read_to_string(dir.join(file))?);
            }
        }
        Ok(Self {
            workspace: workspace.clone(),
            pages,
            files,
        })
    }

    /// Rust blocks on a page that are neither tested nor a listing's own file.
    pub fn untested_blocks(&self, tested: &str) -> Result<Vec<Problem>> {
        let rust =
            selector(r#"main code[class*="language-rust"], main code[class*="language-rs"]"#);
        let mut problems = Vec::new();
        let mut known = HashSet::new();
        for line in tested.lines() {
            let [page, run, compiled] = line.split('\t').collect::<Vec<_>>()[..] else {
                anyhow::bail!("pages.tsv has a line `{line}`");
            };
            let expected = run.parse::<usize>()? + compiled.parse::<usize>()?;
            let rendered = rendered(page);
            let html = self.pages.get(&rendered).map_or("", String::as_str);
            let found = Html::parse_document(html).select(&rust).count();
            if found != expected {
                let message = format!(
                    "the page has {found} Rust blocks and {expected} of them are known to the tests: \
                     write each as a fenced block that begins with ```rust"
                );
                problems.push(Problem::new(
                    Path::new("src").join(page),
                    self.line_of(page, "language-rust"),
                    message,
                ));
            }
            known.insert(rendered);
        }
        if known.len() < 3 {
            problems.push(Problem::new(
                "src/SUMMARY.md",
                1,
                "the tests know next to no page",
            ));
        }
        Ok(problems)
    }

    /// Links to pages, files or fragments that are not there.
    pub fn broken_links(&self) -> Result<Vec<Problem>> {
        let link = selector("main [href], main [src]");
        let with_id = selector("[id]");
        let ids: BTreeMap<&str, HashSet<String>> = self
            .parsed()
            .map(|(page, html)| {
                let ids = html
                    .select(&with_id)
                    .filter_map(|element| element.value().id());
                (page, ids.map(str::to_owned).collect())
            })
            .collect();
        let mut problems = Vec::new();
        for (page, html) in self.parsed() {
            // The first page under a second name, and all pages in one.
            if page == "index.html" || page == "print.html" || page == "404.html" {
                continue;
            }
            for element in html.select(&link) {
                let target = element
                    .attr("href")
                    .or(element.attr("src"))
                    .unwrap_or_default();
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
                let file = if path.is_empty() {
                    Some(page.to_owned())
                } else {
                    resolve(page, path)
                };
                let wrong = match file {
                    Some(file) if self.files.contains(Path::new(&file)) => {
                        let has = ids
                            .get(file.as_str())
                            .is_some_and(|ids| ids.contains(fragment));
                        (!fragment.is_empty() && !has)
                            .then(|| format!("there is no `#{fragment}` in {file}"))
                    }
                    _ => Some(format!("there is no page or file {path}")),
                };
                if let Some(wrong) = wrong {
                    let source = page.replace(".html", ".md");
                    let typed = if fragment.is_empty() {
                        path.trim_end_matches(".html")
                    } else {
                        fragment
                    };
                    let line = self.line_of(&source, typed);
                    let message = format!("a link goes nowhere, {target}: {wrong}");
                    problems.push(Problem::new(Path::new("src").join(source), line, message));
                }
            }
        }
        Ok(problems)
    }

    /// Scripts, styles, fonts and pictures from elsewhere.
    pub fn foreign_resources(&self) -> Vec<Problem> {
        let loading = selector(
            "script[src], link[href], img[src], iframe, object, embed, source, video, audio",
        );
        let mut problems = Vec::new();
        for (page, html) in self.parsed() {
            for element in html.select(&loading) {
                let from = element
                    .attr("src")
                    .or(element.attr("href"))
                    .unwrap_or_default();
                if from.contains("//") {
                    problems.push(Problem::new(
                        page,
                        1,
                        format!("the page loads {from}: keep it in theme/ or src/"),
                    ));
                }
            }
        }
        problems
    }

    /// Pictures without a title or a description, with colours of their own, or with
    /// an id of another picture.
    pub fn poor_pictures(&self) -> Result<Vec<Problem>> {
        let picture = selector("main svg");
        let words = [selector("title"), selector("desc")];
        let coloured = selector("[fill^='#'], [stroke^='#'], [style]");
        let mut problems = self.pictures_of_one_name()?;
        for (page, html) in self.parsed() {
            for svg in html.select(&picture) {
                // mdBook's own icons stand in something with a class of mdBook's.
                let parent = svg
                    .parent()
                    .and_then(ElementRef::wrap)
                    .and_then(|parent| parent.attr("class"));
                let icon = parent.is_some_and(|class| class != "picture");
                if icon {
                    continue;
                }
                let described = words
                    .iter()
                    .all(|words| svg.select(words).any(|text| text.text().count() > 0));
                if !described || svg.attr("role") != Some("img") {
                    problems.push(Problem::new(
                        page,
                        1,
                        "a picture has no role=\"img\", <title> or <desc>",
                    ));
                }
                if svg.select(&coloured).next().is_some() {
                    problems.push(Problem::new(
                        page,
                        1,
                        "a picture has colours of its own: use classes, and var(--fg)",
                    ));
                }
            }
        }
        Ok(problems)
    }

    /// Pictures that share an id. The printed book is one page, where mdBook gives the second a
    /// new id and leaves what refers to it alone.
    fn pictures_of_one_name(&self) -> Result<Vec<Problem>> {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut problems = Vec::new();
        let src = self.workspace.src();
        for file in files_below(&src)?
            .iter()
            .filter(|it| it.extension().is_some_and(|it| it == "svg"))
        {
            let name = slashed(file);
            for id in ID.captures_iter(&read(&src.join(file))?) {
                if let Some(other) = known.insert(id[1].to_owned(), name.clone()) {
                    problems.push(Problem::new(
                        Path::new("src").join(file),
                        1,
                        format!(
                            "src/{other} has the id {} as well, and both are on the printed page",
                            &id[1]
                        ),
                    ));
                }
            }
        }
        Ok(problems)
    }

    fn parsed(&self) -> impl Iterator<Item = (&str, Html)> {
        self.pages
            .iter()
            .map(|(page, html)| (page.as_str(), Html::parse_document(html)))
    }

    /// The line of a page that has `text`; its first line if none has.
    fn line_of(&self, page: &str, text: &str) -> usize {
        let page = read(&self.workspace.src().join(page)).unwrap_or_default();
        page.lines()
            .position(|line| line.contains(text))
            .map_or(1, |at| at + 1)
    }
}

fn selector(css: &str) -> Selector {
    Selector::parse(css).expect("the selector is a constant")
}

static ID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\bid="([^"]+)""#).expect("the pattern is a constant"));

/// The file that mdBook makes of a page.
fn rendered(page: &str) -> String {
    page.replace("README.md", "index.md")
        .replace(".md", ".html")
}

/// `path` as seen from `page`; none if it leaves the site.
fn resolve(page: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

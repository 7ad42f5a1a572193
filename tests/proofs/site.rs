//! The site as its readers get it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use anyhow::{Context, anyhow};
use book::{
    Book, Problem,
    markdown::line_with,
    render::render,
    rules::{Edit, Fault, Rule, fences::known_rust_blocks},
    workspace::{files_below, read, slashed},
};
use harness::Result;
use regex::Regex;
use scraper::{ElementRef, Html, Selector};

/// The rules for the rendered site.
pub const RULES: &[&Rule] = &[
    &RUST_BLOCKS,
    &LINKS,
    &EXTERNAL_RESOURCES,
    &PICTURES,
    &SVG_IDS,
    &SEARCH_INDEX,
];

/// What readers search for, and the page that is about it. The browser's test types it.
const SEARCHES: &str = "tests/searches.json";

const PAGE: &str = "src/clock/index.md";
const PICTURE: &str = "src/clock/picture.svg";

/// Every Rust block on a page is tested, or a file of a listing.
const RUST_BLOCKS: Rule = Rule::new(
    "rust blocks",
    |book| {
        let site = Site::of(book)?;
        let mut problems = Vec::new();
        for page in &book.pages {
            let expected = known_rust_blocks(book, page);
            let found = site.facts_of(page.path()).map(|facts| facts.rust_blocks);
            if found != Some(expected) {
                let message = format!(
                    "the page has {} Rust blocks and {expected} of them are known to the tests: \
                     write each as a fenced block that begins with ```rust",
                    found.unwrap_or_default()
                );
                let line = page.line_with("language-rust");
                problems.push(Problem::new(&page.file, line, message));
            }
        }
        Ok(problems)
    },
    &[Fault {
        name: "code in a table of a run",
        edits: &[Edit::Replace {
            file: "listings/clock/output/zones.md",
            old: "London",
            new: "<pre><code class=\"language-rust\">fn main() {}</code></pre>",
        }],
        found: "the page has 2 Rust blocks and 1 of them are known to the tests",
    }],
);

/// Links lead to pages, files and fragments that exist.
const LINKS: Rule = Rule::new(
    "links",
    |book| {
        let site = Site::of(book)?;
        let mut problems = Vec::new();
        for page in &book.pages {
            let html = html_path(page.path());
            let Some(facts) = site.pages.get(&html) else {
                continue;
            };
            for target in &facts.links {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
                let file = if path.is_empty() {
                    Some(html.clone())
                } else {
                    resolve(&html, path)
                };
                let error = match file {
                    Some(file) if site.files.contains(Path::new(&file)) => {
                        let known = site.pages.get(&file);
                        let has = known.is_some_and(|facts| facts.ids.contains(fragment));
                        (!fragment.is_empty() && !has)
                            .then(|| format!("there is no `#{fragment}` in {file}"))
                    }
                    _ => Some(format!("there is no page or file {path}")),
                };
                if let Some(error) = error {
                    let typed = if fragment.is_empty() {
                        path.trim_end_matches(".html")
                    } else {
                        fragment
                    };
                    let message = format!("a link is broken, {target}: {error}");
                    problems.push(Problem::new(&page.file, page.line_with(typed), message));
                }
            }
        }
        Ok(problems)
    },
    &[
        Fault {
            name: "link to a missing page",
            edits: &[Edit::Append {
                file: PAGE,
                text: "\n[nowhere](nowhere.md)\n",
            }],
            found: "src/clock/index.md:46: a link is broken, nowhere.html: there is no page or file nowhere.html",
        },
        Fault {
            name: "link to a missing fragment",
            edits: &[Edit::Append {
                file: "src/introduction.md",
                text: "\n[nowhere](clock/index.md#no-such-part)\n",
            }],
            found: "src/introduction.md:9: a link is broken, clock/index.html#no-such-part: there is no `#no-such-part` in clock/index.html",
        },
    ],
);

/// Scripts, styles, fonts and pictures come with the book.
const EXTERNAL_RESOURCES: Rule = Rule::new(
    "external resources",
    |book| {
        let site = Site::of(book)?;
        let mut problems = Vec::new();
        for page in &book.pages {
            for url in site.facts_of(page.path()).iter().flat_map(|it| &it.loads) {
                if url.contains("//") {
                    let message = format!("the page loads {url}: keep it in theme/ or src/");
                    problems.push(Problem::new(&page.file, page.line_with(url), message));
                }
            }
        }
        Ok(problems)
    },
    &[Fault {
        name: "picture of another host",
        edits: &[Edit::Append {
            file: PAGE,
            text: "\n<img src=\"https://example.com/a.png\" alt=\"\">\n",
        }],
        found: "src/clock/index.md:46: the page loads https://example.com/a.png",
    }],
);

/// A picture has a title and a description, and the colours of the theme.
const PICTURES: Rule = Rule::new(
    "pictures",
    |book| {
        let site = Site::of(book)?;
        let mut problems = Vec::new();
        for page in &book.pages {
            for message in site
                .facts_of(page.path())
                .iter()
                .flat_map(|it| &it.pictures)
            {
                let line = page.line_with("class=\"picture\"");
                problems.push(Problem::new(&page.file, line, *message));
            }
        }
        Ok(problems)
    },
    &[
        Fault {
            name: "picture without a title",
            edits: &[
                Edit::Replace {
                    file: PICTURE,
                    old: "<title",
                    new: "<metadata",
                },
                Edit::Replace {
                    file: PICTURE,
                    old: "</title",
                    new: "</metadata",
                },
            ],
            found: "src/clock/index.md:25: a picture has no role",
        },
        Fault {
            name: "picture with a colour of its own",
            edits: &[Edit::Replace {
                file: PICTURE,
                old: "<circle",
                new: "<circle fill=\"#ff0000\"",
            }],
            found: "src/clock/index.md:25: a picture has colours of its own",
        },
    ],
);

/// The ids of pictures are unique in the book: the printed book is one page, where mdBook gives the
/// second element of an id a new one, and leaves what refers to it unchanged.
const SVG_IDS: Rule = Rule::new(
    "svg ids",
    |book| {
        static ID: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r#"\bid="([^"]+)""#).expect("the pattern is a constant"));
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut problems = Vec::new();
        let src = book.workspace.src();
        for file in files_below(&src)? {
            if file.extension().is_none_or(|extension| extension != "svg") {
                continue;
            }
            let text = read(&src.join(&file))?;
            for id in ID.captures_iter(&text) {
                if let Some(other) = known.insert(id[1].to_owned(), slashed(&file)) {
                    let message = format!(
                        "src/{other} has the id {} as well, and both are on the printed page",
                        &id[1]
                    );
                    let line = line_with(&text, &id[0]);
                    problems.push(Problem::new(Path::new("src").join(&file), line, message));
                }
            }
        }
        Ok(problems)
    },
    &[Fault {
        name: "id of another picture",
        edits: &[Edit::Replace {
            file: PICTURE,
            old: "id=\"clock-title\"",
            new: "id=\"clock-bench-title\"",
        }],
        found: "src/clock/picture.svg:2: src/clock/bench.svg has the id clock-bench-title as well",
    }],
);

/// The search finds what a page says: no tree, no line that a block hides, and for each of the
/// searches a section of its page with all words.
const SEARCH_INDEX: Rule = Rule::new(
    "search index",
    |book| {
        let site = Site::of(book)?;
        let mut problems = Vec::new();
        for page in &book.pages {
            let html = html_path(page.path());
            let mut sections = site.sections.iter().filter(|it| it.page == html);
            if sections.any(|it| it.text.contains("└── ")) {
                let message = "the search finds a tree: draw it by {{tree}}, which it passes by";
                let line = page.line_with("└── ");
                problems.push(Problem::new(&page.file, line, message));
            }
            for hidden in site.facts_of(page.path()).iter().flat_map(|it| &it.hidden) {
                let message = format!(
                    "the search finds a line that the page hides, `{hidden}`: move the block out of its list"
                );
                let line = page.line_with(&format!("# {hidden}"));
                problems.push(Problem::new(&page.file, line, message));
            }
        }
        let text = read(&book.workspace.root().join(SEARCHES))?;
        let searches: BTreeMap<String, String> = serde_json::from_str(&text)?;
        for (search, page) in searches {
            let words = search.to_lowercase();
            let mut sections = site.sections.iter().filter(|it| it.page == page);
            if !sections.any(|it| words.split(' ').all(|word| it.text.contains(word))) {
                let message = format!(
                    "no section of {page} holds all words of `{search}`: say them where it is explained"
                );
                let line = line_with(&text, &format!("\"{search}\""));
                problems.push(Problem::new(SEARCHES, line, message));
            }
        }
        Ok(problems)
    },
    &[
        Fault {
            name: "tree that is searched",
            edits: &[Edit::Append {
                file: PAGE,
                text: "\n```text\nsrc/\n└── lib.rs\n```\n",
            }],
            found: "src/clock/index.md:48: the search finds a tree",
        },
        Fault {
            name: "hidden line that is searched",
            edits: &[Edit::Append {
                file: PAGE,
                text: "\n- A list:\n\n  ```rust\n  # let a = 1;\n  let b = a;\n  ```\n",
            }],
            found: "src/clock/index.md:49: the search finds a line that the page hides, `let a = 1;`",
        },
        Fault {
            name: "search that finds nothing",
            edits: &[Edit::Replace {
                file: SEARCHES,
                old: "crate bytes",
                new: "backoff",
            }],
            found: "tests/searches.json:2: no section of clock/index.html holds all words of `backoff`",
        },
    ],
);

/// The rendered book.
struct Site {
    /// By path in the site: `hello-world/server.html`.
    pages: BTreeMap<String, Facts>,
    files: BTreeSet<PathBuf>,
    sections: Vec<Section>,
}

/// What the search looks through.
struct Section {
    page: String,
    /// In lower case.
    text: String,
}

/// What the rules ask of a page: the parsed document itself cannot be shared between threads.
struct Facts {
    ids: HashSet<String>,
    links: Vec<String>,
    loads: Vec<String>,
    rust_blocks: usize,
    hidden: Vec<String>,
    pictures: Vec<&'static str>,
}

impl Site {
    /// Renders the book, once for all rules.
    fn of(book: &Book) -> Result<Arc<Self>> {
        type Sites = HashMap<PathBuf, Arc<Mutex<Option<Arc<Site>>>>>;
        static SITES: LazyLock<Mutex<Sites>> = LazyLock::new(Mutex::default);

        let entry = {
            let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
            let root = book.workspace.root().to_owned();
            Arc::clone(sites.entry(root).or_default())
        };
        let mut site = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if site.is_none() {
            *site = Some(Arc::new(Self::render(book)?));
        }
        Ok(site.clone().expect("it was rendered above"))
    }

    fn render(book: &Book) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut mdbook = super::mdbook::prepare(book, |page| render(book, page).text)?;
        mdbook.config.build.build_dir = dir.path().to_owned();
        mdbook
            .build()
            .map_err(|error| anyhow!("the book cannot be rendered: {error:#}"))?;
        let files: BTreeSet<PathBuf> = files_below(dir.path())?.into_iter().collect();
        // The pages, but neither the first one under a second name nor all pages in one.
        let pages = book
            .pages
            .iter()
            .map(|page| html_path(page.path()))
            .filter(|html| files.contains(Path::new(html)))
            .map(|html| {
                let text = fs::read_to_string(dir.path().join(&html))?;
                Ok((html, Facts::of(&Html::parse_document(&text))))
            })
            .collect::<Result<_>>()?;
        let index = files.iter().find(|file| {
            let name = file.to_string_lossy();
            name.starts_with("searchindex") && name.ends_with(".js")
        });
        let index = index.context("the site has no search index")?;
        let sections = sections(&fs::read_to_string(dir.path().join(index))?)
            .context("mdBook's search index is not what it was")?;
        Ok(Self {
            pages,
            files,
            sections,
        })
    }

    fn facts_of(&self, page: &Path) -> Option<&Facts> {
        self.pages.get(&html_path(page))
    }
}

impl Facts {
    fn of(html: &Html) -> Self {
        let attributes = |css: &str, names: &[&str]| -> Vec<String> {
            let selector = selector(css);
            let elements = html.select(&selector);
            elements
                .filter_map(|element| names.iter().find_map(|name| element.attr(name)))
                .map(str::to_owned)
                .collect()
        };
        Self {
            ids: attributes("[id]", &["id"]).into_iter().collect(),
            links: attributes("main [href], main [src]", &["href", "src"]),
            loads: attributes(
                "script[src], link[href], img[src], iframe, object, embed, source, video, audio",
                &["src", "href"],
            ),
            rust_blocks: html
                .select(&selector(
                    r#"main code[class*="language-rust"], main code[class*="language-rs"]"#,
                ))
                .count(),
            hidden: html
                .select(&selector("main .boring"))
                .map(|line| line.text().collect::<String>().trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect(),
            pictures: html
                .select(&selector("main svg"))
                .flat_map(picture_problems)
                .collect(),
        }
    }
}

/// The sections in mdBook's search index, which is JSON in a string of JavaScript.
fn sections(script: &str) -> Option<Vec<Section>> {
    let (_, json) = script.split_once("JSON.parse('")?;
    let (json, _) = json.rsplit_once("')")?;
    let json = json.replace("\\'", "'").replace("\\\\", "\\");
    let search: serde_json::Value = serde_json::from_str(&json).ok()?;
    let docs = search["index"]["documentStore"]["docs"].as_object()?;
    docs.iter()
        .map(|(id, section)| {
            let url = search["doc_urls"][id.parse::<usize>().ok()?].as_str()?;
            let (page, _) = url.split_once('#').unwrap_or((url, ""));
            let (title, body) = (section["title"].as_str()?, section["body"].as_str()?);
            Some(Section {
                page: page.to_owned(),
                text: format!("{title} {body}").to_lowercase(),
            })
        })
        .collect()
}

/// What is wrong with a picture.
fn picture_problems(svg: ElementRef) -> Vec<&'static str> {
    // mdBook's own icons stand in an element with another class.
    let parent = svg.parent().and_then(ElementRef::wrap);
    let class = parent.and_then(|parent| parent.attr("class").map(str::to_owned));
    if class.is_some_and(|class| class != "picture") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let has_text = |css| {
        svg.select(&selector(css))
            .any(|element| element.text().count() > 0)
    };
    if !(has_text("title") && has_text("desc")) || svg.attr("role") != Some("img") {
        problems.push("a picture has no role=\"img\", <title> or <desc>");
    }
    let coloured = selector("[fill^='#'], [stroke^='#'], [style]");
    if svg.select(&coloured).next().is_some() {
        problems.push("a picture has colours of its own: use classes, and var(--fg)");
    }
    problems
}

fn selector(css: &str) -> Selector {
    Selector::parse(css).expect("the selector is a constant")
}

/// The file that mdBook makes of a page.
fn html_path(page: &Path) -> String {
    slashed(page)
        .replace("README.md", "index.md")
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

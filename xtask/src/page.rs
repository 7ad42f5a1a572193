//! A page as it is written: its code blocks, and the rules for them.

use std::{ops::Range, path::Path, sync::LazyLock};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

use crate::{
    Problem,
    versions::Versions,
    workspace::{Workspace, read},
};

/// The languages that a block may be in. A block in another language, or in
/// none, would be one that no proof looks at.
pub const LANGUAGES: [&str; 11] = [
    "console",
    "go",
    "http",
    "javascript",
    "json",
    "protobuf",
    "python",
    "rust",
    "text",
    "toml",
    "yaml",
];

/// What may follow `rust` on a fence.
const RUST_TAGS: [&str; 4] = ["no_run", "should_panic", "compile_fail", "ignore"];

/// A code block of a page.
#[derive(Clone, Debug)]
pub struct Block {
    /// The line of its opening fence, counted from one.
    pub line: usize,
    /// Where it is in the page, fences included.
    pub range: Range<usize>,
    /// Its language: the first word after the fence.
    pub language: String,
    /// The other words after the fence.
    pub tags: Vec<String>,
    /// What is between the fences.
    pub body: String,
    /// Whether it stands in a list or a quotation.
    pub nested: bool,
    /// The HTML comment in the line above, without its `<!--` and `-->`.
    pub note: Option<Note>,
}

/// An HTML comment above a block: `ignore: …` or `proof: …`.
#[derive(Clone, Debug)]
pub struct Note {
    /// What it says.
    pub text: String,
    /// Where it is in the page.
    pub range: Range<usize>,
}

impl Block {
    /// Whether the block has the tag `tag`.
    pub fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|other| other == tag)
    }

    /// What the note above says after `key:`.
    pub fn note(&self, key: &str) -> Option<&str> {
        let text = self.note.as_ref()?.text.strip_prefix(key)?.trim_start();
        Some(text.strip_prefix(':')?.trim()).filter(|text| !text.is_empty())
    }

    /// The error code that a `compile_fail` block names, as `E0382`.
    pub fn error_code(&self) -> Option<&str> {
        static CODE: LazyLock<Regex> = LazyLock::new(|| regex(r"^E\d{4}$"));
        self.tags
            .iter()
            .map(String::as_str)
            .find(|tag| CODE.is_match(tag))
    }

    /// The include that the block holds, if it holds one.
    pub fn include(&self) -> Option<Include> {
        includes(&self.body).next()
    }
}

/// An include directive of mdBook's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Where it is in the text.
    pub range: Range<usize>,
    /// `include`, `rustdoc_include` …
    pub kind: String,
    /// The file, as written: relative to the page.
    pub path: String,
    /// What follows the first colon.
    pub selector: Option<String>,
}

impl Include {
    /// The file, relative to the root of the book.
    pub fn file(&self) -> &str {
        self.path.trim_start_matches("../")
    }
}

/// The include directives in `text`, but for escaped ones.
pub fn includes(text: &str) -> impl Iterator<Item = Include> + '_ {
    static INCLUDE: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"\\?\{\{\s*#(include|rustdoc_include|playground|playpen)\s+([^}]*?)\s*\}\}")
    });
    INCLUDE.captures_iter(text).filter_map(|found| {
        let whole = found.get(0)?;
        if whole.as_str().starts_with('\\') {
            return None;
        }
        let (path, selector) = match found[2].split_once(':') {
            Some((path, selector)) => (path, Some(selector.to_owned())),
            None => (&found[2], None),
        };
        Some(Include {
            range: whole.range(),
            kind: found[1].to_owned(),
            path: path.to_owned(),
            selector,
        })
    })
}

/// The line of the byte `at`, counted from one.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

/// The fenced code blocks of a page.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut depth = 0;
    let mut current: Option<Block> = None;
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        match event {
            Event::Start(Tag::List(_) | Tag::BlockQuote(_)) => depth += 1,
            Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_)) => depth -= 1,
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let mut words = info
                    .split([',', ' '])
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned);
                current = Some(Block {
                    line: line_of(text, range.start),
                    note: note_above(text, range.start),
                    range,
                    language: words.next().unwrap_or_default(),
                    tags: words.collect(),
                    body: String::new(),
                    nested: depth > 0,
                });
            }
            Event::Text(body) => {
                if let Some(block) = &mut current {
                    block.body.push_str(&body);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(current.take()),
            _ => {}
        }
    }
    blocks
}

/// The comment in the line above the block that starts at `at`.
fn note_above(text: &str, at: usize) -> Option<Note> {
    let before = text[..at]
        .rfind('\n')
        .map_or(&text[..0], |end| &text[..end]);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let text = before[start..]
        .trim()
        .strip_prefix("<!--")?
        .strip_suffix("-->")?
        .trim();
    Some(Note {
        text: text.to_owned(),
        range: start..before.len(),
    })
}

/// What is wrong with a page, apart from its includes: a block that would
/// escape the proofs, or a version that was typed.
pub fn check(workspace: &Workspace, versions: &Versions, page: &Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |line, message: String| problems.push(Problem::new(page, line, message));
    let blocks = blocks(text);
    for (at, block) in blocks.iter().enumerate() {
        check_language(block, &mut |message| wrong(block.line, message));
        if let Some(code) = block.error_code() {
            let error = blocks.get(at + 1).map_or("", |next| next.body.as_str());
            if !error.starts_with(&format!("error[{code}]: ")) {
                let message = format!(
                    "show the error: a ```text block below, with the compiler's line `error[{code}]: …`"
                );
                wrong(block.line, message);
            }
        }
        if block.language == "console" && block.include().is_none() {
            check_commands(workspace, block, &mut |message| wrong(block.line, message));
        }
    }
    check_html(text, &mut wrong);
    check_versions(versions, text, &mut wrong);
    problems
}

fn check_language(block: &Block, wrong: &mut dyn FnMut(String)) {
    let language = block.language.as_str();
    if !LANGUAGES.contains(&language) {
        return wrong(format!(
            "no proof looks at a block in `{language}`: the languages of this book are {}",
            LANGUAGES.join(", ")
        ));
    }
    if language != "rust" {
        return;
    }
    for tag in &block.tags {
        if !RUST_TAGS.contains(&tag.as_str()) && block.error_code() != Some(tag) {
            wrong(format!(
                "`{tag}` is not a tag of a Rust block: use one of {}",
                RUST_TAGS.join(", ")
            ));
        }
    }
    if block.has("compile_fail") != block.error_code().is_some() {
        wrong(
            "write `rust,compile_fail,E0000` with the code of the error that the block gives"
                .to_owned(),
        );
    }
    if block.has("ignore") {
        if block.note("ignore").is_none() {
            wrong("`ignore` needs its reason in the line above: `<!-- ignore: why nothing runs this -->`".to_owned());
        }
        if !block
            .include()
            .is_some_and(|include| is_compiled_by_cargo(&include.path))
        {
            wrong(
                "only an include of a Rust file of a listing or of tests/ may be `ignore`: cargo compiles those"
                    .to_owned(),
            );
        }
    }
}

/// Whether the file, as a page names it, is one that cargo compiles: with its
/// listing, where `tests/proofs` checks that cargo did, or with the book's tests.
fn is_compiled_by_cargo(path: &str) -> bool {
    (path.contains("listings/") || path.contains("../tests/")) && path.ends_with(".rs")
}

/// A command that a page tells the reader to type is run by something: the
/// note above the block names the test.
fn check_commands(workspace: &Workspace, block: &Block, wrong: &mut dyn FnMut(String)) {
    let Some(proof) = block.note("proof") else {
        return wrong(
            "say what runs these commands: include a transcript, or name the file of the test in the line above, \
             `<!-- proof: tests/chapters/hello_world.rs -->`"
                .to_owned(),
        );
    };
    let Ok(test) = read(&workspace.root().join(proof)) else {
        return wrong(format!(
            "there is no file {proof}, which should prove these commands"
        ));
    };
    let (test, body) = (in_one_line(&test), in_one_line(&block.body));
    let slugs = workspace.slugs().unwrap_or_default();
    for command in body.lines().filter_map(|line| line.strip_prefix("$ ")) {
        // A version is filled in on the page, and by the test.
        let command = command.split("{{").next().unwrap_or_default().trim();
        // A test may run a command for every listing: it calls them SLUG.
        let general = slugs
            .iter()
            .any(|slug| test.contains(&command.replace(slug, "SLUG")));
        if !general && !test.contains(command) {
            wrong(format!(
                "{proof} does not run `{command}`: change the one or the other"
            ));
        }
    }
}

/// A command that goes on in the next line, after a backslash, is one line.
fn in_one_line(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// Code typed as HTML, or by indenting, would be tested by nothing.
fn check_html(text: &str, wrong: &mut dyn FnMut(usize, String)) {
    static CODE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)<(pre|code)[\s>]"));
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        match event {
            Event::Html(html) | Event::InlineHtml(html) if CODE.is_match(&html) => wrong(
                line_of(text, range.start),
                "no proof looks at code that is typed as HTML: write a fenced block".to_owned(),
            ),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => wrong(
                line_of(text, range.start),
                "no proof looks at an indented block: write a fenced one, with its language"
                    .to_owned(),
            ),
            _ => {}
        }
    }
}

/// A version stands in `Cargo.lock` and nowhere else.
fn check_versions(versions: &Versions, text: &str, wrong: &mut dyn FnMut(usize, String)) {
    static TYPED: LazyLock<Regex> = LazyLock::new(|| regex(r"\d+(?:\.\d+)+"));
    static NAMED: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"([A-Za-z][\w-]*)(?:[`"']*\s*(=|@)\s*[\{\s]*(?:version\s*=\s*)?["'^~=]*(\d[\d.]*|\*|latest)|[`*_]*\s+v?(\d+\.\d+))"#,
        )
    });
    static INSTALL: LazyLock<Regex> =
        LazyLock::new(|| regex(r"cargo (?:add|install)(?: -\S+)* [^`\n]*"));

    for (line, content) in (1..).zip(text.lines()) {
        for number in TYPED.find_iter(content) {
            if number.as_str().split('.').count() == 3 {
                wrong(
                    line,
                    format!(
                        "a version is typed here, {}: write {{{{version NAME}}}}",
                        number.as_str()
                    ),
                );
            }
        }
        for found in NAMED.captures_iter(content) {
            let name = &found[1];
            let number = found
                .get(3)
                .or(found.get(4))
                .map_or("", |number| number.as_str());
            let known = versions.knows(name) || ["Rust", "mdBook", "protoc", "buf"].contains(&name);
            if known && number.split('.').count() != 3 {
                wrong(
                    line,
                    format!(
                        "a version is typed here, `{name}` {number}: write {{{{version {name}}}}}"
                    ),
                );
            }
        }
        for command in INSTALL.find_iter(content) {
            if !command.as_str().contains("{{version ") && command.as_str().split(' ').count() > 2 {
                wrong(
                    line,
                    format!(
                        "`{}` pins no version: add {{{{version NAME}}}}",
                        command.as_str().trim()
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blocks_with_their_notes() {
        let text = "# T\n\n<!-- ignore: why -->\n```rust,ignore\n{{#include ../a.rs:x}}\n```\n\n> ~~~text\n> a\n> ~~~\n";
        let blocks = blocks(text);
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].line, blocks[0].note("ignore")), (4, Some("why")));
        let include = blocks[0].include().expect("there is one");
        assert_eq!(
            (include.path.as_str(), include.selector.as_deref()),
            ("../a.rs", Some("x"))
        );
        assert_eq!((blocks[1].line, blocks[1].nested), (8, true));
        assert_eq!(includes(r"\{{#include x.rs}}").count(), 0);
    }
}

//! The parts of a page's Markdown that the book gives a meaning to: code blocks, the comments above
//! them, includes and directives.

use std::{ops::Range, sync::LazyLock};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

/// A fenced code block.
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
    /// The comment's text.
    pub text: String,
    /// Where it is in the page.
    pub range: Range<usize>,
}

/// Code that no test would see, because it is not in a fenced block.
#[derive(Clone, Debug)]
pub struct UnfencedCode {
    /// Its line, counted from one.
    pub line: usize,
    /// Whether it is written as HTML; otherwise it is an indented block.
    pub is_html: bool,
}

impl Block {
    /// Whether the block has the tag `tag`.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|other| other == tag)
    }

    /// The text of the note above, after `key:`.
    pub fn note(&self, key: &str) -> Option<&str> {
        let text = self.note.as_ref()?.text.strip_prefix(key)?.trim_start();
        Some(text.strip_prefix(':')?.trim()).filter(|text| !text.is_empty())
    }

    /// The file that the reader types, as in `type: src/lib.rs`.
    pub fn typed_file(&self) -> Option<&str> {
        self.note("type").filter(|_| self.terminal().is_none())
    }

    /// The terminal in which the reader types the commands, as in `type: terminal 1`.
    pub fn terminal(&self) -> Option<&str> {
        self.note("type")?.strip_prefix("terminal ")
    }

    /// The error code that a `compile_fail` block names, such as `E0382`.
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

/// A directive of the book's own: `{{version tonic}}`, `{{tree hello-world src/lib.rs}}`,
/// `{{listing hello-world}}`, `{{solution hello-world 1}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Where it is in the page.
    pub range: Range<usize>,
    /// Its line, counted from one.
    pub line: usize,
    /// `version`, `tree`, `listing` or `solution`.
    pub name: String,
    /// The first word after the name: a crate, or a listing's slug.
    pub subject: String,
    /// The words after it.
    pub words: Vec<String>,
}

/// The directives in `text`.
pub fn directives(text: &str) -> impl Iterator<Item = Directive> + '_ {
    static DIRECTIVE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\{\{\s*(version|tree|listing|solution)\b([^}]*)\}\}"));
    DIRECTIVE.captures_iter(text).filter_map(|found| {
        let range = found.get(0)?.range();
        let mut words = found[2].split_whitespace().map(str::to_owned);
        Some(Directive {
            line: line_at(text, range.start),
            range,
            name: found[1].to_owned(),
            subject: words.next().unwrap_or_default(),
            words: words.collect(),
        })
    })
}

/// The line of the byte `at`, counted from one.
pub fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The first line of `text` that contains `wanted`, counted from one; 1 if none does.
pub fn line_with(text: &str, wanted: &str) -> usize {
    text.lines()
        .position(|line| line.contains(wanted))
        .map_or(1, |at| at + 1)
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

/// The code of a page: its fenced blocks, and what is written as code in any other way.
pub fn code(text: &str) -> (Vec<Block>, Vec<UnfencedCode>) {
    static HTML_CODE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)<(pre|code)[\s>]"));

    let mut blocks = Vec::new();
    let mut unfenced = Vec::new();
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
                    line: line_at(text, range.start),
                    note: note_above(text, range.start),
                    range,
                    language: words.next().unwrap_or_default(),
                    tags: words.collect(),
                    body: String::new(),
                    nested: depth > 0,
                });
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => unfenced.push(UnfencedCode {
                line: line_at(text, range.start),
                is_html: false,
            }),
            Event::Text(body) => {
                if let Some(block) = &mut current {
                    block.body.push_str(&body);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(current.take()),
            Event::Html(html) | Event::InlineHtml(html) if HTML_CODE.is_match(&html) => {
                unfenced.push(UnfencedCode {
                    line: line_at(text, range.start),
                    is_html: true,
                });
            }
            _ => {}
        }
    }
    (blocks, unfenced)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blocks_with_their_notes() {
        let text = "# T\n\n<!-- ignore: why -->\n```rust,ignore\n{{#include ../a.rs:x}}\n```\n\n> ~~~text\n> a\n> ~~~\n";
        let (blocks, unfenced) = code(text);
        assert_eq!((blocks.len(), unfenced.len()), (2, 0));
        assert_eq!((blocks[0].line, blocks[0].note("ignore")), (4, Some("why")));
        let include = blocks[0].include().expect("the block has an include");
        assert_eq!(
            (include.path.as_str(), include.selector.as_deref()),
            ("../a.rs", Some("x"))
        );
        assert_eq!((blocks[1].line, blocks[1].nested), (8, true));
        assert_eq!(includes(r"\{{#include x.rs}}").count(), 0);
    }

    #[test]
    fn reads_directives() {
        let found: Vec<_> = directives("a\n{{tree x src/lib.rs a.rs}} {{version tonic}}").collect();
        assert_eq!((found[0].line, found[0].subject.as_str()), (2, "x"));
        assert_eq!(found[0].words, ["src/lib.rs", "a.rs"]);
        assert_eq!(
            (found[1].name.as_str(), found[1].subject.as_str()),
            ("version", "tonic")
        );
    }
}

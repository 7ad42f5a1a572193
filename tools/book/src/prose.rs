//! The English of the book: what a page says outside its code, what a picture says, and what the
//! comments of a program say.

use std::{ops::Range, path::Path, sync::LazyLock};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

/// A paragraph, heading, list item, cell or comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The line that it begins in, counted from one.
    pub line: usize,
    /// Its text, line by line as it is in the file. What is not English is masked, byte by byte:
    /// code spans by backticks, and everything else, such as marks and links' targets, by spaces.
    pub text: String,
    /// Whether it is a heading.
    pub is_heading: bool,
}

/// The passages of a page.
pub fn of_markdown(text: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut current = Mask::of(text);
    let mut is_heading = false;
    let mut in_code = false;
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(_) if !in_code => current.keep(range),
            Event::Code(_) => current.code(range),
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Link { .. } | Tag::Strikethrough)
            | Event::End(
                TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link | TagEnd::Strikethrough,
            ) => {}
            Event::Start(tag) => {
                passages.extend(current.take(is_heading));
                is_heading = matches!(tag, Tag::Heading { .. });
            }
            Event::End(_) => {
                passages.extend(current.take(is_heading));
                is_heading = false;
            }
            _ => {}
        }
    }
    passages.extend(current.take(is_heading));
    passages
}

/// The passages of an SVG picture: its title, its description and its labels.
pub fn of_svg(text: &str) -> Vec<Passage> {
    static LABEL: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(?s)<(?:title|desc|text|tspan)\b[^>]*>([^<]*)"));
    let mut mask = Mask::of(text);
    LABEL
        .captures_iter(text)
        .filter_map(|label| {
            mask.keep(label.get(1)?.range());
            mask.take(false)
        })
        .collect()
}

/// The passages of a program with `//` comments. Those behind code in a line are passages too.
pub fn of_comments(text: &str) -> Vec<Passage> {
    static COMMENT: LazyLock<Regex> = LazyLock::new(|| regex(r"^(\s*|.*[;,{})]\s+)//[/!]?(?: |$)"));
    static CODE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"`[^`\n]+`|\]\([^)\n]*\)|<https?:[^>\n]*>"));

    let mut passages = Vec::new();
    let mut mask = Mask::of(text);
    let mut in_example = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let content = line.trim_end();
        let mark = content.contains("//").then(|| COMMENT.captures(content));
        let Some(mark) = mark.flatten() else {
            passages.extend(mask.take(false));
            in_example = false;
            continue;
        };
        let start = range.start + mark[0].len();
        let comment = content[mark[0].len()..].trim_start();
        let is_own_line = mark[1].trim().is_empty();
        if !is_own_line || comment.is_empty() || comment.starts_with(['#', '-', '*', '|']) {
            passages.extend(mask.take(false));
        }
        if comment.starts_with("```") {
            in_example = !in_example;
        } else if !in_example && !comment.starts_with("ANCHOR") {
            mask.keep(start..range.start + content.len());
            for code in CODE.find_iter(&text[start..range.end]) {
                mask.code(start + code.start()..start + code.end());
            }
        }
        if !is_own_line {
            passages.extend(mask.take(false));
        }
    }
    passages.extend(mask.take(false));
    passages
}

/// Whether [`of_file`] knows where such a file has its prose.
pub fn is_known(file: &Path) -> bool {
    kind(file).is_some()
}

/// The passages of a file, by its ending.
pub fn of_file(file: &Path, text: &str) -> Vec<Passage> {
    kind(file).map_or_else(Vec::new, |passages| passages(text))
}

fn kind(file: &Path) -> Option<fn(&str) -> Vec<Passage>> {
    match file.extension()?.to_str()? {
        "md" => Some(of_markdown),
        "svg" => Some(of_svg),
        "rs" | "proto" | "go" => Some(of_comments),
        _ => None,
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

/// A passage in the making: the parts of a text that belong to it.
struct Mask<'a> {
    text: &'a str,
    parts: Vec<(Range<usize>, bool)>,
    /// The start of the last passage, and its line.
    last: (usize, usize),
}

impl<'a> Mask<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            parts: Vec::new(),
            last: (0, 1),
        }
    }

    fn keep(&mut self, range: Range<usize>) {
        self.parts.push((range, false));
    }

    fn code(&mut self, range: Range<usize>) {
        self.parts.push((range, true));
    }

    /// The passage that ends here, if it says anything.
    fn take(&mut self, is_heading: bool) -> Option<Passage> {
        let parts = std::mem::take(&mut self.parts);
        let start = parts.first()?.0.start;
        let end = parts.iter().map(|(range, _)| range.end).max()?;
        let mut text = masked(&self.text[start..end], b' ');
        for (range, is_code) in parts {
            let source = &self.text[range.clone()];
            let place = &mut text[range.start - start..range.end - start];
            if is_code {
                place.copy_from_slice(&masked(source, b'`'));
            } else {
                place.copy_from_slice(source.as_bytes());
            }
        }
        let (before, line) = self.last;
        let line = line + self.text[before..start].matches('\n').count();
        self.last = (start, line);
        Some(Passage {
            line,
            text: String::from_utf8(text).ok()?,
            is_heading,
        })
    }
}

/// A text of as many bytes and lines.
fn masked(text: &str, with: u8) -> Vec<u8> {
    let bytes = text.bytes();
    bytes
        .map(|byte| if byte == b'\n' { byte } else { with })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines and texts of passages, with one space for any number.
    fn said(passages: Vec<Passage>) -> Vec<(usize, String)> {
        let words = |it: Passage| {
            let words: Vec<_> = it.text.split_whitespace().collect();
            (it.line, words.join(" "))
        };
        passages.into_iter().map(words).collect()
    }

    #[test]
    fn reads_pages() {
        let text = "# A `b`\n\nOne [two](three.md)\n*four*. <!-- five -->\n\n```text\nsix\n```\n\n- x\n- `y\n  z` w\n\n| é | k |\n| --- | --- |\n| l | m |\n";
        let expected = [
            (1, "A ```"),
            (3, "One two four ."),
            (10, "x"),
            (11, "`` ```` w"),
            (14, "é"),
            (14, "k"),
            (16, "l"),
            (16, "m"),
        ];
        let passages = of_markdown(text);
        assert!(passages[0].is_heading && !passages[1].is_heading);
        assert_eq!(
            said(passages),
            expected.map(|(line, text)| (line, text.to_owned()))
        );
    }

    #[test]
    fn reads_comments() {
        let text = "//! A\n//! `b`.\n\n/// ```\n/// c\n/// ```\n/// [d](e)\nlet f = \"// g\"; // h\n// ANCHOR: i\n";
        let expected = [(1, "A ```."), (7, "[d````"), (8, "h")];
        assert_eq!(
            said(of_comments(text)),
            expected.map(|(line, text)| (line, text.to_owned()))
        );
    }

    #[test]
    fn reads_pictures() {
        let text = "<svg>\n<title id=\"a\">B</title>\n<text x=\"1\">c</text>\n</svg>\n";
        let expected = [(2, "B".to_owned()), (3, "c".to_owned())];
        assert_eq!(said(of_svg(text)), expected);
    }
}

//! mdBook's anchors: `ANCHOR: name` and `ANCHOR_END: name` in comments.

use std::sync::LazyLock;

use regex::Regex;

/// The same patterns as mdBook's own.
static START: LazyLock<Regex> = LazyLock::new(|| regex(r"ANCHOR:\s*(?P<name>[\w_-]+)"));
static END: LazyLock<Regex> = LazyLock::new(|| regex(r"ANCHOR_END:\s*(?P<name>[\w_-]+)"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

/// A named stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The name that pages include it by.
    pub name: String,
    /// The line of its `ANCHOR` comment, counted from one.
    pub line: usize,
    /// What is wrong with it; mdBook itself would pass it in silence.
    pub fault: Option<Fault>,
}

/// What can be wrong with an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no `ANCHOR_END` after it.
    Unclosed,
    /// An `ANCHOR_END` without a start.
    Unopened,
    /// The name was used before.
    Doubled,
    /// There is nothing in it but white space.
    Empty,
}

impl Fault {
    /// The fault in words, and its cure.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Unclosed => "is never closed: add its ANCHOR_END",
            Self::Unopened => {
                "is closed but never opened: add its ANCHOR, or remove the ANCHOR_END"
            }
            Self::Doubled => "is there twice: rename one of them",
            Self::Empty => "is empty: mdBook would show an empty box",
        }
    }
}

/// The anchors of a file, in order.
pub fn anchors(text: &str) -> Vec<Anchor> {
    let mut found: Vec<Anchor> = Vec::new();
    let mut open: Vec<(usize, bool)> = Vec::new(); // its place in `found`, has it content
    for (line, content) in (1..).zip(text.lines()) {
        if let Some(name) = END.captures(content).map(|c| c["name"].to_owned()) {
            match open.iter().rposition(|&(at, _)| found[at].name == name) {
                Some(place) => {
                    let (at, full) = open.remove(place);
                    if !full {
                        found[at].fault.get_or_insert(Fault::Empty);
                    }
                }
                None => found.push(Anchor {
                    name,
                    line,
                    fault: Some(Fault::Unopened),
                }),
            }
        } else if let Some(name) = START.captures(content).map(|c| c["name"].to_owned()) {
            let doubled = found.iter().any(|anchor| anchor.name == name);
            open.push((found.len(), false));
            found.push(Anchor {
                name,
                line,
                fault: doubled.then_some(Fault::Doubled),
            });
        } else if !content.trim().is_empty() {
            open.iter_mut().for_each(|(_, full)| *full = true);
        }
    }
    for (at, _) in open {
        found[at].fault = Some(Fault::Unclosed);
    }
    found
}

/// The lines of `text`, with their numbers, that are not anchors.
fn other_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.split_inclusive('\n'))
        .filter(|(_, line)| !START.is_match(line) && !END.is_match(line))
}

/// The lines of `text` without the anchors, and whether they are within the anchor `name`.
pub fn lines_within<'a>(text: &'a str, name: &str) -> impl Iterator<Item = (bool, &'a str)> {
    let mut within = false;
    text.lines().filter_map(move |line| {
        if let Some(end) = END.captures(line) {
            within &= &end["name"] != name;
            None
        } else if let Some(start) = START.captures(line) {
            within |= &start["name"] == name;
            None
        } else {
            Some((within, line))
        }
    })
}

/// `text` without the lines of its anchors.
pub fn strip(text: &str) -> String {
    other_lines(text).map(|(_, line)| line).collect()
}

/// The line of `text` that is line `stripped` without the anchors.
pub fn line_before_strip(text: &str, stripped: usize) -> usize {
    let line = other_lines(text).nth(stripped - 1);
    // It may be missing at the end.
    line.map_or(text.lines().count() + 1, |(line, _)| line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(String, usize, Option<Fault>)> {
        anchors(text)
            .into_iter()
            .map(|a| (a.name, a.line, a.fault))
            .collect()
    }

    #[test]
    fn finds_what_mdbook_passes_in_silence() {
        let text = "\
// ANCHOR: whole
// ANCHOR: good
one
// ANCHOR_END: good
// ANCHOR: empty

// ANCHOR_END: empty
// ANCHOR: good
two
// ANCHOR_END: good
// ANCHOR_END: stray
// ANCHOR: open
";
        assert_eq!(
            faults(text),
            [
                ("whole".into(), 1, Some(Fault::Unclosed)),
                ("good".into(), 2, None),
                ("empty".into(), 5, Some(Fault::Empty)),
                ("good".into(), 8, Some(Fault::Doubled)),
                ("stray".into(), 11, Some(Fault::Unopened)),
                ("open".into(), 12, Some(Fault::Unclosed)),
            ]
        );
    }

    #[test]
    fn tells_the_lines_within_an_anchor() {
        let text = "a\n// ANCHOR: x\nb\n// ANCHOR: y\nc\n// ANCHOR_END: y\n// ANCHOR_END: x\nd";
        let lines: Vec<_> = lines_within(text, "x").collect();
        assert_eq!(
            lines,
            [(false, "a"), (true, "b"), (true, "c"), (false, "d")]
        );
    }

    #[test]
    fn strips_anchors_and_nothing_else() {
        assert_eq!(
            strip("a\n# ANCHOR: x\n  b\n  // ANCHOR_END: x\nc"),
            "a\n  b\nc"
        );
    }
}

//! The book is in plain English: what a program can tell of that.

use std::{collections::BTreeSet, path::PathBuf, sync::LazyLock};

use regex::{Match, Regex, RegexSet};

use super::{
    Fault, Rule, fault,
    fixture::{LIB, PAGE},
};
use crate::{
    Book, DOCUMENTS, Problem,
    markdown::line_at,
    prose::{self, Passage},
    workspace::{files_below, read},
};

/// The folders whose pages, pictures and comments are read.
const FOLDERS: [&str; 5] = ["src", "listings", "proto", "tests", "tools"];

/// What is not written, what is written instead, and what of it is right.
/// `^^` is the start of a sentence, and a space any white space.
const WORDS: &[(&str, &str, &str)] = &[
    // Words.
    (r"\bmend(s|ed|ing)?\b", "write fix", ""),
    (r"\banew\b", "write again, or new", ""),
    (r"\bfor ever\b", "write forever, or indefinitely", ""),
    (r"\bunder way\b", "write in progress, or in flight", ""),
    (r"\bin the place of\b", "write instead of", ""),
    (r"\bbelong(s|ed|ing)? into\b", "write belongs in", ""),
    (r"\bof (its|their) own accord\b", "write by itself", ""),
    (r"\bblanks?\b( lines?)?", "write space", "line"),
    (r"\bheads?\b(-of-line)?", "write headers", "-of-line"),
    (
        r"\bround (a|an|all|each|every|it|the|them)\b",
        "write around",
        "",
    ),
    (
        r"\b(behavior|color|favor|honor|neighbor|center|gray|fulfill|analyze)[ds]?\b|\b(cancel|label|model|signal|travel)(ed|ing)\b",
        "write it the British way",
        "",
    ),
    (
        r"\b(jack|jenny|mike)\b",
        "a name has a capital letter, or is data and in code font",
        "",
    ),
    (
        r"(\w+ ){0,4}alone\s*([.,:;)]|\z)",
        "write only, before what it is about",
        r"\b(are|be|been|is|was|were|leaves?|left|let|or|stands?|Rust)\b",
    ),
    (
        r"\b(all|best|first|last|most|ones?|way) that there (are|is)\b",
        "write the present one, or leave it out",
        "",
    ),
    (
        r"\bpauses? that grows?\b",
        "write exponential backoff with jitter",
        "",
    ),
    // Subjects.
    (
        r"(?i)\b(whoever|whomever)\b",
        "name the role: the client, the caller, an attacker, you",
        "",
    ),
    (
        r"(?i)(\b(by|for|from|of|to|with) )?\bwhom\b",
        "name the role: which server to ask",
        "(?i)^(by|for|from|of|to|with)",
    ),
    (
        r"^^(This|That|These|Those) (are|is|was|were|does|do|did|has|have|had|holds?|makes?|means?|needs?|takes?|works?|can|will|would)\b( why\b)?",
        "name what it is: this limit, that wait",
        "why",
    ),
    (
        r"^^To [a-z]+ [^,:;.!?]* (are|is|was|can|costs?|does|has|makes?|means?|must|needs?|takes?|would)\b[^,:;.!?]*[.!?;:]",
        "write Dropping it; or a comma, if it is a purpose",
        "",
    ),
    // Sentences.
    (
        r"^^Or\b",
        "join it to the sentence before, or write Otherwise",
        "",
    ),
    (
        r", and not\b",
        "write not without and, or instead of, or a sentence",
        "",
    ),
    (
        r"(?i)\b\w+ (is|are|was|were) no \w+",
        "write is not, or does not",
        r"(?i)^there|no (better|fewer|good|less|longer|matter|more|one|other|worse)$",
    ),
    (
        r"(?i)\b\w+ (is|are|was|were) none\b",
        "write is not one",
        r"(?i)^there",
    ),
];

/// Words that a page may have once.
const ONCE: &str = r"(?i)\b(nobody|somebody)\b";

/// The prose of pages, pictures and comments avoids what a reader stumbles over.
pub const RULE: Rule = Rule::new(
    "language",
    |book| {
        let mut problems = Vec::new();
        for file in files(book)? {
            let text = read(&book.workspace.root().join(&file))?;
            let passages = prose::of_file(&file, &text);
            let mut report = |line, message| problems.push(Problem::new(&file, line, message));
            for passage in &passages {
                check(passage, &mut report);
            }
            if file.extension().is_some_and(|it| it == "md") {
                check_page(&passages, &mut report);
            }
        }
        Ok(problems)
    },
    FAULTS,
);

/// The files that may have prose.
fn files(book: &Book) -> anyhow::Result<BTreeSet<PathBuf>> {
    let root = book.workspace.root();
    let mut files: BTreeSet<_> = DOCUMENTS.iter().map(PathBuf::from).collect();
    for folder in FOLDERS.map(PathBuf::from) {
        if root.join(&folder).exists() {
            let below = files_below(&root.join(&folder))?;
            files.extend(below.into_iter().map(|file| folder.join(file)));
        }
    }
    files.retain(|file| prose::is_known(file) && root.join(file).exists());
    Ok(files)
}

/// The words, compiled.
struct Patterns {
    /// All that is wrong: most passages match none of it, which one pass tells.
    any: RegexSet,
    /// Each of [`WORDS`].
    each: Vec<(Regex, &'static str, Option<Regex>)>,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let each = WORDS.iter().map(|(wrong, advice, right)| {
        let right = (!right.is_empty()).then(|| regex(right));
        (regex(wrong), *advice, right)
    });
    Patterns {
        any: RegexSet::new(WORDS.iter().map(|(wrong, ..)| spelt_out(wrong)))
            .expect("the patterns are constants"),
        each: each.collect(),
    }
});

/// What is wrong with a passage.
fn check(passage: &Passage, report: &mut impl FnMut(usize, String)) {
    static INFINITIVE: LazyLock<Regex> = LazyLock::new(|| regex(r"^^To [a-z]+"));

    for at in &PATTERNS.any.matches(&passage.text) {
        let (wrong, advice, right) = &PATTERNS.each[at];
        for found in wrong.find_iter(&passage.text) {
            if !right.as_ref().is_some_and(|it| it.is_match(found.as_str())) {
                report(line_of(passage, &found), message(&found, advice));
            }
        }
    }
    if passage.is_heading
        && let Some(found) = INFINITIVE.find(&passage.text)
    {
        let advice = "a heading is a noun or a gerund: Reading metadata";
        report(passage.line, message(&found, advice));
    }
}

/// What is wrong with a page as a whole.
fn check_page(passages: &[Passage], report: &mut impl FnMut(usize, String)) {
    static ONLY_ONCE: LazyLock<Regex> = LazyLock::new(|| regex(ONCE));

    let found = passages.iter().flat_map(|passage| {
        let found = ONLY_ONCE.find_iter(&passage.text);
        found.map(move |word| (line_of(passage, &word), word))
    });
    for (line, word) in found.skip(1) {
        report(
            line,
            message(&word, "once on a page is enough: name the role"),
        );
    }
}

/// The end of the sentence before, which a pattern with `^^` finds too.
const BEFORE: [char; 7] = ['.', '!', '?', '"', ')', ' ', '\n'];

/// The line of what was found in a passage.
fn line_of(passage: &Passage, found: &Match) -> usize {
    let start = found.end() - found.as_str().trim_start_matches(BEFORE).len();
    passage.line + line_at(&passage.text, start) - 1
}

fn message(found: &Match, advice: &str) -> String {
    let found = found.as_str().trim_start_matches(BEFORE);
    let words: Vec<_> = found.split_whitespace().collect();
    format!("`{}`: {advice}", words.join(" "))
}

fn regex(pattern: &str) -> Regex {
    Regex::new(&spelt_out(pattern)).expect("the pattern is a constant")
}

/// A pattern of [`WORDS`] as the crate `regex` knows it.
fn spelt_out(pattern: &str) -> String {
    pattern
        .replace("^^", r#"(?:\A\s*|[.!?]["')]?\s+)"#)
        .replace(' ', r"\s+")
}

const FAULTS: &[Fault] = &[
    fault!(
        "mended",
        append(PAGE, "\nIt was mended.\n"),
        "src/clock/index.md:46: `mended`: write fix"
    ),
    fault!(
        "anew",
        append(PAGE, "\nIt starts anew.\n"),
        "src/clock/index.md:46: `anew`: write again"
    ),
    fault!(
        "for ever",
        append(PAGE, "\nIt waits for\never.\n"),
        "src/clock/index.md:46: `for ever`: write forever"
    ),
    fault!(
        "under way",
        append(PAGE, "\nIt is under way.\n"),
        "src/clock/index.md:46: `under way`: write in"
    ),
    fault!(
        "in the place of",
        append(PAGE, "\nNoon in the place of midnight.\n"),
        "src/clock/index.md:46: `in the place of`: write instead"
    ),
    fault!(
        "belongs into",
        append(PAGE, "\nIt belongs into a log.\n"),
        "src/clock/index.md:46: `belongs into`: write belongs"
    ),
    fault!(
        "of its own accord",
        append(PAGE, "\nIt ends of its own accord.\n"),
        "src/clock/index.md:46: `of its own accord`: write by"
    ),
    fault!(
        "blank",
        append(PAGE, "\nIt prints a blank.\n"),
        "src/clock/index.md:46: `blank`: write space"
    ),
    fault!(
        "head",
        append(PAGE, "\nIt reads the head of the response.\n"),
        "src/clock/index.md:46: `head`: write headers"
    ),
    fault!(
        "round",
        append(PAGE, "\nA lock round the map.\n"),
        "src/clock/index.md:46: `round the`: write around"
    ),
    fault!(
        "American spelling",
        append(PAGE, "\nIts behavior is known.\n"),
        "src/clock/index.md:46: `behavior`: write it the British way"
    ),
    fault!(
        "name in lower case",
        append(PAGE, "\nHere mike waits.\n"),
        "src/clock/index.md:46: `mike`: a name has"
    ),
    fault!(
        "whoever",
        append(PAGE, "\nAsk *whoever* knows.\n"),
        "src/clock/index.md:46: `whoever`: name the role"
    ),
    fault!(
        "bare pronoun",
        append(PAGE, "\nIt ticks. That is all.\n"),
        "src/clock/index.md:46: `That is`: name what it is"
    ),
    fault!(
        "infinitive as subject",
        append(PAGE, "\nTo stop it takes a second.\n"),
        "src/clock/index.md:46: `To stop it takes a second.`: write Dropping"
    ),
    fault!(
        "Or",
        append(PAGE, "\nWind it up. Or it stops.\n"),
        "src/clock/index.md:46: `Or`: join it"
    ),
    fault!(
        "and not",
        append(PAGE, "\nIt ticks, and not too fast.\n"),
        "src/clock/index.md:46: `, and not`: write not"
    ),
    fault!(
        "is no",
        append(PAGE, "\nA sundial is no clock.\n"),
        "src/clock/index.md:46: `sundial is no clock`: write is not"
    ),
    fault!(
        "is none",
        append(PAGE, "\nA sundial is none.\n"),
        "src/clock/index.md:46: `sundial is none`: write is not one"
    ),
    fault!(
        "alone",
        append(PAGE, "\nIt speaks TCP alone.\n"),
        "src/clock/index.md:46: `It speaks TCP alone.`: write only"
    ),
    fault!(
        "that there is",
        append(PAGE, "\nTake the one that there is.\n"),
        "src/clock/index.md:46: `one that there is`: write the present one"
    ),
    fault!(
        "pause that grows",
        append(PAGE, "\nIt tries again after a pause that grows.\n"),
        "src/clock/index.md:46: `pause that grows`: write exponential backoff"
    ),
    fault!(
        "whom",
        append(PAGE, "\nWhom to ask is clear.\n"),
        "src/clock/index.md:46: `Whom`: name the role"
    ),
    fault!(
        "infinitive as heading",
        append(PAGE, "\n## To wind it up\n"),
        "src/clock/index.md:46: `To wind`: a heading is"
    ),
    fault!(
        "somebody twice",
        append(PAGE, "\nSomebody winds it up.\n\n- Nobody looks.\n"),
        "src/clock/index.md:48: `Nobody`: once on a page"
    ),
    fault!(
        "word in a table",
        append(
            PAGE,
            "\n| when | why |\n| --- | --- |\n| [anew](a.md) | |\n"
        ),
        "src/clock/index.md:48: `anew`"
    ),
    fault!(
        "word in a picture",
        replace("src/clock/picture.svg", "A circle.", "Drawn anew."),
        "src/clock/picture.svg:3: `anew`"
    ),
    fault!(
        "word in a comment",
        append(LIB, "\n/// Counts, and begins\n/// anew.\nfn count() {}\n"),
        "listings/clock/src/lib.rs:20: `anew`"
    ),
    fault!(
        "word in a proto",
        append(
            "proto/clock/v1/clock.proto",
            "\n// Made anew.\nmessage Empty {}\n"
        ),
        "proto/clock/v1/clock.proto:"
    ),
    fault!(
        "word in a document",
        append("README.md", "\nMade anew.\n"),
        "README.md:"
    ),
];

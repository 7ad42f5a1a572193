//! Expands the pages as mdBook would, and lets skeptic turn every Rust block
//! of them into a test.

#[path = "snippets/book.rs"]
mod book;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use book::Error;
use mdbook_driver::{
    book::{Book, Chapter},
    builtin_renderers::MarkdownRenderer,
};
use xtask::{
    page::{Block, blocks},
    workspace::{Workspace, files_below, slashed},
};

fn main() -> Result<(), Error> {
    let workspace = Workspace::at(Path::new("..").canonicalize()?);
    let out = PathBuf::from(env::var("OUT_DIR")?);

    // Folders and not files: a new page must be seen too.
    for watched in ["src", "listings", "proto", "book.toml", "Cargo.lock"] {
        println!(
            "cargo:rerun-if-changed={}",
            workspace.root().join(watched).display()
        );
    }
    generate_contracts(&workspace)?;

    // What is refused is for tests/proofs/pages.rs to say.
    let (written, prepared, _) = book::load(&workspace)?;
    let (expanded, _) = prepared.preprocess_book(&MarkdownRenderer::new())?;
    let dir = out.join("pages");
    fs::create_dir_all(&dir)?;
    let (mut pages, mut manifest) = (Vec::new(), String::new());
    for (written, expanded) in chapters(&written).zip(chapters(&expanded)) {
        let Some(path) = &written.source_path else {
            continue;
        };
        let (text, tested, ignored) = snippets(path, &written.content, &expanded.content);
        manifest.push_str(&format!("{}\t{tested}\t{ignored}\n", slashed(path)));
        let page = dir.join(format!(
            "page_{}.md",
            slashed(path)
                .trim_end_matches(".md")
                .replace(['/', '-', '.'], "_")
        ));
        write_with_old_date(&page, &text)?;
        pages.push(page);
    }
    fs::write(out.join("pages.tsv"), manifest)?;
    skeptic::generate_doc_tests(&pages);

    // The tests call tests/snippets/main.rs, which calls skeptic.
    let tests = out.join("skeptic-tests.rs");
    fs::write(
        &tests,
        fs::read_to_string(&tests)?.replace("extern crate skeptic;\n", ""),
    )?;
    Ok(())
}

fn chapters(book: &Book) -> impl Iterator<Item = &Chapter> {
    book.chapters()
        .filter(|chapter| chapter.source_path.is_some())
}

/// So that a snippet can show the line that includes a contract.
fn generate_contracts(workspace: &Workspace) -> Result<(), Error> {
    let proto = workspace.proto();
    let files: Vec<PathBuf> = files_below(&proto)?
        .into_iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "proto")
        })
        .collect();
    tonic_prost_build::compile_fds(protox::compile(files, [proto])?)?;
    Ok(())
}

/// The page's Rust blocks alone, as skeptic wants them; how many are tested,
/// and how many are not because cargo compiles their files.
fn snippets(path: &Path, written: &str, expanded: &str) -> (String, usize, usize) {
    let is_tested = |block: &Block| block.language == "rust" && !block.has("ignore");
    // Expanding adds lines, but no block that is tested: the two lists go side by side.
    let written = blocks(written);
    let sources: Vec<(usize, &Block)> = written
        .iter()
        .enumerate()
        .filter(|(_, block)| is_tested(block))
        .collect();
    let (mut text, mut tested, mut ignored) = (String::new(), 0, 0);
    for block in blocks(expanded) {
        if block.language != "rust" {
            continue;
        }
        if !is_tested(&block) {
            ignored += 1;
            continue;
        }
        let Some(&(at, source)) = sources.get(tested) else {
            break; // tests/proofs/site.rs counts the blocks, and names the page
        };
        let error = source.error_code().and_then(|_| written.get(at + 1));
        let error = error.map_or("", |error| error.body.as_str());
        text.push_str(&snippet(path, source, error, &block.body));
        tested += 1;
    }
    (text, tested, ignored)
}

/// A block for skeptic. Its first lines say where it is written and what is
/// expected of it: tests/snippets/main.rs and rustc.rs read them.
fn snippet(path: &Path, source: &Block, error: &str, body: &str) -> String {
    let line = source.line;
    let mut head = format!("//@ src/{}:{line}", slashed(path));
    if let Some(code) = source.error_code() {
        head.push_str(&format!(" compile_fail {code}"));
    } else if source.has("should_panic") {
        head.push_str(" should_panic");
    }
    for line in error.lines() {
        head.push_str(&format!("\n//@ {line}"));
    }
    let body = if body.contains("fn main") {
        body.to_owned()
    } else if source.include().is_some() {
        // A file of a library.
        format!("{body}\nfn main() {{}}\n")
    } else if body.contains("Ok::<(), ") {
        // Statements with `?`: the last line, hidden, gives the error's type.
        format!(
            "fn main() {{\nfn run() -> Result<(), impl std::fmt::Debug> {{\n{body}}}\nrun().unwrap()\n}}\n"
        )
    } else {
        format!("fn main() {{\n{body}}}\n")
    };
    let compiled = source.has("no_run") || source.error_code().is_some();
    let no_run = if compiled { ",no_run" } else { "" };
    format!("# line {line}\n\n````````rust{no_run}\n{head}\n{body}````````\n\n")
}

/// Writes only what changed, with a date long ago: skeptic has cargo watch
/// these files, and a date after this script's start would run it every time.
fn write_with_old_date(path: &Path, text: &str) -> std::io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text)?;
    fs::File::options()
        .write(true)
        .open(path)?
        .set_modified(SystemTime::UNIX_EPOCH)
}

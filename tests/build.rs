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
    let sources: Vec<Block> = blocks(written).into_iter().filter(is_tested).collect();
    let (mut text, mut tested, mut ignored) = (String::new(), 0, 0);
    for block in blocks(expanded) {
        if block.language != "rust" {
            continue;
        }
        if !is_tested(&block) {
            ignored += 1;
            continue;
        }
        let source = sources.get(tested);
        let line = source.map_or(0, |source| source.line);
        let includes = source.is_some_and(|source| source.include().is_some());
        text.push_str(&snippet(path, line, includes, &block));
        tested += 1;
    }
    (text, tested, ignored)
}

fn snippet(path: &Path, line: usize, includes: bool, block: &Block) -> String {
    // Read by tests/snippets/main.rs and tests/snippets/rustc.rs.
    let expected = match block.error_code() {
        Some(code) => format!(" compile_fail {code}"),
        None if block.has("should_panic") => " should_panic".to_owned(),
        None => String::new(),
    };
    let body = &block.body;
    let body = if body.contains("fn main") {
        body.clone()
    } else if includes {
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
    let no_run = if block.has("no_run") || block.error_code().is_some() {
        ",no_run"
    } else {
        ""
    };
    format!(
        "# line {line}\n\n````````rust{no_run}\n//@ src/{}:{line}{expected}\n{body}````````\n\n",
        slashed(path)
    )
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

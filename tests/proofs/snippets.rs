//! One test for each Rust block of the pages, expanded as mdBook expands it and run by skeptic.

use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Once},
};

use anyhow::{anyhow, ensure};
use book::{
    Book,
    markdown::{self, Block},
    page::Page,
    rules::fences::is_tested,
    workspace::files_below,
};
use harness::{Result, test::NamedTest, workspace};
use mdbook_driver::builtin_renderers::MarkdownRenderer;

/// The tests of all pages.
pub fn tests(book: &Book) -> Result<Vec<NamedTest>> {
    // As written: our preprocessor makes HTML of blocks that hide lines.
    let (expanded, _) = super::mdbook::prepare(book, |page| page.text.clone())?
        .preprocess_book(&MarkdownRenderer::new())
        .map_err(|error| anyhow!("mdBook cannot expand the pages: {error:#}"))?;
    let mut tests = Vec::new();
    for chapter in expanded.chapters() {
        let page = chapter
            .source_path
            .as_ref()
            .and_then(|path| book.pages.iter().find(|page| page.path() == path));
        if let Some(page) = page {
            tests.extend(tests_of_page(page, &chapter.content)?);
        }
    }
    Ok(tests)
}

fn tests_of_page(page: &Page, expanded: &str) -> Result<Vec<NamedTest>> {
    let written = page.blocks.iter().enumerate().filter(|it| is_tested(it.1));
    let (expanded, _) = markdown::code(expanded);
    let expanded: Vec<_> = expanded.iter().filter(|block| is_tested(block)).collect();
    ensure!(
        written.clone().count() == expanded.len(),
        "{}: expanding adds or removes Rust blocks",
        page.file.display()
    );
    Ok(written
        .zip(expanded)
        .map(|((at, block), expanded)| {
            let error = block.error_code().and_then(|_| page.blocks.get(at + 1));
            let error = error.map_or("", |error| error.body.as_str());
            let place = format!("{}:{}", page.file.display(), block.line);
            let text = snippet(&place, block, error, &expanded.body);
            let file = page.path().strip_prefix(page.chapter());
            let file = file.unwrap_or(page.path()).display();
            let name = format!("{}::snippets::{file}:{}", page.chapter(), block.line);
            let block = block.clone();
            NamedTest::new(name, move || check(&place, &block, &text))
        })
        .collect())
}

/// A block for skeptic. Its first lines say where it is written and which error is expected:
/// `snippet_rustc.rs` reads them.
fn snippet(place: &str, block: &Block, error: &str, body: &str) -> String {
    let mut head = format!("//@ {place}");
    if let Some(code) = block.error_code() {
        head.push_str(&format!(" compile_fail {code}"));
    }
    for line in error.lines() {
        head.push_str(&format!("\n//@ {line}"));
    }
    let body = if block.typed_file().is_some() && body.contains("use greeter::") {
        // A program that the reader types uses a library that they typed before. It has the
        // contract of Hello World.
        format!("extern crate hello_world as greeter;\n{body}")
    } else if body.contains("fn main") {
        body.to_owned()
    } else if block.include().is_some() {
        // A file of a library.
        format!("{}\nfn main() {{}}\n", with_module_paths(block, body))
    } else if body.contains("Ok::<(), ") {
        // Statements with `?`: the last line, hidden, gives the error's type.
        format!(
            "fn main() {{\nfn run() -> Result<(), impl std::fmt::Debug> {{\n{body}}}\nrun().unwrap()\n}}\n"
        )
    } else {
        format!("fn main() {{\n{body}}}\n")
    };
    // As rustdoc does it: a line `# code` is code that the page hides.
    let body: String = body
        .lines()
        .map(|line| {
            let code = line.trim_start();
            let code = code.strip_prefix("# ").or((code == "#").then_some(""));
            format!("{}\n", code.unwrap_or(line))
        })
        .collect();
    format!("{head}\n{body}")
}

/// The file that `block` includes, with the places of its modules: a snippet is compiled in a folder
/// of its own.
fn with_module_paths(block: &Block, body: &str) -> String {
    let Some(include) = block.include() else {
        return body.to_owned();
    };
    let file = workspace().root().join(include.file());
    let folder = file.parent().unwrap_or(&file);
    let lines = body.lines().map(|line| {
        let declared = line.trim_start_matches("# ").strip_prefix("pub mod ");
        let module = declared.and_then(|it| it.strip_suffix(';'));
        let path = module.map(|module| folder.join(format!("{module}.rs")));
        match path.filter(|path| path.exists()) {
            Some(path) => line.replacen("pub mod", &format!("#[path = {path:?}] pub mod"), 1),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn check(place: &str, block: &Block, text: &str) -> Result {
    prepare();
    let fails = |test: Test| panic::catch_unwind(AssertUnwindSafe(|| test(text))).is_err();
    let is_only_compiled = block.has_tag("no_run") || block.error_code().is_some();
    let problem = if block.has_tag("should_panic") {
        // skeptic alone would take an error of the compiler for the panic.
        if fails(compile) {
            Some("does not compile")
        } else if !fails(run) {
            Some("should panic and does not")
        } else {
            None
        }
    } else {
        fails(if is_only_compiled { compile } else { run }).then_some("fails")
    };
    ensure!(
        problem.is_none(),
        "\n{place}: this Rust block {}; the compiler's or the program's output is above.\n\
         Fix the block, or the listing that it includes. (If the errors are E0463 or E0460, the \
         target folder has mixed builds: run `cargo clean`.)\n",
        problem.unwrap_or_default()
    );
    Ok(())
}

type Test = fn(&str);

fn compile(text: &str) {
    skeptic::rt::compile_test(env!("CARGO_MANIFEST_DIR"), &PROFILE_DIR, &TARGET, text);
}

fn run(text: &str) {
    skeptic::rt::run_test(env!("CARGO_MANIFEST_DIR"), &PROFILE_DIR, &TARGET, text);
}

/// skeptic finds the compiled crates from a build script's `OUT_DIR`.
static PROFILE_DIR: LazyLock<String> = LazyLock::new(|| {
    let exe = env::current_exe().expect("a test knows its executable");
    let profile = exe.ancestors().nth(2).expect("it is in target/debug/deps");
    profile.join("build/proofs/out").display().to_string()
});

/// The triple that this test was compiled for.
static TARGET: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new("rustc").arg("-vV").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
});

fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let out = generate_protos().expect("the protos compile");
        // SAFETY: std's lock orders this with every reader in Rust, and no code that reads the
        // environment without it runs in these tests.
        unsafe {
            // `stage::process::command` keeps both from the commands that other tests start.
            env::set_var("RUSTC", env!("CARGO_BIN_EXE_snippet-rustc"));
            env::set_var("OUT_DIR", out);
        }

        // skeptic panics with the compiler's whole command, pages of it: what `check` reports is
        // what helps.
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let message = panic.payload().downcast_ref::<String>();
            if !message.is_some_and(|message| message.starts_with("Command failed:")) {
                print(panic);
            }
        }));
    });
}

/// Generates the code of all protos, as a build script would, so that a snippet can show the line
/// that includes it.
fn generate_protos() -> Result<PathBuf> {
    let proto = workspace().proto();
    let files: Vec<PathBuf> = files_below(&proto)?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|it| it == "proto"))
        .collect();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("snippet-protos");
    fs::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .compile_fds(protox::compile(files, [proto])?)?;
    Ok(out)
}

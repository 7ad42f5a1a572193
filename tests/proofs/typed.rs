//! A chapter that is typed from an empty folder: each file and each command of its pages, in their
//! order, in two terminals.
//!
//! A note above a block says what is typed: `<!-- type: src/lib.rs -->` the file, and
//! `<!-- type: terminal 1 -->` the commands. In terminal 1 a program goes on until Ctrl-C, `^C`, or
//! until the next command is typed there; `^Z` freezes it. In terminal 2 each program runs to its end.
//! Cargo's own lines are left out, as everywhere in the book.

use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use book::{Book, page::Page, workspace::read};
use harness::{Result, table, test::NamedTest, workspace};
use stage::{
    process::{self, Process},
    session,
};

/// The tests of the chapters that have such notes.
pub fn tests(book: &Arc<Book>) -> Vec<NamedTest> {
    let typed = book.pages.iter().filter(|page| is_typed(page));
    let chapters: BTreeSet<&str> = typed.map(Page::chapter).collect();
    let test = |chapter: &str| {
        let (book, chapter) = (Arc::clone(book), chapter.to_owned());
        let name = format!("{chapter}::typed-from-an-empty-folder");
        NamedTest::new(name, move || follow(&book, &chapter))
            .needs("the port 50051")
            .exclusive()
    };
    chapters.into_iter().map(test).collect()
}

/// Whether the page has something to type.
fn is_typed(page: &Page) -> bool {
    page.blocks.iter().any(|block| block.note("type").is_some())
}

/// Types all that the pages say. `SNAPSHOTS=overwrite` writes what is printed into the pages.
fn follow(book: &Book, chapter: &str) -> Result {
    let mut reader = Reader::new()?;
    for page in book.pages.iter().filter(|page| page.chapter() == chapter) {
        let file = &page.file;
        let mut printed: Vec<(Range<usize>, String)> = Vec::new();
        for block in &page.blocks {
            let place = || format!("{}:{}", file.display(), block.line);
            if let Some(file) = block.typed_file() {
                let body = book.versions.fill_in(&block.body)?;
                reader.write(file, &body).with_context(place)?;
            }
            if let Some(terminal) = block.terminal() {
                let text = reader.run(terminal, &block.body).with_context(place)?;
                if text != block.body {
                    printed.push((block.range.clone(), text));
                }
            }
        }
        if printed.is_empty() {
            continue;
        }
        ensure!(
            table::is_overwriting(),
            "{}: a run printed other lines: {printed:#?}\n\
             If that is right, run the test again with SNAPSHOTS=overwrite.",
            file.display()
        );
        let path = workspace().root().join(file);
        let mut text = read(&path)?;
        for (range, body) in printed.into_iter().rev() {
            text.replace_range(range, &format!("```console\n{body}```"));
        }
        fs::write(path, text)?;
    }
    Ok(())
}

/// A reader who types, in a folder that is removed at the end.
struct Reader {
    _folder: tempfile::TempDir,
    /// The package, once there is one.
    package: PathBuf,
    /// The program that runs in terminal 1.
    running: Option<Process>,
}

impl Reader {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            package: folder.path().to_owned(),
            _folder: folder,
            running: None,
        })
    }

    fn write(&self, file: &str, body: &str) -> Result {
        let path = self.package.join(file);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(path, body)?;
        Ok(())
    }

    /// Types the commands of a block, and returns the block as it should be.
    fn run(&mut self, terminal: &str, body: &str) -> Result<String> {
        let mut shown = String::new();
        let mut lines = body.lines().peekable();
        while let Some(line) = lines.next() {
            shown.push_str(&format!("{line}\n"));
            let Some(command) = line.strip_prefix("$ ") else {
                let mut program = self.running.take().context("no program runs")?;
                match line {
                    "^Z" => {
                        program.freeze()?;
                        self.running = Some(program);
                    }
                    "^C" => {
                        let before = program.output().len();
                        program.interrupt()?;
                        let output = program.wait()?;
                        ensure!(output.code == 0, "it ended with {}", output.code);
                        shown.push_str(&output.text[before..]);
                        while lines.next_if(|line| !line.starts_with("$ ")).is_some() {}
                    }
                    _ => bail!("`{line}` is no command, and no key"),
                }
                continue;
            };
            let expected: Vec<&str> = std::iter::from_fn(|| {
                lines.next_if(|line| !line.starts_with("$ ") && !line.starts_with('^'))
            })
            .collect();
            let printed = match terminal {
                "1" => self.start(command, &expected)?,
                "2" => self.run_to_its_end(command)?,
                _ => bail!("there is no terminal {terminal}"),
            };
            shown.push_str(&printed);
        }
        Ok(shown)
    }

    /// Starts a program in terminal 1, and waits for the lines that the page shows.
    fn start(&mut self, command: &str, expected: &[&str]) -> Result<String> {
        if let Some(mut before) = self.running.take() {
            before.kill()?;
            before.wait()?;
        }
        let addresses = expected
            .iter()
            .filter_map(|line| line.strip_prefix("listening on "));
        for address in addresses {
            session::wait_until_free(address)?;
        }
        let mut program = Process::start(self.command(command)?)?;
        for line in expected {
            program.wait_for_text(line)?;
        }
        let printed = program.output();
        self.running = Some(program);
        Ok(printed)
    }

    fn run_to_its_end(&mut self, command: &str) -> Result<String> {
        if let Some(name) = command.strip_prefix("cd ") {
            self.package = self.package.join(name);
            return Ok(String::new());
        }
        let output = Process::start(self.command(command)?)?.wait()?;
        if command.starts_with("cargo new ") {
            ensure!(output.code == 0, "{}", output.text);
            // The versions that this book was tested with.
            let (_, name) = command
                .rsplit_once(' ')
                .context("a package without a name")?;
            let lock = self.package.join(name).join("Cargo.lock");
            fs::copy(workspace().root().join("Cargo.lock"), lock)?;
            return Ok(String::new());
        }
        Ok(output.text)
    }

    /// The command as it is typed; but of `cargo run` the program itself, so that signals reach it.
    fn command(&self, command: &str) -> Result<std::process::Command> {
        let target = workspace().root().join("target/typed");
        let words: Vec<&str> = command.split(' ').collect();
        let mut program = match words[..] {
            ["cargo", "run", "--bin", name, ref arguments @ ..] => {
                let mut build = process::command("cargo");
                build.args(["build", "--quiet", "--bin", name]);
                self.here(&mut build, &target);
                let built = Process::start(build)?.wait()?;
                ensure!(built.code == 0, "cargo build: {}", built.text);
                let mut program = process::command(target.join("debug").join(name));
                let arguments = arguments.iter().filter(|word| **word != "--");
                program.args(arguments.map(|word| word.trim_matches('\'')));
                program
            }
            [name, ref arguments @ ..] => {
                let mut program = process::command(name);
                program.args(arguments);
                program
            }
            [] => bail!("an empty command"),
        };
        self.here(&mut program, &target);
        Ok(program)
    }

    /// Runs a command in the package, and cargo without asking a registry.
    fn here(&self, command: &mut std::process::Command, target: &Path) {
        command
            .current_dir(&self.package)
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TERM_QUIET", "true");
    }
}

//! A small book to plant faults in, below `fixture/`: each rule must find its faults there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, ensure};
use book::{
    Book,
    rules::{Edit, Fault, Rule},
    versions::Versions,
    workspace::{Workspace, files_below, read, write},
};
use harness::{Result, workspace};
use tempfile::TempDir;

/// A copy of the fixture book, with what is built in it.
pub struct Fixture {
    /// The book. Its target folder is its own.
    pub workspace: Workspace,
    _dir: Option<TempDir>,
}

impl Fixture {
    /// Copies the fixture to a temporary folder.
    pub fn new() -> Result<Self> {
        let dir = TempDir::new()?;
        let fixture = Self {
            workspace: Workspace::at(dir.path()).with_target(dir.path().join("target")),
            _dir: Some(dir),
        };
        fixture.reset()?;
        Ok(fixture)
    }

    /// The copy in which the faults are planted that only a build finds: one after another in one
    /// folder, so that cargo compiles what a fault has changed, and no more.
    pub fn to_build() -> Result<(Self, MutexGuard<'static, ()>)> {
        static IN_USE: Mutex<()> = Mutex::new(());
        let guard = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixture");
        let fixture = Self {
            workspace: Workspace::at(&dir).with_target(dir.join("target")),
            _dir: None,
        };
        fixture.reset()?;
        Ok((fixture, guard))
    }

    /// Makes the copy equal to the fixture. It has the `Cargo.lock` of the real book, so that its
    /// one dependency is there without a network.
    fn reset(&self) -> Result {
        let from = workspace().root().join("tests/proofs/fixture");
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for file in files_below(&from)? {
            let text = fill_in(&read(&from.join(&file))?)?;
            files.insert(file, text);
        }
        let lock = read(&workspace().root().join("Cargo.lock"))?;
        files.insert("Cargo.lock".into(), lock);
        fs::create_dir_all(self.workspace.root())?;
        for file in files_below(self.workspace.root())? {
            if !file.starts_with("target") && !files.contains_key(&file) {
                fs::remove_file(self.workspace.root().join(file))?;
            }
        }
        for (file, text) in files {
            let path = self.workspace.root().join(file);
            if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                write(&path, text)?;
            }
        }
        stage::build::forget(&self.workspace);
        Ok(())
    }

    /// A file of the copy.
    pub fn path(&self, file: &str) -> PathBuf {
        self.workspace.root().join(file)
    }

    /// Plants a fault.
    pub fn plant(&self, edits: &[Edit]) -> Result {
        for edit in edits {
            match edit {
                Edit::Replace { file, old, new } => {
                    let text = read(&self.path(file))?;
                    ensure!(text.contains(old), "{file} has no `{old}` to replace");
                    write(&self.path(file), text.replacen(old, &fill_in(new)?, 1))?;
                }
                Edit::Append { file, text } => {
                    let before = fs::read_to_string(self.path(file)).unwrap_or_default();
                    write(&self.path(file), before + &fill_in(text)?)?;
                }
            }
        }
        Ok(())
    }
}

/// The version of the fixture's one dependency stands in `Cargo.lock` only.
fn fill_in(text: &str) -> Result<String> {
    static BYTES: LazyLock<Option<String>> = LazyLock::new(|| {
        let versions = Versions::read(&workspace()).ok()?;
        Some(versions.of("bytes").ok()?.to_owned())
    });
    let bytes = BYTES.as_ref().context("Cargo.lock has no crate `bytes`")?;
    Ok(text.replace("BYTES", bytes))
}

/// Whether the rule accepts the fixture as it is.
pub fn is_accepted(rule: &Rule) -> Result {
    let fixture = Fixture::new()?;
    let book = Book::load(fixture.workspace.clone())?;
    super::report_problems((rule.check)(&book)?)
}

/// Plants the fault, and checks that the rule finds it.
pub fn is_found(rule: &Rule, fault: &Fault) -> Result {
    let fixture = Fixture::new()?;
    fixture.plant(fault.edits)?;
    let problems = match Book::load(fixture.workspace.clone()) {
        Ok(book) => (rule.check)(&book)?,
        Err(error) => return Err(error).context("the book cannot be loaded with this fault"),
    };
    let report: String = problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    ensure!(
        report.contains(fault.found),
        "the rule `{}` should report\n{}\nand reports\n{report}",
        rule.name,
        fault.found
    );
    Ok(())
}

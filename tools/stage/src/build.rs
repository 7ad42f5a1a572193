//! Builds a listing once: exported, resolved by its own manifest, outside the workspace. Its tests,
//! sessions and benchmarks and the chapters' tests use these executables.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use anyhow::{Context, Result, anyhow, ensure};
use book::workspace::{Workspace, normalize_path, read};
use cargo_metadata::{Artifact, Message, PackageId, TargetKind};

use crate::{export::export_to_target, process};

/// A listing, exported and built below `target/`.
#[derive(Clone, Debug)]
pub struct BuiltListing {
    /// The project's folder.
    pub dir: PathBuf,
    /// Its programs, by name.
    pub bins: BTreeMap<String, PathBuf>,
    /// Its examples, by name.
    pub examples: BTreeMap<String, PathBuf>,
    /// Its unit tests and integration tests: as one names them to cargo, and the executable.
    pub tests: BTreeMap<String, PathBuf>,
    /// The folder of the files that its build script generated.
    pub out_dir: Option<PathBuf>,
    /// The Rust files that cargo compiled, relative to `dir`.
    pub compiled: BTreeSet<PathBuf>,
    build_dir: PathBuf,
    target_dir: PathBuf,
}

/// The results of builds, by root of the workspace and slug. An entry is locked while the listing
/// is built.
type Builds = HashMap<(PathBuf, String), Arc<Mutex<Option<Result<Arc<BuiltListing>, String>>>>>;

static BUILDS: LazyLock<Mutex<Builds>> = LazyLock::new(Mutex::default);

/// Exports the listing `slug` below `target/`, and builds its programs, tests and examples there;
/// once in the life of this process.
///
/// # Errors
///
/// Fails with the compiler's messages if it does not build.
pub fn build(workspace: &Workspace, slug: &str) -> Result<Arc<BuiltListing>> {
    let entry = {
        let mut builds = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (workspace.root().to_owned(), slug.to_owned());
        Arc::clone(builds.entry(key).or_default())
    };
    let mut built = entry.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_with(|| {
        build_now(workspace, slug)
            .map(Arc::new)
            .map_err(|error| format!("{error:#}"))
    });
    built.clone().map_err(|message| anyhow!(message))
}

/// Lets the listings of this workspace be built again: its files have changed.
pub fn forget(workspace: &Workspace) {
    let mut builds = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    builds.retain(|(root, _), _| root != workspace.root());
}

fn build_now(workspace: &Workspace, slug: &str) -> Result<BuiltListing> {
    workspace.check_slug(slug)?;
    let dir = export_to_target(workspace, slug)?;
    let mut built = BuiltListing::in_dir(dir, workspace, "listings-target");
    built.compile_tests(slug)?;
    if built.dir.join("examples").is_dir() {
        // With the features of the tests, since examples may use dev-dependencies too.
        built.compile(slug, &["build", "--examples"])?;
    }
    Ok(built)
}

impl BuiltListing {
    /// A project in `dir` of which nothing is built yet. Cargo puts its programs in the folder
    /// `programs` below the workspace's target folder.
    pub(crate) fn in_dir(dir: PathBuf, workspace: &Workspace, programs: &str) -> Self {
        Self {
            dir,
            bins: BTreeMap::new(),
            examples: BTreeMap::new(),
            tests: BTreeMap::new(),
            out_dir: None,
            compiled: BTreeSet::from([PathBuf::from("build.rs")]),
            build_dir: workspace.target().to_owned(),
            target_dir: workspace.target().join(programs),
        }
    }

    /// Builds the library's and the integration tests, without running them.
    pub(crate) fn compile_tests(&mut self, slug: &str) -> Result<()> {
        // Programs are built because the integration tests may start them. Their own unit tests are
        // not: most have none, and each would be one more executable.
        self.compile(slug, &["test", "--no-run", "--lib", "--test", "*"])
    }

    /// Runs cargo, and takes in what it has built.
    fn compile(&mut self, slug: &str, arguments: &[&str]) -> Result<()> {
        let output = self
            .cargo()
            .args(arguments)
            .args(["--quiet", "--message-format=json-render-diagnostics"])
            .output()
            .context("cannot start cargo")?;
        ensure!(
            output.status.success(),
            "the listing `{slug}` does not build outside the workspace; cargo says:\n{}\
             What it needs must stand in listings/{slug}/Cargo.toml.",
            String::from_utf8_lossy(&output.stderr)
        );
        for message in Message::parse_stream(output.stdout.as_slice()) {
            match message? {
                Message::CompilerArtifact(artifact) if is_own(&artifact.package_id) => {
                    self.add(&artifact);
                }
                Message::BuildScriptExecuted(script) if is_own(&script.package_id) => {
                    self.out_dir = Some(script.out_dir.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, artifact: &Artifact) {
        self.compiled
            .extend(source_files(artifact, &self.build_dir, &self.dir));
        let Some(executable) = &artifact.executable else {
            return;
        };
        let is_example = artifact.target.kind.contains(&TargetKind::Example);
        let executables = if is_example {
            &mut self.examples
        } else if artifact.profile.test {
            &mut self.tests
        } else {
            &mut self.bins
        };
        // An integration test may have the name of the library.
        let name = if artifact.target.kind.contains(&TargetKind::Test) {
            format!("--test {}", artifact.target.name)
        } else if artifact.profile.test {
            "--lib".to_owned()
        } else {
            artifact.target.name.clone()
        };
        executables.insert(name, executable.into());
    }

    /// A command that runs in the project's folder.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = process::command(program);
        command.current_dir(&self.dir);
        command
    }

    /// A cargo command for the project. What is built is shared with the workspace, as far as the
    /// features are equal.
    pub fn cargo(&self) -> Command {
        let mut command = self.command("cargo");
        // Packages of one name that are each the root of a workspace would overwrite each other in
        // the shared folder: so a copy of a listing is built with another version.
        command
            .env("CARGO_TARGET_DIR", &self.target_dir)
            .env("CARGO_BUILD_BUILD_DIR", &self.build_dir)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "0");
        command
    }

    /// The program that a `cargo run` without a name runs, if there is one.
    pub fn default_run(&self) -> Option<String> {
        let manifest = read(&self.dir.join("Cargo.toml")).ok()?;
        let manifest: toml::Table = toml::from_str(&manifest).ok()?;
        let name = manifest.get("package")?.get("default-run")?.as_str()?;
        Some(name.to_owned())
    }

    /// A command for the program `name`.
    ///
    /// # Errors
    ///
    /// Lists the programs of the listing if it has none of that name.
    pub fn bin(&self, name: &str) -> Result<Command> {
        self.executable(&self.bins, "program", name)
    }

    /// A command for the example `name`.
    ///
    /// # Errors
    ///
    /// Lists the examples of the listing if it has none of that name.
    pub fn example(&self, name: &str) -> Result<Command> {
        self.executable(&self.examples, "example", name)
    }

    fn executable(
        &self,
        executables: &BTreeMap<String, PathBuf>,
        kind: &str,
        name: &str,
    ) -> Result<Command> {
        let path = executables.get(name).ok_or_else(|| {
            let known: Vec<_> = executables.keys().map(String::as_str).collect();
            anyhow!(
                "{} has no {kind} `{name}`; it has: {}",
                self.dir.display(),
                known.join(", ")
            )
        })?;
        Ok(self.command(path))
    }
}

/// Whether a package is the listing instead of one of its dependencies.
fn is_own(package: &PackageId) -> bool {
    package.repr.starts_with("path+")
}

/// The source files of something that was built from the project in `dir`, by the `.d` files that
/// the compiler wrote.
fn source_files(artifact: &Artifact, build_dir: &Path, dir: &Path) -> Vec<PathBuf> {
    let name = artifact.target.name.replace('-', "_");
    let mut sources = Vec::new();
    for folder in ["deps", "examples"] {
        let entries = fs::read_dir(build_dir.join("debug").join(folder));
        for entry in entries.into_iter().flatten().flatten() {
            let file = entry.file_name();
            let file = file.to_string_lossy();
            let is_of_target = file.strip_suffix(".d").is_some_and(|stem| {
                let target = stem.rsplit_once('-').map_or(stem, |(target, _)| target);
                target.trim_start_matches("lib") == name.trim_start_matches("lib")
            });
            if !is_of_target {
                continue;
            }
            // rustc gives each source a line `src/lib.rs:` of its own.
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            sources.extend(text.lines().filter_map(|line| {
                let path = Path::new(line.strip_suffix(':')?);
                normalize_path(path.strip_prefix(dir).unwrap_or(path))
            }));
        }
    }
    sources
}

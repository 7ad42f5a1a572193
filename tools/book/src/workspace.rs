//! Where things are.

use std::{
    env, fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use ignore::WalkBuilder;

/// The book's own folder.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The workspace whose root is `root`; cargo's folder is `target` in it,
    /// unless `CARGO_TARGET_DIR` names another.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()));
        Self { root, target }
    }

    /// The same workspace, built in the folder `target`.
    #[must_use]
    pub fn with_target(self, target: impl Into<PathBuf>) -> Self {
        Self {
            target: target.into(),
            ..self
        }
    }

    /// The workspace that the current folder is in.
    ///
    /// # Errors
    ///
    /// Fails outside the book.
    pub fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current folder")?;
        match here.ancestors().find(|dir| dir.join("book.toml").is_file()) {
            Some(root) => Ok(Self::at(root)),
            None => bail!(
                "{} is not in the book: no book.toml in it or above it",
                here.display()
            ),
        }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The pages.
    pub fn src(&self) -> PathBuf {
        self.root.join("src")
    }

    /// The contracts.
    pub fn proto(&self) -> PathBuf {
        self.root.join("proto")
    }

    /// The listing `slug`, which need not exist.
    pub fn listing(&self, slug: &str) -> PathBuf {
        self.root.join("listings").join(slug)
    }

    /// Where cargo builds.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where `cargo xtask install-tools` puts what the ignored tests need: the folder that
    /// `BOOK_TOOLS` names, or `target/tools`.
    pub fn tools(&self) -> PathBuf {
        env::var_os("BOOK_TOOLS").map_or_else(|| self.target.join("tools"), PathBuf::from)
    }

    /// The slugs of all listings, sorted.
    ///
    /// # Errors
    ///
    /// Fails if `listings/` cannot be read.
    pub fn slugs(&self) -> Result<Vec<String>> {
        let listings = self.root.join("listings");
        let mut slugs = Vec::new();
        for entry in fs::read_dir(&listings)
            .with_context(|| format!("cannot read {}", listings.display()))?
        {
            let entry = entry?;
            if entry.path().join("Cargo.toml").is_file() {
                slugs.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        slugs.sort();
        Ok(slugs)
    }

    /// Checks that `slug` is a listing's.
    ///
    /// # Errors
    ///
    /// Names the known slugs if it is not.
    pub fn check_slug(&self, slug: &str) -> Result<()> {
        let known = self.slugs()?;
        if known.iter().any(|known| known == slug) {
            return Ok(());
        }
        bail!(
            "there is no listing `{slug}`; the listings are: {}",
            known.join(", ")
        );
    }

    /// `path` as seen from the root, with forward slashes.
    pub fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        slashed(path)
    }
}

/// `path` with forward slashes, on every system.
pub fn slashed(path: &Path) -> String {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// All files below `dir`, sorted, as paths relative to it: but for those that a `.gitignore` below
/// `dir` leaves out, and hidden ones.
///
/// # Errors
///
/// Fails if a folder cannot be read.
pub fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let walk = WalkBuilder::new(dir)
        .parents(false)
        .require_git(false)
        .git_global(false)
        .git_exclude(false)
        .sort_by_file_path(Path::cmp)
        .build();
    for entry in walk {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        if let (false, Ok(relative)) = (entry.path().is_dir(), entry.path().strip_prefix(dir)) {
            files.push(relative.to_path_buf());
        }
    }
    Ok(files)
}

/// Reads a text file.
///
/// # Errors
///
/// Names the file that cannot be read.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file, and the folders above it.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// `path` without `.` and `..`; none if it leaves the folder that it starts in.
pub fn normalize_path(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => normal.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

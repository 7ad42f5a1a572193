//! Where things are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

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

    /// The same, but what is built goes to `target`.
    #[must_use]
    pub fn building_in(self, target: impl Into<PathBuf>) -> Self {
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

/// All files below `dir`, sorted, as paths relative to it.
///
/// # Errors
///
/// Fails if a folder cannot be read.
pub fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(dir) {
                files.push(relative.to_path_buf());
            }
        }
    }
    files.sort();
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

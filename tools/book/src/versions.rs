//! Versions: written once in `Cargo.lock`, and filled in everywhere else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::{
    markdown::directives,
    workspace::{Workspace, read},
};

/// What `Cargo.lock` holds, and the oldest Rust that the book is for.
#[derive(Debug)]
pub struct Versions {
    packages: BTreeMap<String, BTreeSet<String>>,
    rust: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

impl Versions {
    /// Reads them from the workspace.
    ///
    /// # Errors
    ///
    /// Fails if `Cargo.lock` or `Cargo.toml` cannot be read.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let lock: Lock = toml::from_str(&read(&workspace.root().join("Cargo.lock"))?)
            .context("cannot parse Cargo.lock")?;
        let mut packages = BTreeMap::<_, BTreeSet<_>>::new();
        for Package { name, version } in lock.package {
            packages.entry(name).or_default().insert(version);
        }
        let manifest: toml::Table = toml::from_str(&read(&workspace.root().join("Cargo.toml"))?)
            .context("cannot parse Cargo.toml")?;
        let rust = manifest
            .get("workspace")
            .and_then(|workspace| workspace.get("package")?.get("rust-version")?.as_str())
            .ok_or_else(|| anyhow!("Cargo.toml has no [workspace.package] rust-version"))?;
        Ok(Self {
            packages,
            rust: rust.to_owned(),
        })
    }

    /// `text` with the versions that it asks for, as in `{{version tonic}}`.
    ///
    /// # Errors
    ///
    /// Fails as [`Self::of`] does.
    pub fn fill_in(&self, text: &str) -> Result<String> {
        let (mut filled, mut done) = (String::new(), 0);
        for directive in directives(text).filter(|it| it.name == "version") {
            filled.push_str(&text[done..directive.range.start]);
            filled.push_str(self.of(&directive.subject)?);
            done = directive.range.end;
        }
        filled.push_str(&text[done..]);
        Ok(filled)
    }

    /// The version of `name`: a crate's, or `rust` for the oldest Rust.
    ///
    /// # Errors
    ///
    /// Fails if the lock has no such crate, or more than one version of it.
    pub fn of(&self, name: &str) -> Result<&str> {
        if name == "rust" {
            return Ok(&self.rust);
        }
        let Some(versions) = self.packages.get(name) else {
            bail!("Cargo.lock has no crate `{name}`");
        };
        match versions.iter().collect::<Vec<_>>().as_slice() {
            [version] => Ok(version),
            many => bail!("Cargo.lock has more than one `{name}`: {many:?}"),
        }
    }

    /// The oldest Rust that the book is for.
    pub fn rust(&self) -> &str {
        &self.rust
    }

    /// Whether `name` is something whose version a page could give.
    pub fn knows(&self, name: &str) -> bool {
        self.packages.contains_key(name)
    }

    /// Whether `Cargo.lock` has `version` of `name`.
    pub fn has(&self, name: &str, version: &str) -> bool {
        self.packages
            .get(name)
            .is_some_and(|versions| versions.contains(version))
    }

    /// All versions of `name` in `Cargo.lock`, for a message.
    pub fn all(&self, name: &str) -> String {
        match self.packages.get(name) {
            Some(versions) => versions
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            None => "none".to_owned(),
        }
    }
}

//! The mdBook that the book is tested with: that of its library in `Cargo.lock`.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use book::{versions::Versions, workspace::Workspace};

/// The crates of mdBook that rendering spends its time in.
const OPTIMISED: [&str; 7] = [
    "elasticlunr-rs",
    "hashbrown",
    "html5ever",
    "mdbook-html",
    "memchr",
    "pulldown-cmark",
    "tendril",
];

/// mdBook of the version that the book is tested with: one on the PATH, or one that is installed
/// below `target/`, once.
///
/// # Errors
///
/// Fails if it can be neither found nor installed.
pub fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    let versions = Versions::read(workspace)?;
    let version = versions.of("mdbook-preprocessor")?;
    let root = workspace.target().join(format!("mdbook-{version}"));
    let own = root.join("bin").join("mdbook");
    for mdbook in [PathBuf::from("mdbook"), own.clone()] {
        let output = Command::new(&mdbook)
            .arg("--version")
            .stderr(Stdio::null())
            .output();
        let expected = format!("mdbook v{version}");
        if output.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).trim() == expected) {
            return Ok(mdbook);
        }
    }
    eprintln!(
        "Installing mdBook {version} below {}, once: this takes a minute or two.",
        workspace.target().display()
    );
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(env::split_paths(&path).chain([root.join("bin")]))?;
    // A reader waits for this. Not optimised, it compiles in half the time; the crates that do most
    // of the rendering are.
    let mut install = crate::process::command("cargo");
    for name in OPTIMISED {
        let profile = format!("profile.dev.package.{name}.opt-level=1");
        install.args(["--config", &profile]);
    }
    let status = install
        .args([
            "install",
            "mdbook",
            "--locked",
            "--debug",
            "--version",
            version,
        ])
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // Otherwise cargo would warn that the folder is not on the PATH, which is as it should be.
        .env("PATH", path)
        .arg("--root")
        .arg(&root)
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(workspace.root())
        .status()
        .context("cannot start cargo")?;
    ensure!(
        status.success(),
        "cargo could not install mdBook: see above"
    );
    Ok(own)
}

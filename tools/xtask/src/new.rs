//! `cargo xtask new`: a chapter that passes all proofs before its author has typed a word.
//!
//! Its listing is a copy of `hello-world` under another name: the smallest service that has all that
//! a listing needs.

use anyhow::{Context, Result, anyhow, bail, ensure};
use toml_edit::{DocumentMut, InlineTable, value};

use book::{
    anchors, listing,
    workspace::{Workspace, read, slashed, write},
};
use stage::transcripts;

const MODEL: &str = "hello-world";

/// Makes the page, the listing, the proto and the test of the chapter `slug`, and returns the files
/// that it wrote, relative to the root.
///
/// # Errors
///
/// Fails, before it writes anything, if the slug is not one or is taken; later
/// only if a file cannot be written or the new session fails.
pub fn create(workspace: &Workspace, slug: &str) -> Result<Vec<String>> {
    let valid = slug.starts_with(|c: char| c.is_ascii_lowercase())
        && slug
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !slug.ends_with('-')
        && !slug.contains("--");
    ensure!(
        valid,
        "`{slug}` is not a slug: use lower-case words with hyphens between, such as parcel-tracking"
    );

    let snake = slug.replace('-', "_");
    let rename = |text: &str| {
        text.replace("hello/v1/hello.proto", &format!("{snake}/v1/{snake}.proto"))
            .replace("hello-world", slug)
            .replace("hello_world", &snake)
            .replace("hello.v1", &format!("{snake}.v1"))
    };
    let fill = |template: &str| {
        let title = slug.replace('-', " ");
        let title = title[..1].to_uppercase() + &title[1..];
        template
            .replace("SLUG", slug)
            .replace("SNAKE", &snake)
            .replace("TITLE", &title)
    };

    let mut files: Vec<(String, String)> = Vec::new();
    for source in listing::sources(workspace, MODEL)? {
        let book = slashed(&source.book);
        let text = anchors::strip(&read(&workspace.root().join(&source.book))?);
        files.push((rename(&book), rename(&text)));
    }
    files.push((
        format!("listings/{slug}/session.toml"),
        fill(include_str!("../templates/session.toml")),
    ));
    files.push((
        format!("src/{slug}.md"),
        fill(include_str!("../templates/page.md")),
    ));
    files.push((
        format!("tests/chapters/{snake}.rs"),
        chapter_test(workspace)?.replace(MODEL, slug),
    ));
    if let Some((file, _)) = files
        .iter()
        .find(|(file, _)| workspace.root().join(file).exists())
    {
        bail!("{file} exists already: choose another slug");
    }
    for folder in ["src", "listings"] {
        ensure!(
            !workspace.root().join(folder).join(slug).exists(),
            "{folder}/{slug} exists already: choose another slug"
        );
    }

    // Read and change before anything is written.
    let summary = workspace.src().join("SUMMARY.md");
    let manifest = workspace.root().join("tests/proofs/Cargo.toml");
    let chapters = workspace.root().join("tests/chapters/main.rs");
    let edits = [
        (
            &summary,
            with_page(&read(&summary)?, &fill("- [TITLE](SLUG.md)")),
        ),
        (&manifest, with_dependency(&read(&manifest)?, slug)?),
        (&chapters, with_module(&read(&chapters)?, &snake)),
    ];
    let mut written = Vec::new();
    for (file, text) in &files {
        write(&workspace.root().join(file), text)?;
        written.push(file.clone());
    }
    for (file, text) in edits {
        write(file, text)?;
        written.push(workspace.relative(file));
    }
    add_to_lock(workspace)?;
    written.extend(
        transcripts::record(workspace, slug)?
            .into_iter()
            .map(|file| format!("listings/{slug}/output/{file}")),
    );
    Ok(written)
}

/// The smallest test of a chapter, without the line that says what it is.
fn chapter_test(workspace: &Workspace) -> Result<String> {
    let template = read(&workspace.root().join("tests/chapters/template.rs"))?;
    let (_, test) = template
        .split_once('\n')
        .context("tests/chapters/template.rs is empty")?;
    Ok(test.to_owned())
}

/// The summary with the page after the last numbered chapter.
fn with_page(summary: &str, line: &str) -> String {
    let at = summary.rfind("\n- ").map_or(summary.len(), |last| {
        // Behind the chapter's own pages, which are indented.
        let mut end = last + 1;
        for (count, line) in summary[last + 1..].split_inclusive('\n').enumerate() {
            if count > 0 && !line.starts_with(' ') {
                break;
            }
            end += line.len();
        }
        end
    });
    let (before, after) = summary.split_at(at);
    let gap = if before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{gap}{line}\n{after}")
}

/// The manifest of the tests, which link every listing.
fn with_dependency(manifest: &str, slug: &str) -> Result<String> {
    let mut manifest: DocumentMut = manifest
        .parse()
        .context("cannot parse tests/proofs/Cargo.toml")?;
    let dependencies = manifest
        .get_mut("dev-dependencies")
        .and_then(|item| item.as_table_like_mut())
        .ok_or_else(|| anyhow!("tests/proofs/Cargo.toml has no [dev-dependencies]"))?;
    let mut path = InlineTable::new();
    path.insert("path", format!("../../listings/{slug}").into());
    dependencies.insert(slug, value(path));
    Ok(manifest.to_string())
}

/// The tests of the chapters with one more module, after the others.
fn with_module(chapters: &str, snake: &str) -> String {
    let line = format!("mod {snake};");
    // In the order of rustfmt, which `.ci/run` checks.
    let next = chapters
        .lines()
        .find(|other| other.starts_with("mod ") && **other > *line);
    match next {
        Some(next) => chapters.replacen(next, &format!("{line}\n{next}"), 1),
        None => {
            let last = chapters.lines().rfind(|other| other.starts_with("mod "));
            let last = last.unwrap_or_default();
            chapters.replacen(last, &format!("{last}\n{line}"), 1)
        }
    }
}

/// Lets cargo write the new package into `Cargo.lock`, and nothing else there.
fn add_to_lock(workspace: &Workspace) -> Result<()> {
    let status = std::process::Command::new("cargo")
        .args(["update", "--workspace", "--offline", "--quiet"])
        .current_dir(workspace.root())
        .status()
        .context("cannot start cargo")?;
    ensure!(
        status.success(),
        "cargo could not add the listing to Cargo.lock: see above"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_a_page_behind_the_last_chapter() {
        let summary = "# S\n\n[Intro](i.md)\n\n- [A](a.md)\n  - [A1](a/1.md)\n\n[End](e.md)\n";
        assert_eq!(
            with_page(summary, "- [B](b.md)"),
            "# S\n\n[Intro](i.md)\n\n- [A](a.md)\n  - [A1](a/1.md)\n- [B](b.md)\n\n[End](e.md)\n"
        );
        assert_eq!(
            with_page("- [A](a.md)", "- [B](b.md)"),
            "- [A](a.md)\n- [B](b.md)\n"
        );
    }
}

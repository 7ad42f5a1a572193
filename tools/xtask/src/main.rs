//! `cargo xtask`: the commands of the book, for people and for CI.

mod check;
mod new;
mod serve;
mod tools;

use std::{collections::BTreeMap, io, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use book::{Book, render::render, rules::PAGE_RULES, workspace::Workspace};
use clap::{Parser, Subcommand, ValueEnum};
use mdbook_preprocessor::{
    book::{BookItem, Chapter},
    parse_input,
};
use stage::{bench, export, transcripts, wire};

/// The commands of the book.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the book and open it in the browser.
    ///
    /// Installs the mdBook that the book is tested with below target/, unless it is there already.
    /// Pages are rendered again when a file changes.
    Serve {
        /// The port on 127.0.0.1.
        #[arg(long, default_value_t = 3000)]
        port: u16,
        /// Whether to open the browser.
        #[arg(long, value_name = "WHETHER", num_args = 0..=1, default_value = "yes", default_missing_value = "yes")]
        open: Open,
    },
    /// Prove a chapter: its pages first, then its listing, transcripts and tests.
    Check {
        /// The chapter: a name in src/ or listings/, such as hello-world.
        slug: String,
    },
    /// Write a listing as a project of its own, outside this workspace.
    Export {
        /// The listing: a folder's name in listings/.
        slug: String,
        /// Where to write it: a new or an empty folder.
        dir: PathBuf,
    },
    /// Run the sessions of the listings and rewrite their output/.
    Transcripts {
        /// The listing; all of them if none is named.
        slug: Option<String>,
    },
    /// Measure a listing, and draw what its chapter shows of it.
    ///
    /// Runs the example `<slug>-bench` of the exported listing, optimised, and writes
    /// listings/SLUG/measured/ and src/SLUG/bench.svg.
    Bench {
        /// The listing.
        slug: String,
        /// See only that it works: short, not optimised, writes nothing.
        #[arg(long)]
        quick: bool,
    },
    /// Begin a chapter: its page, listing, proto, session and test.
    New {
        /// The chapter's name in files and addresses, such as parcel-tracking.
        slug: String,
    },
    /// Print the calls between a client and a server, frame by frame.
    ///
    /// Point the client at this program, and this program at the server.
    Wire(wire::Addresses),
    /// Install what the ignored tests need: servers, other languages, a browser.
    ///
    /// System packages come from Debian, as root; all else goes to the folder that BOOK_TOOLS
    /// names, or target/tools.
    InstallTools {
        /// Only say what is missing.
        #[arg(long)]
        check: bool,
    },
    /// Prepare the pages: mdBook calls this, see book.toml.
    Preprocess {
        #[command(subcommand)]
        question: Option<Question>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Open {
    Yes,
    No,
}

#[derive(Subcommand)]
enum Question {
    /// Whether pages can be prepared for a renderer.
    Supports {
        /// The renderer's name.
        renderer: String,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve { port, open } => serve::serve(&Workspace::find()?, port, open == Open::Yes),
        Command::Check { slug } => check::check(Workspace::find()?, &slug),
        Command::Export { slug, dir } => {
            export::export(&Workspace::find()?, &slug, &dir)?;
            println!(
                "wrote {slug} to {}: next, type `cargo test` there",
                dir.display()
            );
            Ok(())
        }
        Command::Transcripts { slug } => record_transcripts(&Workspace::find()?, slug),
        Command::Bench { slug, quick } => {
            let workspace = Workspace::find()?;
            let results = bench::measure(&workspace, &slug, quick)?;
            print!("{}", results.table());
            if !quick {
                for file in results.write(&workspace, &slug)? {
                    println!("wrote {file}");
                }
            }
            Ok(())
        }
        Command::New { slug } => {
            let written = new::create(&Workspace::find()?, &slug)?;
            println!(
                "wrote\n  {}\nnext, type `cargo xtask check {slug}`, and read CONTRIBUTING.md",
                written.join("\n  ")
            );
            Ok(())
        }
        Command::Wire(addresses) => wire::tap(addresses),
        Command::InstallTools { check: true } => tools::check(&Workspace::find()?),
        Command::InstallTools { check: false } => tools::install(&Workspace::find()?),
        Command::Preprocess {
            question: Some(Question::Supports { .. }),
        } => Ok(()),
        Command::Preprocess { question: None } => preprocess(),
    }
}

fn record_transcripts(workspace: &Workspace, slug: Option<String>) -> Result<()> {
    let slugs = match slug {
        Some(slug) => vec![slug],
        None => workspace.slugs()?,
    };
    for slug in slugs {
        let changed = transcripts::record(workspace, &slug)?;
        match changed.as_slice() {
            [] => println!("{slug}: nothing changed"),
            changed => println!("{slug}: rewrote {}", changed.join(", ")),
        }
    }
    Ok(())
}

/// Renders the pages that mdBook gives us, unless one of them breaks a rule.
fn preprocess() -> Result<()> {
    let (context, mut mdbook) = parse_input(io::stdin())?;
    let pages = mdbook.chapters().filter_map(|chapter| {
        let path = chapter.source_path.clone()?;
        Some((path, chapter.content.clone()))
    });
    let book = Book::from_pages(Workspace::at(context.root), pages)?;
    let mut problems = Vec::new();
    for rule in PAGE_RULES {
        problems.extend((rule.check)(&book)?);
    }
    if !problems.is_empty() {
        problems.sort();
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        bail!(
            "the book cannot be built as it is:\n{}",
            problems.join("\n")
        );
    }
    let mut rendered: BTreeMap<PathBuf, String> = book
        .pages
        .iter()
        .map(|page| (page.path().to_owned(), render(&book, page).text))
        .collect();
    mdbook.for_each_mut(|item| {
        if let BookItem::Chapter(Chapter {
            source_path: Some(path),
            content,
            ..
        }) = item
            && let Some(text) = rendered.remove(path)
        {
            *content = text;
        }
    });
    serde_json::to_writer(io::stdout().lock(), &mdbook)?;
    Ok(())
}

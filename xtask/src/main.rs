//! `cargo xtask`: the one door to the book's tools.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use mdbook_preprocessor::parse_input;
use xtask::{
    bench, chapter, export, preprocess::preprocess, serve, session, wire, workspace::Workspace,
};

/// The tools of the book.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Serve the book and open it in the browser.
    ///
    /// Installs the mdBook that the book is tested with below target/, unless
    /// it is there already. Pages are built anew when a file changes.
    Serve {
        /// The port on 127.0.0.1.
        #[arg(long, default_value_t = 3000)]
        port: u16,
        /// Whether to open the browser.
        #[arg(long, value_name = "WHETHER", num_args = 0..=1, default_value = "yes", default_missing_value = "yes")]
        open: Open,
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
    /// Begin a chapter: its page, listing, contract, session and test.
    New {
        /// The chapter's name in files and addresses, such as parcel-tracking.
        slug: String,
    },
    /// Print the calls between a client and a server, frame by frame.
    ///
    /// Point the client at this program, and this program at the server.
    Wire {
        /// Where to listen for the client.
        #[arg(long, default_value = "127.0.0.1:50050")]
        listen: SocketAddr,
        /// Where the server listens.
        #[arg(long, default_value = "127.0.0.1:50051")]
        to: SocketAddr,
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
    match run(Arguments::parse().tool) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(tool: Tool) -> Result<()> {
    match tool {
        Tool::Serve { port, open } => serve::serve(&Workspace::find()?, port, open == Open::Yes),
        Tool::Export { slug, dir } => {
            export::export(&Workspace::find()?, &slug, &dir)?;
            println!(
                "wrote {slug} to {}: next, type `cargo test` there",
                dir.display()
            );
            Ok(())
        }
        Tool::Transcripts { slug } => transcripts(&Workspace::find()?, slug),
        Tool::Bench { slug, quick } => {
            let workspace = Workspace::find()?;
            let measured = bench::measure(&workspace, &slug, quick)?;
            print!("{}", measured.table());
            if !quick {
                for file in measured.write(&workspace, &slug)? {
                    println!("wrote {file}");
                }
            }
            Ok(())
        }
        Tool::New { slug } => {
            let written = chapter::create(&Workspace::find()?, &slug)?;
            println!(
                "wrote\n  {}\nnext, type `cargo test`, and read CONTRIBUTING.md",
                written.join("\n  ")
            );
            Ok(())
        }
        Tool::Wire { listen, to } => wire::tap(listen, to),
        Tool::Preprocess {
            question: Some(Question::Supports { .. }),
        } => Ok(()),
        Tool::Preprocess { question: None } => prepare(),
    }
}

fn transcripts(workspace: &Workspace, slug: Option<String>) -> Result<()> {
    let slugs = match slug {
        Some(slug) => vec![slug],
        None => workspace.slugs()?,
    };
    for slug in slugs {
        let changed = session::rewrite(workspace, &slug)?;
        match changed.as_slice() {
            [] => println!("{slug}: nothing changed"),
            changed => println!("{slug}: rewrote {}", changed.join(", ")),
        }
    }
    Ok(())
}

fn prepare() -> Result<()> {
    let (context, mut book) = parse_input(io::stdin())?;
    let problems = preprocess(&Workspace::at(context.root), &mut book)?;
    if !problems.is_empty() {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        bail!(
            "the book cannot be built as it is:\n{}",
            problems.join("\n")
        );
    }
    serde_json::to_writer(io::stdout().lock(), &book)?;
    Ok(())
}

//! The format of `listings/<slug>/session.toml`.
//!
//! Programs start in the order of the file. A program that `listens` goes on, and the next one
//! starts once it has printed `listening on ADDRESS`. A program that runs `until` it prints a line
//! goes on beside the next ones. Any other program is run to its end, and must end with the code
//! `exit`. At the end of the session we wait for those that end by themselves; those that listen
//! then get Ctrl-C, the last one first, unless they had it typed into them.
//!
//! ```toml
//! [[session]]
//! name = "the first call"
//!
//! [[session.program]]
//! transcript = "server"                           # output/server.txt; leave it out if no page shows it
//! command = "cargo run --bin hello-world-server"  # what the reader types
//! defaults = "-- 127.0.0.1:50051"                 # the arguments that the command leaves to their defaults
//! listens = "127.0.0.1:50051"                     # the address that the page shows
//!
//! [[session.program]]
//! transcript = "jack"
//! command = "cargo run --bin bidirectional-streams-client -- http://127.0.0.1:50051 jack mike"
//! until = "mike is not here"                      # the next program starts after this line
//! types = [
//!     { after = "mike is here", line = "你好" },   # types a line after a line with this text
//!     { after = "mike: 你好", key = "ctrl-d" },    # or a key: ctrl-d, ctrl-c
//! ]
//!
//! [[session.program]]
//! kills = "jack"                                  # SIGKILL, for a program that runs
//!
//! [[session.program]]
//! transcript = "hangup"
//! command = "kill -HUP 4711"                      # 4711 stands for the process id of the program
//! signals = "server"                              # with this transcript
//! until = "new certificate"                       # and this is a line that it prints
//! ```
//!
//! A session that needs a program that does not come with Rust says so, `needs = ["buf"]`, and is
//! left out of plain `cargo test`; `.ci/run` installs the program.
//!
//! A program that prints a Markdown table has `table = "codes"` instead of `transcript`: the output
//! goes to `output/codes.md`, and a page includes it as it is.
//!
//! `[[generated]]` copies a file of `OUT_DIR` to `output/`, with an anchor around each item that a
//! page shows.
//!
//! Write a session so that no two programs race: what one types may depend on what it has seen, and
//! on nothing else.

use anyhow::{Context, Result};
use book::workspace::{Workspace, read};
use serde::Deserialize;

use crate::codegen_excerpt::Excerpt;

/// A `session.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionFile {
    /// Whether the page tells the reader to type the commands in an exported copy instead of in
    /// the listing's folder.
    #[serde(default)]
    pub exported: bool,
    /// The sessions.
    #[serde(default)]
    pub session: Vec<Session>,
    /// What is kept of the generated code.
    #[serde(default)]
    pub generated: Vec<Excerpt>,
}

/// What is typed in several terminals, from the start of the first program to the end of the last.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Its name in messages.
    pub name: String,
    /// Programs besides Rust's own that must be on the PATH.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The programs.
    pub program: Vec<Step>,
}

/// A program of a session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The name of the transcript in `output/`; none if no page shows it.
    pub transcript: Option<String>,
    /// The name in `output/` of the Markdown table that the program prints.
    pub table: Option<String>,
    /// What the reader types.
    #[serde(default)]
    pub command: String,
    /// Instead of a command: the transcript of a running program, which is killed with SIGKILL.
    pub kills: Option<String>,
    /// The transcript of a running program to which the command sends a signal: its process id
    /// stands in the command as `4711`. Then `until` is a line of that program.
    pub signals: Option<String>,
    /// The arguments that the command leaves to their defaults: they are added where the defaults
    /// would not do, on free ports.
    pub defaults: Option<String>,
    /// The address that the page shows, if the program listens.
    pub listens: Option<String>,
    /// The next program starts, beside this one, once this one has printed a line with this text.
    pub until: Option<String>,
    /// What is typed into the program, in order.
    #[serde(default)]
    pub types: Vec<Input>,
    /// The exit code.
    #[serde(default)]
    pub exit: i32,
}

/// A line or a key that is typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Once the program has printed a line with this text.
    pub after: String,
    /// What is typed.
    #[serde(flatten)]
    pub keystroke: Keystroke,
}

/// A line or a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keystroke {
    /// A line of text.
    Line(String),
    /// A key.
    Key(Key),
}

/// A key with a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// The end of the input.
    CtrlD,
    /// SIGINT.
    CtrlC,
}

impl Step {
    /// The names of the files in `output/` that keep its output.
    pub fn files(&self) -> impl Iterator<Item = String> {
        let transcript = self.transcript.as_ref().map(|name| format!("{name}.txt"));
        let table = self.table.as_ref().map(|name| format!("{name}.md"));
        transcript.into_iter().chain(table)
    }

    /// The text after which Ctrl-C is typed, if it is.
    pub fn interrupted_after(&self) -> Option<&str> {
        let ctrl_c = |input: &&Input| matches!(input.keystroke, Keystroke::Key(Key::CtrlC));
        self.types
            .iter()
            .find(ctrl_c)
            .map(|input| input.after.as_str())
    }
}

/// Reads the sessions of the listing `slug`.
///
/// # Errors
///
/// Names the file that cannot be read or parsed.
pub fn load(workspace: &Workspace, slug: &str) -> Result<SessionFile> {
    let file = workspace.listing(slug).join("session.toml");
    toml::from_str(&read(&file)?).with_context(|| format!("cannot parse {}", file.display()))
}

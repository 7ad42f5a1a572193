//! Sessions: what a reader types in several terminals, run for real.
//!
//! `listings/<slug>/session.toml` names the programs of each session in the
//! order in which they start. A program that `listens` stays, and the next one
//! starts once it has printed `listening on ADDRESS`; one that runs `until` a
//! line goes on beside the next; any other is run to its end. At the end of a
//! session we wait for those that end by themselves, and those that listen get
//! Ctrl-C, the last first. What each printed, below the command that started
//! it, is a transcript in `listings/<slug>/output/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use regex::Regex;
use serde::Deserialize;

use crate::{
    export::export_to_target,
    generated::Generated,
    program::{self, Ended, Keyboard, Program},
    workspace::{Workspace, files_below, read, slashed, write},
};

/// Which ports the programs of a session listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Ports that are free, so that sessions can run side by side: the
    /// addresses on the page are written back into the transcript.
    Free,
    /// The ports on the page: the commands are run to the letter.
    AsTyped,
}

/// Which sessions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that need nothing but Rust.
    RustAlone,
    /// Those that need other programs as well.
    All,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sessions {
    #[serde(default)]
    session: Vec<Session>,
    #[serde(default)]
    generated: Vec<Generated>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    name: String,
    /// Programs besides Rust's own that have to be on the PATH.
    #[serde(default)]
    needs: Vec<String>,
    program: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// The name of the transcript in `output/`; none if no page shows it.
    transcript: Option<String>,
    /// The name in `output/` of the Markdown table that it prints, which a page
    /// includes as it is.
    table: Option<String>,
    /// What the reader types.
    #[serde(default)]
    command: String,
    /// In place of a command: the transcript of a running program, which is
    /// killed with SIGKILL.
    kills: Option<String>,
    /// The transcript of a running program that the command sends a signal to: it
    /// stands there as [`PROCESS`]. Then `until` is a line of that program's.
    signals: Option<String>,
    /// The arguments that the command leaves out because they are the
    /// defaults. They are added where the defaults would not do: on free ports.
    defaults: Option<String>,
    /// The address that the page shows, if the program listens.
    listens: Option<String>,
    /// Until it prints a line with this in it nothing else happens; then the
    /// next program starts beside it.
    until: Option<String>,
    /// What is typed, in its order.
    #[serde(default)]
    types: Vec<Typed>,
    /// The exit code.
    #[serde(default)]
    exit: i32,
}

/// A line or a key that is typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// Once the program has printed a line with this in it.
    after: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// A line of text.
    Line(String),
    /// A key.
    Key(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Key {
    /// The end of the input.
    CtrlD,
    /// SIGINT.
    CtrlC,
}

/// A listing, exported and built below `target/`.
#[derive(Clone, Debug)]
pub struct Built {
    /// The project's folder.
    pub dir: PathBuf,
    /// Its programs, by name.
    pub bins: BTreeMap<String, PathBuf>,
    /// What its build script generated.
    pub out_dir: Option<PathBuf>,
    /// Where it was built.
    pub target: PathBuf,
}

impl Built {
    /// A command that runs in the project: cargo, or one of its programs.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = program::command(program);
        command
            .current_dir(&self.dir)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        command
    }

    /// A command for the example `name`: cargo builds it first, and says nothing.
    pub fn example(&self, name: &str) -> Command {
        let mut command = self.command("cargo");
        command.args(["run", "--quiet", "--example", name]);
        command
    }

    /// A command for the program `name`.
    ///
    /// # Errors
    ///
    /// Lists the programs of the listing if there is none of that name.
    pub fn bin(&self, name: &str) -> Result<Command> {
        let path = self.bins.get(name).ok_or_else(|| {
            let known: Vec<_> = self.bins.keys().map(String::as_str).collect();
            anyhow!(
                "{} has no program `{name}`; it has: {}",
                self.dir.display(),
                known.join(", ")
            )
        })?;
        Ok(self.command(path))
    }
}

fn sessions(workspace: &Workspace, slug: &str) -> Result<Sessions> {
    let file = workspace.listing(slug).join("session.toml");
    toml::from_str(&read(&file)?).with_context(|| format!("cannot understand {}", file.display()))
}

/// The commands that start the servers of the sessions of `slug`, each once.
///
/// # Errors
///
/// Fails if the sessions cannot be read.
pub fn servers(workspace: &Workspace, slug: &str) -> Result<BTreeSet<String>> {
    let sessions = sessions(workspace, slug)?;
    let steps = sessions.session.into_iter().flat_map(|it| it.program);
    Ok(steps
        .filter(|step| step.listens.is_some())
        .map(|step| step.command)
        .collect())
}

/// Exports the listing `slug` below `target/`, and builds its programs there.
///
/// # Errors
///
/// Fails with the compiler's messages if it does not build.
pub fn build(workspace: &Workspace, slug: &str) -> Result<Built> {
    /// One at a time: two would write the same files.
    static BUILDING: Mutex<()> = Mutex::new(());

    workspace.check_slug(slug)?;
    let building = BUILDING.lock();
    let dir = export_to_target(workspace, slug)?;
    let mut built = Built {
        dir,
        bins: BTreeMap::new(),
        out_dir: None,
        target: workspace.target().join("listings-target"),
    };
    let output = built
        .command("cargo")
        .args([
            "build",
            "--bins",
            "--quiet",
            "--message-format=json-render-diagnostics",
        ])
        .output()
        .context("cannot start cargo")?;
    drop(building);
    ensure!(
        output.status.success(),
        "the listing `{slug}` does not build outside the workspace; it says:\n{}\
         What it needs must stand in listings/{slug}/Cargo.toml.",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let own = message["package_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("path+"));
        if let (true, Some(path)) = (own, message["executable"].as_str()) {
            built.bins.insert(
                message["target"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                path.into(),
            );
        }
        if let (true, Some(path)) = (own, message["out_dir"].as_str()) {
            built.out_dir = Some(path.into());
        }
    }
    Ok(built)
}

/// Runs sessions of the listing `slug`: what they print, by its name in `output/`.
/// Of a session that is left out there is the name alone.
///
/// # Errors
///
/// Fails with what a program printed if it does not do as the session says, and if
/// a program is missing that a session needs.
pub fn run(
    workspace: &Workspace,
    slug: &str,
    ports: Ports,
    which: Which,
) -> Result<BTreeMap<String, Option<String>>> {
    /// The projects whose sessions run, by folder: two runs of one would find each
    /// other's files.
    static RUNNING: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

    let built = build(workspace, slug)?;
    let turn = {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(running.entry(built.dir.clone()).or_default())
    };
    let _turn = turn.lock();
    let sessions = sessions(workspace, slug)?;
    // Whoever runs a program does not wait for it as long as for the compiler.
    let programs = sessions.session.iter().flat_map(|it| &it.program);
    for step in programs.filter(|step| step.command.starts_with("cargo run --example ")) {
        let words = step.command.split_whitespace();
        let name = words.skip(3).take(1);
        let compiled = built
            .command("cargo")
            .args(["build", "--example"])
            .args(name)
            .output()?;
        ensure!(
            compiled.status.success(),
            "`{}` does not compile:\n{}",
            step.command,
            String::from_utf8_lossy(&compiled.stderr)
        );
    }
    let mut output = BTreeMap::new();
    for session in &sessions.session {
        let files = session.files(&built, ports, which).with_context(|| {
            format!(
                "the session `{}` of the listing `{slug}` fails",
                session.name
            )
        })?;
        for (name, text) in files {
            if output.insert(name.clone(), text).is_some() {
                bail!("listings/{slug}/session.toml: two programs write output/{name}");
            }
        }
    }
    for generated in &sessions.generated {
        let (name, text) = generated.read(&built)?;
        output.insert(name, Some(text));
    }
    Ok(output)
}

/// Rewrites `output/` of the listing `slug`.
///
/// # Errors
///
/// Fails, and leaves the files as they are, if a session fails.
pub fn rewrite(workspace: &Workspace, slug: &str) -> Result<Vec<String>> {
    let new = run(workspace, slug, Ports::Free, Which::All)?;
    let old = written(workspace, slug)?;
    let dir = workspace.listing(slug).join("output");
    let mut changed = Vec::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(dir.join(name))?;
        changed.push(format!("{name} (removed)"));
    }
    for (name, text) in new {
        if let Some(text) = text.filter(|text| old.get(&name) != Some(text)) {
            write(&dir.join(&name), text)?;
            changed.push(name);
        }
    }
    Ok(changed)
}

/// The number of any process, on a page.
const PROCESS: &str = "4711";

/// How a shell tells that SIGKILL ended a program.
const KILLED: i32 = 128 + 9;

struct Running<'a> {
    step: &'a Step,
    program: Program,
    /// Types; the keyboard comes back, or the input would end with it.
    typist: JoinHandle<Result<Keyboard>>,
    killed: bool,
}

impl Session {
    /// The files that it writes, by name, with their text if it is run.
    fn files(
        &self,
        built: &Built,
        ports: Ports,
        which: Which,
    ) -> Result<Vec<(String, Option<String>)>> {
        if which == Which::RustAlone && !self.needs.is_empty() {
            let names = self.program.iter().flat_map(Step::files);
            return Ok(names.map(|name| (name, None)).collect());
        }
        for program in &self.needs {
            ensure!(
                is_on_the_path(program),
                "`{program}` is not on the PATH: .ci/run shows how it is installed"
            );
        }
        let files = self.run(built, ports)?;
        Ok(files
            .into_iter()
            .map(|(name, text)| (name, Some(text)))
            .collect())
    }

    fn run(&self, built: &Built, ports: Ports) -> Result<Vec<(String, String)>> {
        let mut running: Vec<Running> = Vec::new();
        let mut ended: Vec<(&Step, Ended)> = Vec::new();
        // Where a program really listens, and what the page says instead.
        let mut addresses: Vec<(String, String)> = Vec::new();
        for step in &self.program {
            if let Some(name) = &step.kills {
                let mut killed = running.remove(position(&running, name)?);
                killed.program.kill()?;
                killed.killed = true;
                ended.push((killed.step, killed.end()?));
                continue;
            }
            if let Some(name) = &step.signals {
                let at = position(&running, name)?;
                let told = &mut running[at];
                let command = step
                    .command
                    .replace(PROCESS, &told.program.id().to_string());
                // Of the shell's own: there may be no program `kill`.
                let mut shell = built.command("sh");
                shell.args(["-c", &command]);
                let end = Program::start(shell)?.end()?;
                step.check(&end, step.exit)?;
                if let Some(line) = &step.until {
                    told.program.wait_for_text(line)?;
                }
                ended.push((step, end));
                continue;
            }
            if let (Ports::AsTyped, Some(address)) = (ports, &step.listens) {
                wait_until_free(address)?;
            }
            let command = step.command(built, ports, &addresses)?;
            let (mut program, mut keyboard) = Program::start_with_keyboard(command)?;
            if let Some(shown) = &step.listens {
                let line = program.wait_for("listening on ")?;
                let real = line
                    .trim_start_matches("listening on ")
                    .split([' ', ','])
                    .next()
                    .unwrap_or_default();
                addresses.push((real.to_owned(), shown.clone()));
            }
            if let Some(line) = &step.until {
                keyboard.wait_for(line)?;
            }
            let typed = step.types.clone();
            let typist = thread::spawn(move || type_all(keyboard, &typed));
            let run = Running {
                step,
                program,
                typist,
                killed: false,
            };
            if step.listens.is_some() || step.until.is_some() {
                running.push(run);
            } else {
                ended.push((step, run.end()?));
            }
        }
        let (listening, others): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|running| running.step.listens.is_some());
        for running in others {
            ended.push((running.step, running.end()?));
        }
        for mut running in listening.into_iter().rev() {
            running.program.interrupt()?;
            ended.push((running.step, running.end()?));
        }
        let mut files = Vec::new();
        for (step, end) in ended {
            let text = normalise(&end.output, &addresses);
            for name in step.files() {
                let text = if name.ends_with(".txt") {
                    format!("$ {}\n{text}", step.command)
                } else {
                    text.clone()
                };
                files.push((name, text));
            }
        }
        Ok(files)
    }
}

fn is_on_the_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Which of them has this transcript.
fn position(running: &[Running], transcript: &str) -> Result<usize> {
    let at = running
        .iter()
        .position(|running| running.step.transcript.as_deref() == Some(transcript));
    at.ok_or_else(|| anyhow!("no program with the transcript `{transcript}` runs"))
}

/// Waits until a program may listen on `address`. The pages' ports are among those
/// that the system gives to clients: one of them holds its port for a minute after
/// its connection has ended, and nobody tells when it is free.
fn wait_until_free(address: &str) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = TcpListener::bind(address) {
        if Instant::now() > deadline {
            bail!("{address} is not free ({error}): end the program that has it");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The program and its arguments, if it is one that `cargo run --bin` runs.
fn runs_bin(words: &[String]) -> Option<(&str, &[String])> {
    let [cargo, run, flag, bin, rest @ ..] = words else {
        return None;
    };
    let rest = match rest {
        [dashes, rest @ ..] if dashes == "--" => rest,
        [option, ..] if option.starts_with('-') => return None,
        rest => rest,
    };
    (cargo == "cargo" && run == "run" && flag == "--bin").then_some((bin, rest))
}

impl Running<'_> {
    /// Waits until everything is typed and the program has ended.
    fn end(self) -> Result<Ended> {
        let typed = self.typist.join();
        let typed = typed.map_err(|_| anyhow!("the typing of `{}` failed", self.step.command))?;
        let _keyboard = typed?;
        let mut end = self.program.end()?;
        // A terminal shows the keys that were pressed, and the shell that a
        // program was killed. (What was printed before may still have been on
        // its way: the end is the one sure place.)
        let code = if self.killed { KILLED } else { self.step.exit };
        self.step.check(&end, code)?;
        if self.killed {
            end.output.push_str("Killed\n");
        } else if self.step.listens.is_some() || self.step.is_interrupted() {
            end.output.push_str("^C\n");
        }
        Ok(end)
    }
}

/// Types everything in its order.
fn type_all(mut keyboard: Keyboard, all: &[Typed]) -> Result<Keyboard> {
    for Typed { after, what } in all {
        keyboard.wait_for(after)?;
        match what {
            What::Line(line) => keyboard.type_line(line)?,
            What::Key(Key::CtrlD) => keyboard.end_input(),
            What::Key(Key::CtrlC) => keyboard.interrupt()?,
        }
    }
    Ok(keyboard)
}

impl Step {
    /// The names of what is kept of its output.
    fn files(&self) -> impl Iterator<Item = String> {
        let transcript = self.transcript.as_ref().map(|name| format!("{name}.txt"));
        let table = self.table.as_ref().map(|name| format!("{name}.md"));
        transcript.into_iter().chain(table)
    }

    fn command(
        &self,
        built: &Built,
        ports: Ports,
        addresses: &[(String, String)],
    ) -> Result<Command> {
        let mut typed = self.command.clone();
        if ports == Ports::Free {
            if let Some(defaults) = &self.defaults {
                typed = format!("{typed} {defaults}");
            }
            if let Some(own) = &self.listens {
                typed = typed.replace(own, "127.0.0.1:0");
            }
            for (real, shown) in addresses {
                typed = typed.replace(shown, real);
            }
        }
        let words =
            shlex::split(&typed).ok_or_else(|| anyhow!("a quote is missing in `{typed}`"))?;
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| anyhow!("a command is empty"))?;
        let tool = arguments.first().is_some_and(|first| first == "xtask");
        let mut command = if program == "cargo" && tool {
            // The tools are this package; all else is run as in an exported project.
            let mut command = program::command(program);
            command.current_dir(env!("CARGO_MANIFEST_DIR"));
            command
        } else if let (Ports::Free, Some((bin, rest))) = (ports, runs_bin(&words)) {
            // Cargo would wait for whoever builds another listing meanwhile, and a
            // program that has started already would not.
            let mut command = built.bin(bin)?;
            command.args(rest);
            return Ok(command);
        } else {
            built.command(program)
        };
        command.args(arguments);
        Ok(command)
    }

    /// Whether Ctrl-C is typed.
    fn is_interrupted(&self) -> bool {
        let ctrl_c = |typed: &Typed| matches!(typed.what, What::Key(Key::CtrlC));
        self.types.iter().any(ctrl_c)
    }

    fn check(&self, end: &Ended, code: i32) -> Result<()> {
        ensure!(
            end.code == code,
            "`{}` ended with {} and not with {code}; it printed:\n{}",
            self.command,
            end.code,
            end.output
        );
        Ok(())
    }
}

/// What differs from run to run becomes what the page shows: addresses; times,
/// which all become the same moment; durations, and numbers drawn at random.
fn normalise(output: &str, addresses: &[(String, String)]) -> String {
    static PATTERNS: LazyLock<[(Regex, &str); 10]> = LazyLock::new(|| {
        [
            (
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
                "2026-01-01T00:00:00.000000Z",
            ),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-01T00:00:00Z"),
            // What is left of five seconds.
            (r"\bgrpc-timeout: 49\d{5}u", "grpc-timeout: 4999990u"),
            (r"\belapsed=[\d.]+(ns|µs|ms|s)", "elapsed=1ms"),
            (r"\b(latency|stream_duration)=\d+ ms", "$1=1 ms"),
            (
                r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
                "00000000-0000-4000-8000-000000000000",
            ),
            (r"\bpid=\d+", "pid=4711"),
            (
                r"\bserial=[0-9a-f]{2}(:[0-9a-f]{2})*",
                "serial=00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
            ),
            // What rustls says of the time.
            (
                r"verification time \d+ \(UNIX\), but certificate is not valid after \d+ \(\d+ seconds ago\)",
                "verification time 1767225600 (UNIX), but certificate is not valid after 1767139200 (86400 seconds ago)",
            ),
            (
                r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
                "Thu, 01 Jan 2026 00:00:00 GMT",
            ),
        ]
        .map(|(pattern, shown)| {
            (
                Regex::new(pattern).expect("the pattern is a constant"),
                shown,
            )
        })
    });
    let mut output = output.to_owned();
    for (real, shown) in addresses {
        output = output.replace(real, shown);
    }
    for (pattern, shown) in PATTERNS.iter() {
        output = pattern.replace_all(&output, *shown).into_owned();
    }
    output
}

/// The number of the first line in which two texts differ, counted from one.
pub fn first_difference(expected: &str, actual: &str) -> Option<usize> {
    if expected == actual {
        return None;
    }
    let same = expected
        .lines()
        .zip(actual.lines())
        .take_while(|(expected, actual)| expected == actual)
        .count();
    Some(same + 1)
}

/// What the system calls an error differs from one system to the next: its
/// number is left out of a comparison.
pub fn comparable(text: &str) -> String {
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"os error \d+").expect("the pattern is a constant"));
    NUMBER.replace_all(text, "os error").into_owned()
}

/// The files in `output/` of a listing, by name.
///
/// # Errors
///
/// Fails if they cannot be read.
pub fn written(workspace: &Workspace, slug: &str) -> Result<BTreeMap<String, String>> {
    let dir = workspace.listing(slug).join("output");
    let files = if dir.exists() {
        files_below(&dir)?
    } else {
        Vec::new()
    };
    let read = |file: &PathBuf| Ok((slashed(file), read(&dir.join(file))?));
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_page_s_addresses_and_one_time() {
        let addresses = [("127.0.0.1:43211".to_owned(), "127.0.0.1:50051".to_owned())];
        let output = "2026-11-22T17:05:50.679326Z  INFO on 127.0.0.1:43211\ndate: Sun, 22 Nov 2026 17:05:50 GMT\n";
        assert_eq!(
            normalise(output, &addresses),
            "2026-01-01T00:00:00.000000Z  INFO on 127.0.0.1:50051\ndate: Thu, 01 Jan 2026 00:00:00 GMT\n"
        );
        let shown = normalise("pid=123 serial=5a:00:ff x", &[]);
        assert!(shown.starts_with("pid=4711 serial=00:00:00:"), "{shown}");
        assert!(shown.ends_with(":00 x"), "{shown}");
        let output = "at 2026-11-22T17:05:50Z elapsed=1.5µs latency=0 ms stream_duration=12 ms \
                      3f2b8c1e-9d4a-4c6e-8f10-0a1b2c3d4e5f";
        assert_eq!(
            normalise(output, &[]),
            "at 2026-01-01T00:00:00Z elapsed=1ms latency=1 ms stream_duration=1 ms \
             00000000-0000-4000-8000-000000000000"
        );
    }

    #[test]
    fn finds_the_first_line_that_differs() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    }
}

//! Runs a session.

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use book::workspace::Workspace;

use crate::{
    build::BuiltListing,
    process::{self, Output, Process, Stdin},
    session::{
        RunOptions,
        format::{Input, Key, Keystroke, Session, SessionFile, Step},
        normalise::normalise,
    },
};

/// The id of any process, on a page.
const PROCESS_ID: &str = "4711";

/// The exit code that a shell reports for SIGKILL.
const KILLED: i32 = 128 + 9;

/// Where the commands of a session are run.
pub struct Place<'a> {
    built: &'a BuiltListing,
    root: &'a Path,
    dir: PathBuf,
    options: RunOptions,
}

/// A program that goes on while others start.
struct Running<'a> {
    step: &'a Step,
    process: Process,
    /// The thread that types. It returns the standard input, which would otherwise end too early.
    typist: JoinHandle<Result<Stdin>>,
    is_killed: bool,
}

impl<'a> Place<'a> {
    pub fn new(
        workspace: &'a Workspace,
        slug: &str,
        built: &'a BuiltListing,
        sessions: &SessionFile,
        options: RunOptions,
    ) -> Self {
        let dir = if options.literal && !sessions.exported {
            workspace.listing(slug)
        } else {
            built.dir.clone()
        };
        Self {
            built,
            root: workspace.root(),
            dir,
            options,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The files that a session writes, by name, with their text if it is run.
    pub fn files(&self, session: &Session) -> Result<Vec<(String, Option<String>)>> {
        if !self.options.external_tools && !session.needs.is_empty() {
            let names = session.program.iter().flat_map(Step::files);
            return Ok(names.map(|name| (name, None)).collect());
        }
        for program in &session.needs {
            ensure!(
                is_on_path(program),
                "`{program}` is not on the PATH: `cargo xtask install-tools` installs it"
            );
        }
        let files = self.run(session)?;
        Ok(files
            .into_iter()
            .map(|(name, text)| (name, Some(text)))
            .collect())
    }

    fn run(&self, session: &Session) -> Result<Vec<(String, String)>> {
        let mut running: Vec<Running> = Vec::new();
        let mut ended: Vec<(&Step, Output)> = Vec::new();
        // Where a program really listens, and what the page says instead.
        let mut addresses: Vec<(String, String)> = Vec::new();
        for step in &session.program {
            if let Some(name) = &step.kills {
                let mut killed = running.remove(find_running(&running, name)?);
                killed.process.kill()?;
                killed.is_killed = true;
                ended.push((killed.step, killed.wait()?));
                continue;
            }
            if let Some(name) = &step.signals {
                let at = find_running(&running, name)?;
                let receiver = &mut running[at].process;
                let command = step.command.replace(PROCESS_ID, &receiver.id().to_string());
                // The shell's own `kill`: there may be no program of that name.
                let mut shell = self.command("sh");
                shell.args(["-c", &command]);
                let output = Process::start(shell)?.wait()?;
                check_exit_code(step, &output, step.exit)?;
                if let Some(line) = &step.until {
                    receiver.wait_for_text(line)?;
                }
                ended.push((step, output));
                continue;
            }
            if let (true, Some(address)) = (self.options.literal, &step.listens) {
                wait_until_free(address)?;
            }
            let command = self.step_command(step, &addresses)?;
            let (mut process, mut stdin) = Process::start_with_stdin(command)?;
            if let Some(shown) = &step.listens {
                let line = process.wait_for("listening on ")?;
                let real = line
                    .trim_start_matches("listening on ")
                    .split([' ', ','])
                    .next()
                    .unwrap_or_default();
                addresses.push((real.to_owned(), shown.clone()));
            }
            if let Some(line) = &step.until {
                stdin.wait_for(line)?;
            }
            let inputs = step.types.clone();
            let started = Running {
                step,
                process,
                typist: thread::spawn(move || type_all(stdin, &inputs)),
                is_killed: false,
            };
            if step.listens.is_some() || step.until.is_some() {
                running.push(started);
            } else {
                ended.push((step, started.wait()?));
            }
        }
        let (listening, others): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|running| running.step.listens.is_some());
        for running in others {
            ended.push((running.step, running.wait()?));
        }
        for mut running in listening.into_iter().rev() {
            if running.step.interrupted_after().is_none() {
                running.process.interrupt()?;
            }
            ended.push((running.step, running.wait()?));
        }
        let mut files = Vec::new();
        for (step, output) in ended {
            let text = normalise(&output.text, &addresses);
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

    /// A command in the folder in which the commands are typed.
    fn command(&self, program: &str) -> Command {
        let mut command = process::command(program);
        command.current_dir(&self.dir);
        command
    }

    fn step_command(&self, step: &Step, addresses: &[(String, String)]) -> Result<Command> {
        let mut typed = step.command.clone();
        if !self.options.literal {
            if let Some(defaults) = &step.defaults {
                typed = format!("{typed} {defaults}");
            }
            if let Some(own) = &step.listens {
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
        if !self.options.literal
            && let Some(command) = self.built_program(&words)?
        {
            return Ok(command);
        }
        let is_xtask = arguments.first().is_some_and(|first| first == "xtask");
        let mut command = if program == "cargo" && is_xtask {
            // `cargo xtask` is typed in the root of the clone.
            let mut command = process::command(program);
            command.current_dir(self.root);
            command
        } else if program == "cargo" && self.dir == self.built.dir {
            self.built.cargo()
        } else {
            self.command(program)
        };
        command.args(arguments);
        Ok(command)
    }

    /// The program that a cargo command would run, if it is built already. Cargo would wait for
    /// other builds, and the programs that have started would not.
    fn built_program(&self, words: &[String]) -> Result<Option<Command>> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (mut command, arguments) = match &words[..] {
            ["cargo", "xtask", "wire", ..] => {
                let mut command = process::command(wire_program()?);
                command.current_dir(self.root);
                (command, &words[2..])
            }
            ["cargo", "run"] => match self.built.default_run() {
                Some(name) => (self.built.bin(&name)?, &[][..]),
                None => return Ok(None),
            },
            [
                "cargo",
                "run",
                flag @ ("--bin" | "--example"),
                name,
                arguments @ ..,
            ] => {
                let arguments = match arguments {
                    ["--", arguments @ ..] => arguments,
                    // An option of cargo's.
                    [option, ..] if option.starts_with('-') => return Ok(None),
                    arguments => arguments,
                };
                let command = match *flag {
                    "--bin" => self.built.bin(name)?,
                    _ => self.built.example(name)?,
                };
                (command, arguments)
            }
            _ => return Ok(None),
        };
        command.args(arguments);
        Ok(Some(command))
    }
}

/// The program whose command `wire` is that of `cargo xtask`.
fn wire_program() -> Result<PathBuf> {
    match WIRE_PROGRAM.get() {
        Some(program) => Ok(program.clone()),
        None => Ok(env::current_exe()?),
    }
}

/// Set by the tests; `cargo xtask transcripts` is such a program itself.
pub static WIRE_PROGRAM: OnceLock<PathBuf> = OnceLock::new();

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The running program with this transcript.
fn find_running(running: &[Running], transcript: &str) -> Result<usize> {
    let at = running
        .iter()
        .position(|running| running.step.transcript.as_deref() == Some(transcript));
    at.ok_or_else(|| anyhow!("no program with the transcript `{transcript}` runs"))
}

/// Waits until a program may listen on `address`. The pages' ports are among those that the system
/// gives to clients, and a client keeps its port for a minute after its connection has ended.
///
/// # Errors
///
/// Fails if the address is not free after two minutes.
pub fn wait_until_free(address: &str) -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(120);
    let deadline = Instant::now() + TIMEOUT;
    while let Err(error) = TcpListener::bind(address) {
        if Instant::now() > deadline {
            bail!("{address} is not free ({error}): end the program that uses it");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

impl Running<'_> {
    /// Waits until everything is typed and the program has ended.
    fn wait(self) -> Result<Output> {
        let typed = self.typist.join();
        let typed = typed.map_err(|_| anyhow!("typing into `{}` failed", self.step.command))?;
        let _stdin = typed?;
        let mut output = self.process.wait()?;
        let code = if self.is_killed {
            KILLED
        } else {
            self.step.exit
        };
        check_exit_code(self.step, &output, code)?;
        // A terminal shows the keys that were pressed, and that a program was killed. Most are
        // added at the end, because what was printed before may still have been on its way. A key
        // that answers a line comes after that line.
        if self.is_killed {
            output.text.push_str("Killed\n");
        } else if let Some(after) = self.step.interrupted_after() {
            let text = &mut output.text;
            let line = text.find(after).unwrap_or(text.len());
            let end = text[line..].find('\n').map(|end| line + end + 1);
            text.insert_str(end.unwrap_or(text.len()), "^C\n");
        } else if self.step.listens.is_some() {
            output.text.push_str("^C\n");
        }
        Ok(output)
    }
}

/// Types everything in order.
fn type_all(mut stdin: Stdin, inputs: &[Input]) -> Result<Stdin> {
    for Input { after, keystroke } in inputs {
        stdin.wait_for(after)?;
        match keystroke {
            Keystroke::Line(line) => stdin.type_line(line)?,
            Keystroke::Key(Key::CtrlD) => stdin.close(),
            Keystroke::Key(Key::CtrlC) => stdin.interrupt()?,
        }
    }
    Ok(stdin)
}

fn check_exit_code(step: &Step, output: &Output, code: i32) -> Result<()> {
    ensure!(
        output.code == code,
        "`{}` ended with {} and not with {code}; it printed:\n{}",
        step.command,
        output.code,
        output.text
    );
    Ok(())
}

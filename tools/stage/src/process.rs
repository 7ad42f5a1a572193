//! Processes as they run in a terminal: what they print, in its order.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, PipeReader, Write},
    os::unix::process::ExitStatusExt,
    process::{self, Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{sys::signal, unistd::Pid};

/// How long to wait for a line or for the end of a program before it is killed as hung. `cargo run`
/// may have to build first, or to wait for another build on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A command without the variables that `cargo test` and `cargo run` set, and those that a build
/// script could track. Build scripts that do (ring's does) would rerun, and everything above them
/// would be rebuilt.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let is_cargos = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_EXE_"];
        if is_cargos.iter().any(|prefix| text.starts_with(prefix))
            || ["OUT_DIR", "RUSTC"].contains(&text.as_ref())
        {
            command.env_remove(&name);
        }
    }
    command
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    buffer: Arc<OutputBuffer>,
}

/// The standard input of a running program. Dropping it ends the program's input.
#[derive(Debug)]
pub struct Stdin {
    input: Option<ChildStdin>,
    shown: String,
    buffer: Arc<OutputBuffer>,
    /// How much of the buffer has been read.
    seen: usize,
    pid: u32,
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Standard output and standard error, as they came.
    pub text: String,
    /// The exit code; as in a shell, 128 and the signal's number if a signal
    /// ended it.
    pub code: i32,
}

#[derive(Debug, Default)]
struct OutputBuffer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    closed: bool,
}

impl OutputBuffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, pipe: PipeReader) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            self.lock().text.push_str(&String::from_utf8_lossy(&line));
            self.changed.notify_all();
            line.clear();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for a whole line that `is_it` in the text from `start` on, and
    /// returns it with where it ends; none if the program ends or hangs before.
    fn line(&self, start: usize, matches: impl Fn(&str) -> bool) -> Option<(String, usize)> {
        self.wait(|state| {
            let mut end = start;
            state.text[start..].split_inclusive('\n').find_map(|line| {
                end += line.len();
                let found = line.ends_with('\n') && matches(line);
                found.then(|| (line.trim_end().to_owned(), end))
            })
        })
    }

    /// Waits until `done` finds something, or nothing more can come.
    fn wait<T>(&self, done: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + TIMEOUT;
        let mut state = self.lock();
        loop {
            if let Some(found) = done(&state) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Process {
    /// Starts `command`, without colours, backtraces or a log filter of the
    /// caller's, so that what it prints does not depend on who runs it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start(command: Command) -> Result<Self> {
        Ok(Self::spawn(command, Stdio::null())?.0)
    }

    /// Starts `command` in the same way, with a standard input to write to.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start_with_stdin(command: Command) -> Result<(Self, Stdin)> {
        let (process, input) = Self::spawn(command, Stdio::piped())?;
        let stdin = Stdin {
            input,
            shown: process.shown.clone(),
            buffer: Arc::clone(&process.buffer),
            seen: 0,
            pid: process.child.id(),
        };
        Ok((process, stdin))
    }

    fn spawn(mut command: Command, input: Stdio) -> Result<(Self, Option<ChildStdin>)> {
        restore_default_sigint();
        let shown = format!("{command:?}");
        let (reader, writer) = std::io::pipe()?;
        let mut child = command
            .env("NO_COLOR", "1")
            .env("CARGO_TERM_QUIET", "true")
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LOG")
            .stdin(input)
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        // The command holds the pipe's other end: while it lives, the pipe does not close.
        drop(command);
        let buffer = Arc::new(OutputBuffer::default());
        let follower = Arc::clone(&buffer);
        thread::spawn(move || follower.follow(reader));
        let input = child.stdin.take();
        let process = Self {
            child,
            shown,
            buffer,
        };
        Ok((process, input))
    }

    /// Waits for the line that starts with `start`, and returns it.
    ///
    /// # Errors
    ///
    /// Fails, with all that the program printed, if it ends or hangs before.
    pub fn wait_for(&mut self, start: &str) -> Result<String> {
        self.wait_for_line(start, |line| line.starts_with(start))
    }

    /// Waits for a line with `text` in it, and returns it.
    ///
    /// # Errors
    ///
    /// Fails, with all that the program printed, if it ends or hangs before.
    pub fn wait_for_text(&mut self, text: &str) -> Result<String> {
        self.wait_for_line(text, |line| line.contains(text))
    }

    fn wait_for_line(&mut self, wanted: &str, matches: impl Fn(&str) -> bool) -> Result<String> {
        match self.buffer.line(0, matches) {
            Some((line, _)) => Ok(line),
            None => {
                let output = self.kill_and_wait();
                bail!(
                    "{} printed no line `{wanted} …`; it printed:\n{output}",
                    self.shown
                )
            }
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.buffer.lock().text.clone()
    }

    /// Presses Ctrl-C.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already.
    pub fn interrupt(&mut self) -> Result<()> {
        self.signal("SIGINT")
    }

    /// Asks the program to end, as `docker stop` and Kubernetes do.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal("SIGTERM")
    }

    /// Kills it: it cannot clean up.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.signal("SIGKILL")
    }

    /// Sends SIGHUP, at which servers reload their files.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already.
    pub fn hang_up(&mut self) -> Result<()> {
        self.signal("SIGHUP")
    }

    /// Stops it with its connections open.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal("SIGSTOP")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&mut self, name: &str) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let (code, output) = (code(status), self.output());
            bail!(
                "{} has ended already, with {code}; it printed:\n{output}",
                self.shown
            );
        }
        send(self.child.id(), name)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// Fails, with all that the program printed, if it does not end.
    pub fn wait(mut self) -> Result<Output> {
        if self
            .buffer
            .wait(|state| state.closed.then_some(()))
            .is_none()
        {
            let output = self.kill_and_wait();
            bail!("{} does not end; it printed:\n{output}", self.shown);
        }
        let status = self.child.wait()?;
        Ok(Output {
            text: self.output(),
            code: code(status),
        })
    }

    /// Kills it if it still runs; what it printed.
    fn kill_and_wait(&mut self) -> String {
        // It may have ended by itself, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
        self.output()
    }
}

impl Stdin {
    /// Waits for a line that contains `text`, below the last line that was waited for.
    ///
    /// # Errors
    ///
    /// Fails, with all that the program printed, if it ends or hangs before.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let line = self.buffer.line(self.seen, |line| line.contains(text));
        let (_, end) = line.ok_or_else(|| {
            anyhow!(
                "{} printed no line with `{text}`; it printed:\n{}",
                self.shown,
                self.buffer.lock().text
            )
        })?;
        self.seen = end;
        Ok(())
    }

    /// Types a line. The output shows it, as a terminal would.
    ///
    /// # Errors
    ///
    /// Fails if the program takes no more.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        self.buffer.lock().text.push_str(&line);
        let input = self
            .input
            .as_mut()
            .with_context(|| format!("the input of {} has ended", self.shown))?;
        input.write_all(line.as_bytes())?;
        Ok(input.flush()?)
    }

    /// Presses Ctrl-D: the end of the input.
    pub fn close(&mut self) {
        self.buffer.lock().text.push_str("^D\n");
        self.input = None;
    }

    /// Presses Ctrl-C.
    ///
    /// # Errors
    ///
    /// Fails if the process has ended already.
    pub fn interrupt(&self) -> Result<()> {
        send(self.pid, "SIGINT")
    }
}

/// Gives the processes that we start the default handler of SIGINT. A shell starts its background
/// jobs with SIGINT ignored, which processes inherit; they would not end at Ctrl-C. A signal that has
/// a handler here is reset to the default in what we start.
fn restore_default_sigint() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // As the system's default, but for the code, which a shell would give.
        ctrlc::set_handler(|| process::exit(130)).ok();
    });
}

/// Sends the signal `name` to a process that we started.
fn send(pid: u32, name: &str) -> Result<()> {
    let pid = Pid::from_raw(pid.cast_signed());
    Ok(signal::kill(pid, name.parse::<signal::Signal>()?)?)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_and_wait();
    }
}

fn code(status: ExitStatus) -> i32 {
    if let Some(signal) = status.signal() {
        return 128 + signal;
    }
    status.code().unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_ends_a_process_without_a_handler() -> Result<()> {
        let (mut cat, _stdin) = Process::start_with_stdin(Command::new("cat"))?;
        cat.interrupt()?;
        assert_eq!(cat.wait()?.code, 130);
        Ok(())
    }

    /// The same test, as the background of a shell would run it.
    #[test]
    fn ctrl_c_works_when_sigint_was_ignored() -> Result<()> {
        let output = Command::new("sh")
            .args(["-c", "trap '' INT; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe()?)
            .args([
                "--exact",
                "process::tests::ctrl_c_ends_a_process_without_a_handler",
            ])
            .output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}");
        assert!(printed.contains("1 passed"), "{printed}");
        Ok(())
    }
}

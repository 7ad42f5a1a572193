//! Programs as they run in a terminal: what they print, in its order.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, PipeReader, Write},
    process::{self, Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

/// No program of the book takes this long for a line or for its end: one that
/// does hangs, and is killed. (`cargo run` may have to build first, or wait for
/// another build, on a machine that has other things to do.)
const PATIENCE: Duration = Duration::from_secs(600);

/// A command in the environment of a reader's terminal. Cargo tells a program that it
/// runs of its package, and so it does us: a build script that looks at that, as ring's
/// does, would run anew each time, and all that stands on it would be built again.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            command.env_remove(&name);
        }
    }
    command
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    shown: String,
    screen: Arc<Screen>,
}

/// The keyboard of a running program. Dropping it ends the program's input.
#[derive(Debug)]
pub struct Keyboard {
    input: Option<ChildStdin>,
    shown: String,
    screen: Arc<Screen>,
    /// How much of the screen has been read.
    seen: usize,
    pid: u32,
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Standard output and standard error, as they came.
    pub output: String,
    /// The exit code; as in a shell, 128 and the signal's number if a signal
    /// ended it.
    pub code: i32,
}

#[derive(Debug, Default)]
struct Screen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    closed: bool,
}

impl Screen {
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
    fn line(&self, start: usize, is_it: impl Fn(&str) -> bool) -> Option<(String, usize)> {
        self.wait(|state| {
            let mut end = start;
            state.text[start..].split_inclusive('\n').find_map(|line| {
                end += line.len();
                let found = line.ends_with('\n') && is_it(line);
                found.then(|| (line.trim_end().to_owned(), end))
            })
        })
    }

    /// Waits until `done` finds something, or nothing more can come.
    fn wait<T>(&self, done: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
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

impl Program {
    /// Starts `command`, without colours, backtraces or a log filter of the
    /// caller's, so that what it prints does not depend on who runs it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start(command: Command) -> Result<Self> {
        Ok(Self::spawn(command, Stdio::null())?.0)
    }

    /// Starts `command` in the same way, with a keyboard.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start_with_keyboard(command: Command) -> Result<(Self, Keyboard)> {
        let (program, input) = Self::spawn(command, Stdio::piped())?;
        let keyboard = Keyboard {
            input,
            shown: program.shown.clone(),
            screen: Arc::clone(&program.screen),
            seen: 0,
            pid: program.child.id(),
        };
        Ok((program, keyboard))
    }

    fn spawn(mut command: Command, input: Stdio) -> Result<(Self, Option<ChildStdin>)> {
        take_ctrl_c();
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
        let screen = Arc::new(Screen::default());
        let follower = Arc::clone(&screen);
        thread::spawn(move || follower.follow(reader));
        let input = child.stdin.take();
        let program = Self {
            child,
            shown,
            screen,
        };
        Ok((program, input))
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

    fn wait_for_line(&mut self, wanted: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        match self.screen.line(0, is_it) {
            Some((line, _)) => Ok(line),
            None => {
                let output = self.end_now();
                bail!(
                    "{} printed no line `{wanted} …`; it printed:\n{output}",
                    self.shown
                )
            }
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.screen.lock().text.clone()
    }

    /// Presses Ctrl-C.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already, and on systems other than Unix.
    pub fn interrupt(&mut self) -> Result<()> {
        self.signal("SIGINT")
    }

    /// Asks the program to end, as `docker stop` and Kubernetes do.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already, and on systems other than Unix.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal("SIGTERM")
    }

    /// Kills it, without any chance to say goodbye.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already, and on systems other than Unix.
    pub fn kill(&mut self) -> Result<()> {
        self.signal("SIGKILL")
    }

    /// Tells it that the terminal is gone, by which servers are told to read their
    /// files again.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already, and on systems other than Unix.
    pub fn hang_up(&mut self) -> Result<()> {
        self.signal("SIGHUP")
    }

    /// Stops it where it is, connections and all.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended already, and on systems other than Unix.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal("SIGSTOP")
    }

    /// The number of its process.
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

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Fails, with all that the program printed, if it does not end.
    pub fn end(mut self) -> Result<Ended> {
        if self
            .screen
            .wait(|state| state.closed.then_some(()))
            .is_none()
        {
            let output = self.end_now();
            bail!("{} does not end; it printed:\n{output}", self.shown);
        }
        let status = self.child.wait()?;
        Ok(Ended {
            output: self.output(),
            code: code(status),
        })
    }

    /// Kills it if it still runs; what it printed.
    fn end_now(&mut self) -> String {
        // It may have ended by itself, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
        self.output()
    }
}

impl Keyboard {
    /// Waits for a line that has `text` in it, below the one that it waited
    /// for before.
    ///
    /// # Errors
    ///
    /// Fails, with all that the program printed, if it ends or hangs before.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let line = self.screen.line(self.seen, |line| line.contains(text));
        let (_, end) = line.ok_or_else(|| {
            anyhow!(
                "{} printed no line with `{text}`; it printed:\n{}",
                self.shown,
                self.screen.lock().text
            )
        })?;
        self.seen = end;
        Ok(())
    }

    /// Types a line. A terminal shows what is typed, and so does the screen.
    ///
    /// # Errors
    ///
    /// Fails if the program takes no more.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        self.screen.lock().text.push_str(&line);
        let input = self
            .input
            .as_mut()
            .with_context(|| format!("the input of {} has ended", self.shown))?;
        input.write_all(line.as_bytes())?;
        Ok(input.flush()?)
    }

    /// Presses Ctrl-D: the end of the input.
    pub fn end_input(&mut self) {
        self.screen.lock().text.push_str("^D\n");
        self.input = None;
    }

    /// Presses Ctrl-C.
    ///
    /// # Errors
    ///
    /// Fails on systems other than Unix.
    pub fn interrupt(&self) -> Result<()> {
        send(self.pid, "SIGINT")
    }
}

/// A shell starts what runs in its background with SIGINT ignored. Programs that
/// we start would inherit that, and those that leave Ctrl-C to the system would
/// not end at it. What has a handler here is the system's default for them.
fn take_ctrl_c() {
    static TAKEN: Once = Once::new();
    TAKEN.call_once(|| {
        // As the system's default, but for the code, which a shell would give.
        ctrlc::set_handler(|| process::exit(130)).ok();
    });
}

/// Sends the signal `name` to a process of ours.
fn send(pid: u32, name: &str) -> Result<()> {
    #[cfg(unix)]
    {
        use nix::{sys::signal, unistd::Pid};
        let pid = Pid::from_raw(pid.cast_signed());
        Ok(signal::kill(pid, name.parse::<signal::Signal>()?)?)
    }
    #[cfg(not(unix))]
    bail!("{name} can be sent to another process on Unix only")
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end_now();
    }
}

fn code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(-1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_ends_a_program_that_has_no_handler() -> Result<()> {
        let (mut cat, _keyboard) = Program::start_with_keyboard(Command::new("cat"))?;
        cat.interrupt()?;
        assert_eq!(cat.end()?.code, 130);
        Ok(())
    }

    /// The same test, as the background of a shell would run it.
    #[test]
    fn and_where_ctrl_c_is_ignored() -> Result<()> {
        let output = Command::new("sh")
            .args(["-c", "trap '' INT; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe()?)
            .args([
                "--exact",
                "program::tests::ctrl_c_ends_a_program_that_has_no_handler",
            ])
            .output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}");
        assert!(printed.contains("1 passed"), "{printed}");
        Ok(())
    }
}

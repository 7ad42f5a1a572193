//! Programs as they run in a terminal: what they print, in its order.

use std::{
    io::{BufRead, BufReader, PipeReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// No program of the book takes this long for a line or for its end: one that
/// does hangs, and is killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    shown: String,
    screen: Arc<Screen>,
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
    pub fn start(mut command: Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let (reader, writer) = std::io::pipe()?;
        let child = command
            .env("NO_COLOR", "1")
            .env("CARGO_TERM_QUIET", "true")
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        // The command holds the pipe's other end: while it lives, the pipe does not close.
        drop(command);
        let screen = Arc::new(Screen::default());
        let follower = Arc::clone(&screen);
        thread::spawn(move || follower.follow(reader));
        Ok(Self {
            child,
            shown,
            screen,
        })
    }

    /// Waits for the line that starts with `start`, and returns it.
    ///
    /// # Errors
    ///
    /// Fails, with all that the program printed, if it ends or hangs before.
    pub fn wait_for(&mut self, start: &str) -> Result<String> {
        let line = self.screen.wait(|state| {
            state
                .text
                .split_inclusive('\n')
                .find(|line| line.starts_with(start) && line.ends_with('\n'))
                .map(str::to_owned)
        });
        match line {
            Some(line) => Ok(line.trim_end().to_owned()),
            None => {
                let output = self.kill();
                bail!(
                    "{} printed no line `{start} …`; it printed:\n{output}",
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

    fn signal(&mut self, name: &str) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let (code, output) = (code(status), self.output());
            bail!(
                "{} has ended already, with {code}; it printed:\n{output}",
                self.shown
            );
        }
        #[cfg(unix)]
        {
            use nix::{sys::signal, unistd::Pid};
            let pid = Pid::from_raw(self.child.id().cast_signed());
            signal::kill(pid, name.parse::<signal::Signal>()?)?;
            Ok(())
        }
        #[cfg(not(unix))]
        bail!("{name} can be sent to another process on Unix only")
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
            let output = self.kill();
            bail!("{} does not end; it printed:\n{output}", self.shown);
        }
        let status = self.child.wait()?;
        Ok(Ended {
            output: self.output(),
            code: code(status),
        })
    }

    fn kill(&mut self) -> String {
        // It may have ended by itself, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
        self.output()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(-1)
}

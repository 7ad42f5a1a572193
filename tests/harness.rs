//! Starts the real programs of a listing, as its reader does: exported, built
//! outside the workspace, on ports that are free.

use std::{
    ffi::OsStr,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use xtask::{
    program::{self, Ended, Keyboard, Program},
    session::{self, Built},
    workspace::Workspace,
};

/// What a test returns.
pub type Result<T = (), E = anyhow::Error> = std::result::Result<T, E>;

/// A command as it is typed: words with a blank between two.
pub fn typed(command: &str) -> Command {
    let mut words = command.split(' ');
    let mut command = program::command(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Waits until somebody listens at `address` who does not say so.
///
/// # Errors
///
/// Fails if nobody does in a minute.
pub fn answers(address: SocketAddr) -> Result {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "nobody listens at {address}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The book.
pub fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Workspace::at(root.expect("tests/ is in the workspace"))
}

/// A listing, built.
#[derive(Debug)]
pub struct Listing {
    built: Built,
}

impl Listing {
    /// Exports and builds the listing `slug`; at once if nothing has changed.
    ///
    /// # Errors
    ///
    /// Fails with the compiler's messages.
    pub fn build(slug: &str) -> Result<Self> {
        Ok(Self {
            built: session::build(&workspace(), slug)?,
        })
    }

    /// The exported project's folder.
    pub fn dir(&self) -> &Path {
        &self.built.dir
    }

    /// Runs an example to its end, and returns what it printed.
    ///
    /// # Errors
    ///
    /// Fails if it does, or says anything on its standard error.
    pub fn example(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.built.example(name).args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.is_empty(), "{said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started, or does not end.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Ended> {
        self.start(name, arguments)?.end()
    }

    /// Starts a program, and does not wait for it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Program> {
        let mut command = self.built.bin(name)?;
        command.args(arguments);
        Program::start(command)
    }

    /// Starts a program that somebody types into.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start_with_keyboard<A: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<(Program, Keyboard)> {
        let mut command = self.built.bin(name)?;
        command.args(arguments);
        Program::start_with_keyboard(command)
    }

    /// Starts a server on a free port, and waits until it listens.
    ///
    /// # Errors
    ///
    /// Fails with what the server printed if it does not.
    pub fn server(&self, name: &str) -> Result<Server> {
        self.server_with(name, &[])
    }

    /// The same, with arguments behind the address.
    ///
    /// # Errors
    ///
    /// Fails with what the server printed if it does not.
    pub fn server_with(&self, name: &str, arguments: &[&str]) -> Result<Server> {
        self.serving(name, &[&["127.0.0.1:0"], arguments].concat())
    }

    /// The same, with these arguments alone: the address among them.
    ///
    /// # Errors
    ///
    /// Fails with what the server printed if it does not.
    pub fn serving(&self, name: &str, arguments: &[&str]) -> Result<Server> {
        let mut program = self.start(name, arguments)?;
        let line = program.wait_for("listening on ")?;
        let address = line.trim_start_matches("listening on ");
        let address = address
            .parse()
            .with_context(|| format!("`{address}` is no address"))?;
        Ok(Server { program, address })
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// The server's process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// The address for a client.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Presses Ctrl-C and waits for the end.
    ///
    /// # Errors
    ///
    /// Fails if the server has ended before, or does not end.
    pub fn stop(mut self) -> Result<Ended> {
        self.program.interrupt()?;
        self.program.end()
    }
}

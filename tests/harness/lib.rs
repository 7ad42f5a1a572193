//! Starts the real programs of a listing, as its reader does: exported, built outside the
//! workspace, on free ports. And runs the tests that do so.

mod auth_programs;
mod captured_log;
pub mod http2;
mod in_process;
mod pki;
pub mod table;
pub mod test;

use std::{
    ffi::OsStr,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use book::workspace::Workspace;
pub use harness_macros::test;
use stage::{
    build::{self, BuiltListing},
    process::{self, Output, Process, Stdin},
};

pub use auth_programs::{AuthPrograms, Issuer};
pub use captured_log::CapturedLog;
pub use in_process::spawn_in_process;
pub use pki::Pki;

/// What a test returns.
pub type Result<T = (), E = anyhow::Error> = std::result::Result<T, E>;

/// A command as it is typed: words with a space between two.
pub fn split_command(command: &str) -> Command {
    let mut words = command.split(' ');
    let mut command = process::command(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Waits until a program listens at `address`, for programs that do not print that they do.
///
/// # Errors
///
/// Fails if none does within a minute.
pub fn wait_until_listening(address: SocketAddr) -> Result {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "no program listens at {address}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Builds the listing `slug`, and starts its server `<slug>-server` on a free port.
///
/// # Errors
///
/// Fails with the compiler's messages, or with what the server printed if it does not listen.
pub fn start_server(slug: &str) -> Result<(Listing, Server)> {
    let listing = Listing::build(slug)?;
    let server = listing.server(&format!("{slug}-server"))?;
    Ok((listing, server))
}

/// The workspace of the book.
pub fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    Workspace::at(root.expect("tests/harness is in the workspace"))
}

/// A listing, built.
#[derive(Debug)]
pub struct Listing {
    built: Arc<BuiltListing>,
}

impl Listing {
    /// Exports and builds the listing `slug`, once for all tests of this process.
    ///
    /// # Errors
    ///
    /// Fails with the compiler's messages.
    pub fn build(slug: &str) -> Result<Self> {
        Ok(Self {
            built: build::build(&workspace(), slug)?,
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
    /// Fails if the example exits with an error or writes to standard error.
    pub fn example(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.built.example(name)?.args(arguments).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && stderr.is_empty(), "{stderr}");
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
    ) -> Result<Output> {
        self.start(name, arguments)?.wait()
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
    ) -> Result<Process> {
        let mut command = self.command(name)?;
        command.args(arguments);
        Process::start(command)
    }

    /// A command for a program, for a test that starts it in a way of its own.
    ///
    /// # Errors
    ///
    /// Lists the programs of the listing if it has none of that name.
    pub fn command(&self, name: &str) -> Result<Command> {
        self.built.bin(name)
    }

    /// Starts a program that a test types into.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start_with_stdin<A: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<(Process, Stdin)> {
        let mut command = self.command(name)?;
        command.args(arguments);
        Process::start_with_stdin(command)
    }

    /// Starts a server on a free port, and waits until it listens.
    ///
    /// # Errors
    ///
    /// Fails with what the server printed if it does not.
    pub fn server(&self, name: &str) -> Result<Server> {
        self.server_with_args(name, &[])
    }

    /// The same, with arguments after the address.
    ///
    /// # Errors
    ///
    /// Fails with what the server printed if it does not.
    pub fn server_with_args(&self, name: &str, arguments: &[&str]) -> Result<Server> {
        self.start_server(name, &[&["127.0.0.1:0"], arguments].concat())
    }

    /// The same, with all of its arguments: the address is among them.
    ///
    /// # Errors
    ///
    /// Fails with what the server printed if it does not.
    pub fn start_server(&self, name: &str, arguments: &[&str]) -> Result<Server> {
        let mut process = self.start(name, arguments)?;
        let line = process.wait_for("listening on ")?;
        let address = line.trim_start_matches("listening on ");
        let address = address
            .parse()
            .with_context(|| format!("`{address}` is not an address"))?;
        Ok(Server { process, address })
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// The server's process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// The address for a client.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address for a client that uses TLS.
    pub fn https_uri(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Presses Ctrl-C and waits until the server has ended.
    ///
    /// # Errors
    ///
    /// Fails if the server has ended already, or does not end.
    pub fn stop(mut self) -> Result<Output> {
        self.process.interrupt()?;
        self.process.wait()
    }
}

//! The programs of the chapter `authentication`, for the tests that need tokens.

use std::{fs, path::Path};

use anyhow::ensure;
use stage::process::{Output, Process, Stdin};
use tempfile::TempDir;

use crate::{Listing, Result, Server};

/// The programs of `authentication`, with a folder of secrets of their own. Dropping it deletes
/// the folder.
#[derive(Debug)]
pub struct AuthPrograms {
    listing: Listing,
    secrets: TempDir,
}

/// A running token issuer. Dropping it kills it.
#[derive(Debug)]
pub struct Issuer {
    /// The issuer's process.
    pub process: Process,
    /// Its standard input, which takes `rotate` and `revoke`.
    pub stdin: Stdin,
    /// Its URL, which its tokens name as their `iss`.
    pub url: String,
}

impl AuthPrograms {
    /// Builds the listing, and makes the certificates that its programs need.
    ///
    /// # Errors
    ///
    /// Fails with the compiler's messages, or if no certificates can be made.
    pub fn build() -> Result<Self> {
        let programs = Self {
            listing: Listing::build("authentication")?,
            secrets: TempDir::new()?,
        };
        programs.make_certificates()?;
        Ok(programs)
    }

    /// Replaces the certificates by those of a new certificate authority.
    ///
    /// # Errors
    ///
    /// Fails if the program for them does.
    pub fn make_certificates(&self) -> Result {
        let output = self.run("authentication-certificates", &[self.secrets()])?;
        ensure!(output.code == 0, "{}", output.text);
        Ok(())
    }

    /// The folder of secrets, as an argument.
    pub fn secrets(&self) -> &str {
        // The names of temporary folders are ASCII.
        self.secrets_dir().to_str().unwrap_or_default()
    }

    /// The folder of secrets.
    pub fn secrets_dir(&self) -> &Path {
        self.secrets.path()
    }

    /// The content of a file of secrets.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn secret(&self, file: &str) -> Result<String> {
        let secret = fs::read_to_string(self.secrets_dir().join(file))?;
        Ok(secret.trim_end().to_owned())
    }

    /// The file with the certificate of the authority that the server's certificate is from.
    pub fn ca_file(&self) -> String {
        format!("{}/ca.pem", self.secrets())
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started, or does not end.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        self.listing.run(name, arguments)
    }

    /// Starts a program, and does not wait for it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        self.listing.start(name, arguments)
    }

    /// Starts the issuer of the listing. Its tokens live for `lifetime` seconds, and a new key is
    /// published `lead` seconds before it signs.
    ///
    /// # Errors
    ///
    /// Fails with what the issuer printed if it does not listen.
    pub fn start_issuer(&self, lifetime: &str, lead: &str) -> Result<Issuer> {
        let arguments = ["127.0.0.1:0", self.secrets(), lifetime, lead];
        let (mut process, stdin) = self
            .listing
            .start_with_stdin("authentication-issuer", arguments)?;
        let line = process.wait_for("listening on ")?;
        let url = line.replace("listening on ", "http://");
        Ok(Issuer {
            process,
            stdin,
            url,
        })
    }

    /// Starts the server, which fetches the keys of `issuer` again every `refresh` seconds, and
    /// logs at `level`.
    ///
    /// # Errors
    ///
    /// Fails with what the server printed if it does not listen.
    pub fn start_server(&self, issuer: &str, refresh: &str, level: &str) -> Result<Server> {
        let arguments = ["127.0.0.1:0", issuer, self.secrets(), refresh, level];
        self.listing
            .start_server("authentication-server", &arguments)
    }

    /// Runs the client to its end. The arguments are those after the folder of secrets.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started, or does not end.
    pub fn run_client(&self, server: &Server, issuer: &str, arguments: &[&str]) -> Result<Output> {
        let uri = server.https_uri();
        let arguments = [&[uri.as_str(), issuer, self.secrets()], arguments].concat();
        self.run("authentication-client", &arguments)
    }
}

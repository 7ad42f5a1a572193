//! Certificates for the tests of TLS.

use std::path::Path;

use anyhow::ensure;
use tempfile::TempDir;

use crate::{Listing, Result};

const AUTHORITY: &str = "transport-security-authority";

/// A folder of certificates and keys, issued by a certificate authority of its own: `ca.pem`,
/// `server.pem`, `client.pem`, and a key for each. Dropping it deletes the folder.
#[derive(Debug)]
pub struct Pki {
    dir: TempDir,
}

impl Pki {
    /// Issues all certificates with the authority of `listing`, which is `transport-security`.
    ///
    /// # Errors
    ///
    /// Fails if the authority does.
    pub fn new(listing: &Listing) -> Result<Self> {
        let pki = Self {
            dir: TempDir::new()?,
        };
        pki.issue(listing, &[])?;
        Ok(pki)
    }

    /// Issues new certificates. The arguments are those of the authority after the folder: the
    /// lifetime in days, and the names of the server.
    ///
    /// # Errors
    ///
    /// Fails if the authority does.
    pub fn issue(&self, listing: &Listing, arguments: &[&str]) -> Result {
        let output = listing.run(AUTHORITY, [&[self.folder()], arguments].concat())?;
        ensure!(output.code == 0, "{}", output.text);
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The folder, as an argument.
    pub fn folder(&self) -> &str {
        // The names of temporary folders are ASCII.
        self.path().to_str().unwrap_or_default()
    }

    /// A file in the folder, as an argument.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder())
    }
}

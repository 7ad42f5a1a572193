//! `authentication-certificates [SECRETS]` makes a certificate for a server on this
//! machine, in the folder SECRETS.

use std::{env, path::PathBuf};

use authentication::certificates;

fn main() -> anyhow::Result<()> {
    let folder = env::args().nth(1);
    let folder = PathBuf::from(folder.as_deref().unwrap_or("secrets"));
    certificates::make(&folder)?;
    println!(
        "made ca.pem, server.pem and server.key in {}",
        folder.display()
    );
    Ok(())
}

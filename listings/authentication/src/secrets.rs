//! Secrets: drawn at random, and kept in files that only their owner can read.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

/// `N` bytes that nobody can guess.
///
/// # Errors
///
/// Fails if the system has none to give.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.ok().context("the system gives no random bytes")?;
    Ok(bytes)
}

/// A secret of 256 bits, as 43 letters, digits, `-` and `_`.
///
/// # Errors
///
/// Fails if the system has no random bytes to give.
pub fn secret() -> anyhow::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

// ANCHOR: folder
/// Makes the folder for secrets, unless it is there. Only its owner can look into
/// it, and git passes over it.
///
/// # Errors
///
/// Fails if it cannot be made.
pub fn folder(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let made = made.and_then(|()| fs::write(folder.join(".gitignore"), "*\n"));
    made.with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Writes a file that is nobody else's to read, at no time: its mode is there
/// when the file is. A file that is there already is replaced as a whole.
///
/// # Errors
///
/// Fails if it cannot be written.
pub fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    // The old one may have another mode, and somebody may have it open.
    let new = file.with_extension("new");
    fs::remove_file(&new).ok();
    let written = create(&new, content).and_then(|()| fs::rename(&new, file));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// Writes a file that is not there yet.
fn create(file: &Path, content: &str) -> io::Result<()> {
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    new.write_all(content.as_bytes())
}
// ANCHOR_END: folder

/// What is in the file; a new secret, which is then in the file, if there is
/// none.
///
/// # Errors
///
/// Fails if the file can neither be read nor written.
pub fn read_or_make(file: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(file) {
        Ok(secret) => Ok(secret.trim_end().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = secret()?;
            write(file, &format!("{secret}\n"))?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

//! Tables that a test measures, a page includes, and `SNAPSHOTS=overwrite` records.

use std::{env, fs};

use anyhow::{Context, ensure};

use crate::{Result, workspace};

/// Whether what was recorded is to be written again: `SNAPSHOTS=overwrite`.
pub fn is_overwriting() -> bool {
    env::var("SNAPSHOTS").is_ok_and(|mode| mode == "overwrite")
}

/// Compares `measured` with the table in `file`, which is relative to the root of the book, by what
/// `key` makes of both: what depends on the machine is left out there.
///
/// # Errors
///
/// Fails with both tables if they differ.
pub fn compare<K: PartialEq>(file: &str, measured: &str, key: impl Fn(&str) -> K) -> Result {
    let path = workspace().root().join(file);
    if is_overwriting() {
        fs::write(&path, measured)?;
    }
    let recorded = fs::read_to_string(&path).context(file.to_owned())?;
    ensure!(
        key(&recorded) == key(measured),
        "{file} shows\n{recorded}\nbut a run gave\n{measured}\n\
         If that is right, run the test again with SNAPSHOTS=overwrite."
    );
    Ok(())
}

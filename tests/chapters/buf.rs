//! The chapter `buf`: the code that is kept is the code that is generated.

use std::{fs, path::Path};

use anyhow::ensure;
use harness::{Result, typed, workspace};
use tempfile::TempDir;
use xtask::{
    export::export,
    workspace::{files_below, read, write},
};

/// What is kept, and the command of the pages that writes it.
const KEPT: [(&str, &str); 2] = [
    ("src/pb", "buf generate"),
    ("renumbered/src/pb", "buf generate renumbered -o renumbered"),
];

/// Takes the listing home, changes what is in there, and generates the code anew:
/// whether it is what the listing has.
fn is_fresh(change: impl Fn(&Path) -> Result) -> Result<bool> {
    let dir = TempDir::new()?;
    let home = dir.path().join("buf");
    export(&workspace(), "buf", &home)?;
    change(&home)?;
    let listing = workspace().listing("buf");
    for (folder, command) in KEPT {
        fs::remove_dir_all(home.join(folder))?;
        let output = typed(command).current_dir(&home).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command}: {said}");
        let (new, kept) = (home.join(folder), listing.join(folder));
        let files = files_below(&new)?;
        if files != files_below(&kept)? {
            return Ok(false);
        }
        for file in files {
            if read(&new.join(&file))? != read(&kept.join(&file))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[test]
#[ignore = "needs buf, protoc-gen-prost and protoc-gen-tonic"]
fn the_code_that_is_kept_is_fresh() -> Result {
    ensure!(
        is_fresh(|_| Ok(()))?,
        "listings/buf has code that `buf generate` would write otherwise: \
         cargo xtask export buf ../buf, say there what the pages say, and copy it"
    );
    Ok(())
}

#[test]
#[ignore = "needs buf, protoc-gen-prost and protoc-gen-tonic"]
fn a_contract_that_was_changed_is_noticed() -> Result {
    let changed = |home: &Path| {
        let contract = home.join("proto/hello/v1/hello.proto");
        let text =
            read(&contract)?.replace("string name = 1;", "string name = 1;\n  string from = 2;");
        write(&contract, text)
    };
    ensure!(!is_fresh(changed)?);
    Ok(())
}

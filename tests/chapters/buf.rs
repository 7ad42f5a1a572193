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

/// The rows of the page's table: what is changed, and whether `FILE` and `WIRE`
/// allow it.
const CHANGES: [(&str, &str, bool, bool); 9] = [
    // A new field, message or method.
    (
        "string name = 1;",
        "string name = 1;\n  string from = 3;",
        true,
        true,
    ),
    (
        "message SayHelloRequest {",
        "message More {}\n\nmessage SayHelloRequest {",
        true,
        true,
    ),
    (
        "returns (SayHelloResponse);",
        "returns (SayHelloResponse);\n  rpc SayMore(SayHelloRequest) returns (SayHelloResponse);",
        true,
        true,
    ),
    // Another number; removed, and reserved; another name.
    ("string name = 1;", "string name = 4;", false, false),
    ("string name = 1;", "reserved 1;", false, true),
    ("string name = 1;", "string whom = 1;", false, true),
    // Other types.
    ("int32 count = 2;", "int64 count = 2;", false, true),
    ("string name = 1;", "bytes name = 1;", false, true),
    // Another name of the method.
    ("rpc SayHello(", "rpc Greet(", false, true),
];

#[test]
#[ignore = "needs buf"]
fn what_breaks_a_client_is_refused() -> Result {
    let dir = TempDir::new()?;
    let home = dir.path().join("buf");
    export(&workspace(), "buf", &home)?;
    let (rules, contract) = (
        home.join("buf.yaml"),
        home.join("proto/hello/v1/hello.proto"),
    );
    let before =
        read(&contract)?.replace("string name = 1;", "string name = 1;\n  int32 count = 2;");
    write(&contract, before.clone())?;
    let buf = |arguments: &str| -> Result<bool> {
        let output = typed(&format!("buf {arguments}"))
            .current_dir(&home)
            .output()?;
        Ok(output.status.success())
    };
    ensure!(buf("build -o published.binpb")?);
    let strict = read(&rules)?;
    ensure!(strict.contains("    - FILE"));
    for (old, new, file, wire) in CHANGES {
        ensure!(before.contains(old), "{old}");
        write(&contract, before.replace(old, new))?;
        ensure!(buf("build")?, "{new} is no contract");
        for (set, allowed) in [("FILE", file), ("WIRE", wire)] {
            write(
                &rules,
                strict.replace("    - FILE", &format!("    - {set}")),
            )?;
            let allows = buf("breaking --against published.binpb")?;
            assert_eq!(allows, allowed, "{set}: {old} becomes {new}");
        }
    }
    Ok(())
}

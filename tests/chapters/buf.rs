//! The chapter `buf`: the committed code is what buf generates, and buf finds breaking changes.

use std::{fs, path::Path};

use anyhow::ensure;
use book::workspace::{files_below, read, write};
use harness::{Result, split_command, workspace};
use prost::Message;
use stage::export::export;
use tempfile::TempDir;

/// The folders of committed code, and the commands of the pages that generate them.
const GENERATED: [(&str, &str); 2] = [
    ("src/pb", "buf generate"),
    ("renumbered/src/pb", "buf generate renumbered -o renumbered"),
];

/// Whether an exported copy of the listing, after `change`, generates the code that the listing has.
fn is_up_to_date(change: impl Fn(&Path) -> Result) -> Result<bool> {
    let dir = TempDir::new()?;
    let copy = dir.path().join("buf");
    export(&workspace(), "buf", &copy)?;
    change(&copy)?;
    let listing = workspace().listing("buf");
    for (folder, command) in GENERATED {
        fs::remove_dir_all(copy.join(folder))?;
        let output = split_command(command).current_dir(&copy).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command}: {stderr}");
        let (new, committed) = (copy.join(folder), listing.join(folder));
        let files = files_below(&new)?;
        if files != files_below(&committed)? {
            return Ok(false);
        }
        for file in files {
            if read(&new.join(&file))? != read(&committed.join(&file))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[harness::test(needs = "buf, protoc-gen-prost and protoc-gen-tonic")]
fn committed_code_is_up_to_date() -> Result {
    ensure!(
        is_up_to_date(|_| Ok(()))?,
        "the code in listings/buf is stale: cargo xtask export buf ../buf, run the commands of the \
         pages there, and copy what they generate"
    );
    Ok(())
}

#[harness::test(needs = "buf, protoc-gen-prost and protoc-gen-tonic")]
fn changed_proto_is_detected() -> Result {
    let change = |copy: &Path| {
        let proto = copy.join("proto/hello/v1/hello.proto");
        let text =
            read(&proto)?.replace("string name = 1;", "string name = 1;\n  string from = 2;");
        write(&proto, text)
    };
    ensure!(!is_up_to_date(change)?);
    Ok(())
}

/// The rows of the page's table: a change, and whether `FILE` and `WIRE` allow it.
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
    // A field with another number; removed and reserved; renamed.
    ("string name = 1;", "string name = 4;", false, false),
    ("string name = 1;", "reserved 1;", false, true),
    ("string name = 1;", "string whom = 1;", false, true),
    // A field of another type.
    ("int32 count = 2;", "int64 count = 2;", false, true),
    ("string name = 1;", "bytes name = 1;", false, true),
    // A renamed method.
    ("rpc SayHello(", "rpc Greet(", false, true),
];

#[harness::test(needs = "buf")]
fn breaking_changes_are_rejected() -> Result {
    let dir = TempDir::new()?;
    let copy = dir.path().join("buf");
    export(&workspace(), "buf", &copy)?;
    let (rules, proto) = (
        copy.join("buf.yaml"),
        copy.join("proto/hello/v1/hello.proto"),
    );
    let before = read(&proto)?.replace("string name = 1;", "string name = 1;\n  int32 count = 2;");
    write(&proto, before.clone())?;
    let buf = |arguments: &str| -> Result<bool> {
        let output = split_command(&format!("buf {arguments}"))
            .current_dir(&copy)
            .output()?;
        Ok(output.status.success())
    };
    ensure!(buf("build -o published.binpb")?);
    let strict = read(&rules)?;
    ensure!(strict.contains("    - FILE"));
    for (old, new, file, wire) in CHANGES {
        ensure!(before.contains(old), "{old}");
        write(&proto, before.replace(old, new))?;
        ensure!(buf("build")?, "{new} does not compile");
        for (set, allowed) in [("FILE", file), ("WIRE", wire)] {
            write(
                &rules,
                strict.replace("    - FILE", &format!("    - {set}")),
            )?;
            let is_allowed = buf("breaking --against published.binpb")?;
            assert_eq!(is_allowed, allowed, "{set}: {old} becomes {new}");
        }
    }
    Ok(())
}

/// The steps of `contracts.yml` are run as GitHub runs them, but for the one that installs buf.
#[harness::test(needs = "buf and git")]
fn the_ci_job_passes_and_finds_a_breaking_change() -> Result {
    let dir = TempDir::new()?;
    let copy = dir.path().join("buf");
    export(&workspace(), "buf", &copy)?;
    let shell = |line: &str| -> Result<bool> {
        let mut shell = split_command("bash -e -c");
        let output = shell.arg(line).current_dir(&copy).output()?;
        Ok(output.status.success())
    };
    let identity = "-c user.name=buf -c user.email=buf@localhost";
    for line in [
        "git init --quiet --initial-branch main && git add --all".to_owned(),
        format!("git {identity} commit --quiet --message release"),
        format!("git {identity} tag --annotate v1.0.0 --message release"),
    ] {
        ensure!(shell(&line)?, "{line}");
    }
    let workflow = read(&copy.join("contracts.yml"))?;
    let steps = workflow
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- run: "));
    let (install, steps): (Vec<_>, Vec<_>) = steps.partition(|step| step.starts_with("npm "));
    let package = read(&workspace().root().join("tests/browser/package.json"))?;
    let version = install[0]
        .rsplit_once('@')
        .map_or("", |(_, version)| version);
    let pinned = format!("\"@bufbuild/buf\": \"{version}\"");
    ensure!(
        package.contains(&pinned),
        "tests/browser/package.json has another version"
    );

    let failed = || -> Result<Vec<&str>> {
        let mut failed = Vec::new();
        for step in &steps {
            if !shell(step)? {
                failed.push(*step);
            }
        }
        Ok(failed)
    };
    assert_eq!(failed()?, Vec::<&str>::new());
    let proto = copy.join("proto/hello/v1/hello.proto");
    write(
        &proto,
        read(&proto)?.replace("string name = 1;", "string name = 2;"),
    )?;
    let failed = failed()?;
    ensure!(
        failed.len() == 1 && failed[0].contains("buf breaking"),
        "{failed:?}"
    );
    Ok(())
}

/// Go's runtime keeps the fields that it does not know. prost skips them.
#[harness::test]
fn unknown_field_is_lost_when_a_message_is_written_again() -> Result {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Old {
        #[prost(string, tag = "1")]
        name: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct New {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        address: String,
    }
    let new = New {
        name: "李雷".to_owned(),
        address: "北京".to_owned(),
    };
    let old = Old::decode(&new.encode_to_vec()[..])?;
    let read_again = New::decode(&old.encode_to_vec()[..])?;
    assert_eq!(read_again.name, "李雷");
    assert_eq!(read_again.address, "");
    Ok(())
}

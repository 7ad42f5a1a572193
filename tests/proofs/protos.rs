//! The protos are clean: `buf` finds nothing, and no client that was built from `published.binpb`
//! breaks.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use book::{
    rules::{Edit, Fault},
    workspace::Workspace,
};
use harness::{Result, test::NamedTest, workspace};

use crate::{expect_success, fixture::Fixture};

/// The protos as they were last published.
const PUBLISHED: &str = "tests/proofs/published.binpb";

/// How to publish them; add `-o` and a file.
const BUILD: [&str; 3] = ["build", "--as-file-descriptor-set", "--exclude-source-info"];

/// A rule that buf checks, and the fault that it must find.
struct Proof {
    name: &'static str,
    check: fn(&Workspace) -> Result,
    fault: Fault,
}

const PROTO: &str = "proto/clock/v1/clock.proto";

const PROOFS: &[Proof] = &[
    Proof {
        name: "lint",
        check: |workspace| buf(workspace, &["lint"]),
        fault: Fault {
            name: "package without a version",
            edits: &[Edit::Replace {
                file: PROTO,
                old: "package clock.v1;",
                new: "package clock;",
            }],
            found: "proto/clock/v1/clock.proto:3:1:",
        },
    },
    Proof {
        name: "format",
        check: |workspace| buf(workspace, &["format", "--diff", "--exit-code"]),
        fault: Fault {
            name: "missing spaces",
            edits: &[Edit::Replace {
                file: PROTO,
                old: "  string zone = 1;",
                new: " string zone=1;",
            }],
            found: "proto/clock/v1/clock.proto",
        },
    },
    Proof {
        name: "breaking",
        check: |workspace| buf(workspace, &["breaking", "--against", PUBLISHED]),
        fault: Fault {
            name: "field with another number",
            edits: &[Edit::Replace {
                file: PROTO,
                old: "string zone = 1;",
                new: "string zone = 2;",
            }],
            found: "Previously present field \"1\"",
        },
    },
    Proof {
        name: "published",
        check: is_published,
        fault: Fault {
            name: "unpublished message",
            edits: &[Edit::Append {
                file: PROTO,
                text: "message More {}\n",
            }],
            found: "proto/ has what tests/proofs/published.binpb does not have",
        },
    },
];

/// The tests of all protos, and of the fixture's with a fault.
pub fn tests() -> Vec<NamedTest> {
    let mut tests = Vec::new();
    for proof in PROOFS {
        let rule = NamedTest::new(format!("protos::{}", proof.name), || {
            (proof.check)(&workspace())
        });
        tests.push(rule.needs("buf"));
        let fault = proof.fault.name.replace(' ', "-");
        let name = format!("faults::protos-{}::{fault}", proof.name);
        tests.push(NamedTest::new(name, || is_found(proof)).needs("buf"));
    }
    tests
}

fn is_found(proof: &Proof) -> Result {
    let fixture = Fixture::new()?;
    fs::create_dir_all(fixture.path("tests/proofs"))?;
    buf(
        &fixture.workspace,
        &[&BUILD[..], &["-o", PUBLISHED]].concat(),
    )?;
    (proof.check)(&fixture.workspace).context("before the fault is planted")?;
    fixture.plant(proof.fault.edits)?;
    let error = (proof.check)(&fixture.workspace).err();
    let message = error.map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(
        message.contains(proof.fault.found),
        "{} should report\n{}\nand reports\n{message}",
        proof.name,
        proof.fault.found
    );
    Ok(())
}

/// Whether the published protos are those in `proto/`: one that was added and not published could
/// be broken.
fn is_published(workspace: &Workspace) -> Result {
    let dir = tempfile::tempdir()?;
    let now = dir.path().join("now.binpb");
    buf(
        workspace,
        &[&BUILD[..], &["-o", &now.to_string_lossy()]].concat(),
    )?;
    ensure!(
        fs::read(now)? == fs::read(workspace.root().join(PUBLISHED))?,
        "proto/ has what {PUBLISHED} does not have. Publish it: buf {} -o {PUBLISHED}",
        BUILD.join(" ")
    );
    Ok(())
}

fn buf(workspace: &Workspace, arguments: &[&str]) -> Result {
    let output = Command::new("buf")
        .args(arguments)
        .current_dir(workspace.root())
        .output()
        .context("cannot start buf: `cargo xtask install-tools` installs it")?;
    expect_success(&format!("buf {} finds", arguments.join(" ")), &output)
}

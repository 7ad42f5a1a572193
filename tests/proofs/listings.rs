//! Each listing builds and passes its tests by itself, as a reader has it.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio};

use anyhow::{Context, bail, ensure};
use book::{
    rules::{Edit, Fault},
    versions::Versions,
    workspace::{Workspace, files_below, read, slashed},
};
use harness::{Result, test::NamedTest, workspace};
use serde::Deserialize;
use stage::{
    build::{BuiltListing, build},
    export::export,
    process,
    session::RunOptions,
    solved, transcripts,
};

use crate::{expect_success, fixture::Fixture};

/// The command of *Take it home*, but for the folder: a temporary one.
const EXPORT: &str = "cargo xtask export SLUG ../SLUG";

/// Exports the listing as a reader does, and looks at what is in the folder.
pub fn can_be_exported(slug: &str) -> Result {
    let dir = tempfile::tempdir()?;
    let home = dir.path().join(slug);
    // What the command does; that it does so is a test of the tools.
    let typed = EXPORT.replace("../SLUG", &home.to_string_lossy());
    let typed = typed.replace("SLUG", slug);
    let words: Vec<&str> = typed.split(' ').collect();
    let ["cargo", "xtask", "export", slug, to] = words[..] else {
        bail!("`{EXPORT}` is another command");
    };
    export(&workspace(), slug, Path::new(to))?;

    let exported: Vec<String> = files_below(&home)?.iter().map(|it| slashed(it)).collect();
    let has = |wanted: &str| exported.iter().any(|file| file == wanted);
    // A listing either generates its code in a build script, or keeps what buf has generated.
    let generator = if has("buf.gen.yaml") {
        "buf.yaml"
    } else {
        "build.rs"
    };
    for wanted in ["Cargo.toml", "Cargo.lock", generator, "src/lib.rs"] {
        ensure!(
            has(wanted),
            "{slug}: {wanted} was not exported, only {exported:?}"
        );
    }
    for file in &exported {
        let text = read(&home.join(file))?;
        ensure!(
            !text.contains("ANCHOR"),
            "{slug}: the exported {file} contains an anchor"
        );
        ensure!(
            !file.starts_with("output/"),
            "{slug}: the transcript {file} was exported"
        );
    }
    Ok(())
}

/// Builds the exported listing by its own manifest, and checks that it was built from the versions
/// of `Cargo.lock`, that cargo compiled each of its Rust files, and that its programs do not depend
/// on what is there for its tests.
pub fn builds_standalone(workspace: &Workspace, slug: &str) -> Result {
    let built = build(workspace, slug)?;

    let tested = Versions::read(workspace)?;
    let used: Lock = toml::from_str(&read(&built.dir.join("Cargo.lock"))?)?;
    for Locked { name, version } in used.package {
        ensure!(
            name == slug || tested.has(&name, &version),
            "the exported listing `{slug}` was built with {name} {version}, and Cargo.lock has {}",
            tested.all(&name)
        );
    }

    for file in files_below(&built.dir)? {
        let is_rust = file.extension().is_some_and(|extension| extension == "rs");
        // A package inside the listing is built by the test that needs it: cargo-fuzz wants one.
        let is_of_inner_package = file
            .ancestors()
            .skip(1)
            .filter(|folder| !folder.as_os_str().is_empty())
            .any(|folder| built.dir.join(folder).join("Cargo.toml").exists());
        ensure!(
            !is_rust || is_of_inner_package || built.compiled.contains(&file),
            "listings/{slug}/{}:1: cargo compiles no such file: name it in a `mod`, or remove it",
            slashed(&file)
        );
    }

    let without_tests = features(&built, "normal,build")?;
    let with_tests = features(&built, "normal,build,dev")?;
    for (name, features) in without_tests {
        for feature in with_tests.get(&name).into_iter().flatten() {
            // tokio's paused time is for tests only, and changes nothing unless it is used.
            ensure!(
                features.contains(feature) || feature == "test-util",
                "listings/{slug}/Cargo.toml:1: the dev-dependencies add the feature `{feature}` of {name} \
                 to the programs: a reader's `cargo run` would build without it. Add it to [dependencies]"
            );
        }
    }
    Ok(())
}

/// The features of the listing's direct dependencies, by name and version, if it is built with
/// these kinds of dependencies.
fn features(built: &BuiltListing, kinds: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let output = built
        .cargo()
        .args(["tree", "--quiet", "--depth", "1", "--prefix", "none"])
        .args(["--format", "{p}|{f}", "--edges", kinds])
        .output()?;
    expect_success("cargo tree", &output)?;
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (package, features) = line.split_once('|').context("a line of cargo tree")?;
            let features = features.trim_end_matches(" (*)").split(',');
            Ok((
                package.trim_end_matches(" (*)").to_owned(),
                features.map(str::to_owned).collect(),
            ))
        })
        .collect()
}

/// Runs the listing's own tests: those of its library, and those in `tests/`.
pub fn own_tests_pass(workspace: &Workspace, slug: &str) -> Result {
    let built = build(workspace, slug)?;
    run_tests(&built, slug)
}

/// Runs the tests of a listing or of its solved copy.
fn run_tests(built: &BuiltListing, slug: &str) -> Result {
    let mut passed = 0;
    for (name, executable) in &built.tests {
        let output = process::command(executable)
            .current_dir(&built.dir)
            .stdin(Stdio::null())
            .output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "the listing `{slug}` fails its own tests, `cargo test {name}`:\n{printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let count = printed
            .lines()
            .filter_map(|line| line.strip_prefix("test result: ok. "))
            .filter_map(|line| line.split(' ').next()?.parse::<usize>().ok());
        passed += count.sum::<usize>();
    }
    ensure!(
        passed > 0,
        "the listing `{slug}` has no test: listings/{slug}/tests is what a reader takes home"
    );
    Ok(())
}

/// Solves the exercises of the listing, and runs all of its tests. What has passed once is not run
/// again until one of the files or of the executables is another one.
pub fn solutions_pass(workspace: &Workspace, slug: &str) -> Result {
    let solved = solved::build(workspace, slug)?;
    let passed = solved.listing.dir.with_extension("passed");
    if fs::read_to_string(&passed).is_ok_and(|before| before == solved.state) {
        return Ok(());
    }
    run_tests(&solved.listing, slug).context("with its solutions applied")?;
    fs::write(passed, solved.state)?;
    Ok(())
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

/// A proof that builds or runs the fixture's listing, and the faults that it must find.
struct Proof {
    name: &'static str,
    check: fn(&Workspace) -> Result,
    faults: &'static [Fault],
}

const LIB: &str = "listings/clock/src/lib.rs";
const MANIFEST: &str = "listings/clock/Cargo.toml";
const SOLUTION: &str = "listings/clock/solutions/1-tokyo.patch";
const SESSION: &str = "listings/clock/session.toml";

const PROOFS: &[Proof] = &[
    Proof {
        name: "builds-standalone",
        check: |workspace| builds_standalone(workspace, "clock"),
        faults: &[
            Fault {
                name: "file in no module",
                edits: &[Edit::Append {
                    file: "listings/clock/src/spare.rs",
                    text: "// In no module.\n",
                }],
                found: "listings/clock/src/spare.rs:1: cargo compiles no such file",
            },
            Fault {
                name: "feature of the tests only",
                edits: &[Edit::Append {
                    file: MANIFEST,
                    text: "\n[dev-dependencies]\nbytes = { version = \"BYTES\", features = [\"std\"] }\n",
                }],
                found: "the dev-dependencies add the feature `default` of bytes",
            },
            Fault {
                name: "error of the compiler",
                edits: &[Edit::Append {
                    file: LIB,
                    text: "use std::nothing;\n",
                }],
                found: "the listing `clock` does not build outside the workspace",
            },
        ],
    },
    Proof {
        name: "own-tests-pass",
        check: |workspace| own_tests_pass(workspace, "clock"),
        faults: &[
            Fault {
                name: "another answer",
                edits: &[Edit::Replace {
                    file: LIB,
                    old: "It is {hour}",
                    new: "It was {hour}",
                }],
                found: "the listing `clock` fails its own tests",
            },
            Fault {
                name: "no test",
                edits: &[
                    Edit::Replace {
                        file: "listings/clock/tests/clock.rs",
                        old: "#[test]",
                        new: "#[cfg(any())]",
                    },
                    Edit::Replace {
                        file: "listings/clock/tests/clock.rs",
                        old: "#[test]",
                        new: "#[cfg(any())]",
                    },
                    Edit::Replace {
                        file: "listings/clock/tests/clock.rs",
                        old: "#[test]",
                        new: "#[cfg(any())]",
                    },
                ],
                found: "the listing `clock` has no test",
            },
        ],
    },
    Proof {
        name: "solutions-pass",
        check: |workspace| solutions_pass(workspace, "clock"),
        faults: &[
            Fault {
                name: "solution that does not apply",
                edits: &[Edit::Replace {
                    file: LIB,
                    old: "(\"Zürich\", 13)",
                    new: "(\"Genève\", 13)",
                }],
                found: "listings/clock/solutions/1-tokyo.patch:1: does not apply: src/lib.rs: error applying hunk #1",
            },
            Fault {
                name: "solution that breaks a test",
                edits: &[Edit::Replace {
                    file: SOLUTION,
                    old: "+    (\"上海\", 20),",
                    new: "+    (\"上海\", 21),",
                }],
                found: "with its solutions applied: the listing `clock` fails its own tests",
            },
            Fault {
                name: "solution that does not compile",
                edits: &[Edit::Replace {
                    file: SOLUTION,
                    old: "+    (\"上海\", 20),",
                    new: "+    (\"上海\", \"20\"),",
                }],
                found: "the solutions of `clock` do not compile",
            },
            Fault {
                name: "exercise that is not solved",
                edits: &[Edit::Append {
                    file: "listings/clock/tests/clock.rs",
                    text: "\n#[test]\n#[should_panic]\nfn exercise_2_strike() {\n    panic!();\n}\n",
                }],
                found: "listings/clock/tests/clock.rs:1: no solution removes the `should_panic` of `exercise_2_strike`",
            },
            Fault {
                name: "solution that does not solve",
                edits: &[Edit::Replace {
                    file: SOLUTION,
                    old: "(\"Tokyo\", 21)",
                    new: "(\"Tokyo\", 20)",
                }],
                found: "with its solutions applied: the listing `clock` fails its own tests",
            },
        ],
    },
    Proof {
        name: "transcripts-are-true",
        check: |workspace| transcripts::compare(workspace, "clock", RunOptions::ALL),
        faults: &[
            Fault {
                name: "edited transcript",
                edits: &[Edit::Replace {
                    file: "listings/clock/output/client.txt",
                    old: "It is",
                    new: "It was",
                }],
                found: "listings/clock/output/client.txt:2: a run printed something else",
            },
            Fault {
                name: "transcript of no session",
                edits: &[Edit::Append {
                    file: "listings/clock/output/spare.txt",
                    text: "$ true\n",
                }],
                found: "listings/clock/output/spare.txt:1: no session writes this file",
            },
            Fault {
                name: "another output",
                edits: &[Edit::Replace {
                    file: LIB,
                    old: "It is {hour}",
                    new: "It was {hour}",
                }],
                found: "listings/clock/output/client.txt:2: a run printed something else",
            },
            Fault {
                name: "missing program",
                edits: &[Edit::Append {
                    file: SESSION,
                    text: "\n[[session]]\nname = \"more\"\nneeds = [\"no-such-program\"]\nprogram = []\n",
                }],
                found: "the session `more` of the listing `clock` fails: `no-such-program` is not on the PATH",
            },
            Fault {
                name: "another exit code",
                edits: &[Edit::Replace {
                    file: SESSION,
                    old: "exit = 130",
                    new: "exit = 0",
                }],
                found: "`cargo run --bin clock-server` ended with 130 and not with 0",
            },
        ],
    },
];

/// The faults that only a build or a run finds.
pub fn faults() -> Vec<NamedTest> {
    let mut tests = Vec::new();
    for proof in PROOFS {
        let name = |fault: &str| format!("faults::{}::{}", proof.name, fault.replace(' ', "-"));
        tests.push(NamedTest::new(name("none in the fixture"), || {
            let (fixture, _guard) = Fixture::to_build()?;
            (proof.check)(&fixture.workspace)
        }));
        for fault in proof.faults {
            tests.push(NamedTest::new(name(fault.name), || {
                let (fixture, _guard) = Fixture::to_build()?;
                fixture.plant(fault.edits)?;
                let error = (proof.check)(&fixture.workspace).err();
                let message = error.map(|error| format!("{error:#}")).unwrap_or_default();
                ensure!(
                    message.contains(fault.found),
                    "{} should report\n{}\nand reports\n{message}",
                    proof.name,
                    fault.found
                );
                Ok(())
            }));
        }
    }
    tests
}

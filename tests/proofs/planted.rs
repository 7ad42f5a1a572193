//! Each proof is seen to fail: a fault is planted in a copy of the book, and
//! the proof must name its place. `cargo test planted -- --nocapture` shows the
//! faults and what is said of them.

use std::{fs, path::Path};

use anyhow::ensure;
use harness::Result;
use xtask::{
    session::{Ports, Which},
    workspace::write,
};

use crate::{contracts, listings, measured, pages, site::Site, tools::Copy, transcripts};

/// What a proof says of the copy; nothing if it finds no fault.
type Proof = fn(&Copy) -> Result<String>;

/// Changes to make, and what the proof must say of them.
struct Fault {
    /// The file, what to replace in it, and with what. Nothing to replace: the
    /// text is added at the end, or makes a new file.
    edits: &'static [(&'static str, &'static str, &'static str)],
    says: &'static str,
}

const PAGE: &str = "src/hello-world/server.md";
const PROTO: &str = "proto/hello/v1/hello.proto";
const LIB: &str = "listings/hello-world/src/lib.rs";
const MANIFEST: &str = "listings/hello-world/Cargo.toml";

fn refused(copy: &Copy) -> Result<String> {
    lines(pages::refused(&copy.workspace)?)
}

fn orphans(copy: &Copy) -> Result<String> {
    lines(pages::orphans(&copy.workspace)?)
}

fn servers(copy: &Copy) -> Result<String> {
    lines(pages::untold_servers(&copy.workspace)?)
}

fn trees(copy: &Copy) -> Result<String> {
    lines(pages::unmarked_files(&copy.workspace)?)
}

fn anchors(copy: &Copy) -> Result<String> {
    lines(pages::unused_anchors(&copy.workspace)?)
}

fn versions(copy: &Copy) -> Result<String> {
    lines(listings::odd_versions(&copy.workspace)?)
}

fn programs(copy: &Copy) -> Result<String> {
    lines(listings::odd_programs(&copy.workspace)?)
}

fn measurements(copy: &Copy) -> Result<String> {
    lines(measured::untrue(&copy.workspace)?)
}

fn links(copy: &Copy) -> Result<String> {
    lines(Site::build(&copy.workspace, "planted-site")?.broken_links()?)
}

fn resources(copy: &Copy) -> Result<String> {
    lines(Site::build(&copy.workspace, "planted-site")?.foreign_resources())
}

fn pictures(copy: &Copy) -> Result<String> {
    lines(Site::build(&copy.workspace, "planted-site")?.poor_pictures()?)
}

fn blocks(copy: &Copy) -> Result<String> {
    lines(Site::build(&copy.workspace, "planted-site")?.untested_blocks(crate::site::TESTED)?)
}

fn alone(copy: &Copy) -> Result<String> {
    said(listings::stands_alone(&copy.workspace, "hello-world"))
}

fn runs(copy: &Copy) -> Result<String> {
    said(transcripts::matches(
        &copy.workspace,
        "hello-world",
        Ports::Free,
        Which::All,
    ))
}

fn lines(problems: Vec<xtask::Problem>) -> Result<String> {
    Ok(problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect())
}

fn said(outcome: Result) -> Result<String> {
    Ok(outcome
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default())
}

/// Faults that are found without a build.
const FAULTS: &[(Proof, &[Fault])] = &[
    (
        measurements,
        &[
            Fault {
                edits: &[(
                    "listings/one-way-streams/measured/bench.txt",
                    "10000",
                    "20000",
                )],
                says: "bench.txt:15: this is not what was measured",
            },
            Fault {
                edits: &[(
                    "src/one-way-streams/bench.svg",
                    "stroke-dasharray",
                    "dasharray",
                )],
                says: "bench.svg:4: this is not what was measured",
            },
        ],
    ),
    (
        refused,
        &[
            Fault {
                edits: &[
                    (LIB, "ANCHOR: service", "ANCHOR: renamed"),
                    (LIB, "ANCHOR_END: service", "ANCHOR_END: renamed"),
                ],
                says: "there is no anchor `service` in listings/hello-world/src/lib.rs, which has: pb, limits, renamed",
            },
            Fault {
                edits: &[(LIB, "ANCHOR_END: service", "ANCHOR_END: other")],
                says: "the anchor `service` in listings/hello-world/src/lib.rs is never closed",
            },
            Fault {
                edits: &[
                    (LIB, "", "// ANCHOR: none\n\n// ANCHOR_END: none\n"),
                    (
                        PAGE,
                        "",
                        "\n```rust,no_run\n{{#rustdoc_include ../../listings/hello-world/src/lib.rs:none}}\n```\n",
                    ),
                ],
                says: "the anchor `none` in listings/hello-world/src/lib.rs is empty",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n```rust,no_run\n{{#rustdoc_include ../../listings/hello-world/src/gone.rs}}\n```\n",
                )],
                says: "there is no file listings/hello-world/src/gone.rs",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n```rust,no_run\n{{#rustdoc_include ../../listings/hello-world/src/lib.rs:3:9}}\n```\n",
                )],
                says: "lines are included by their numbers, `3:9`",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n```rust,no_run\n{{#playground ../../listings/hello-world/src/lib.rs}}\n```\n",
                )],
                says: "a playground asks another host",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n```rust\n{{#rustdoc_include ../../listings/hello-world/src/lib.rs}}\nfn more() {}\n```\n",
                )],
                says: "holds the include and nothing else",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n> ```text\n> {{#include ../../Cargo.toml}}\n> ```\n",
                )],
                says: "in a list or a quotation",
            },
            Fault {
                edits: &[(PAGE, "", "\n{{#include ../../Cargo.toml}}\n")],
                says: "Cargo.toml is neither a picture nor a table",
            },
            Fault {
                edits: &[(
                    "listings/errors/output/codes.md",
                    "| code |",
                    "| number | code |",
                )],
                says: "codes.md is no table",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n<pre><code class=\"language-rust\">fn main() {}</code></pre>\n",
                )],
                says: "no proof looks at code that is typed as HTML",
            },
            Fault {
                edits: &[(PAGE, "", "\n    let indented = 1;\n")],
                says: "no proof looks at an indented block",
            },
            Fault {
                edits: &[(PAGE, "", "\n```rs\nfn main() {}\n```\n")],
                says: "no proof looks at a block in `rs`",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n```rust,ignore\n{{#include ../../listings/hello-world/src/lib.rs}}\n```\n",
                )],
                says: "`ignore` needs its reason",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n<!-- ignore: it does not work -->\n```rust,ignore\nlet x = 1\n```\n",
                )],
                says: "only an include of a Rust file of a listing or of tests/ may be `ignore`",
            },
            Fault {
                edits: &[(PAGE, "", "\n```rust,compile_fail\nlet x: u8 = \"\";\n```\n")],
                says: "with the code of the error",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n```rust,compile_fail,E0308\nlet x: u8 = \"\";\n```\n",
                )],
                says: "show the error",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n```console\n$ cargo run --bin nothing-like-it\n```\n",
                )],
                says: "say what runs these commands",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n<!-- proof: tests/proofs/listings.rs -->\n```console\n$ rm -r target\n```\n",
                )],
                says: "tests/proofs/listings.rs does not run `rm -r target`",
            },
            Fault {
                edits: &[(
                    PAGE,
                    "",
                    "\n<!-- proof: .ci/run -->\n```console\n$ cargo test \\\n    --no-run\n```\n",
                )],
                says: ".ci/run does not run `cargo test --no-run`",
            },
            Fault {
                edits: &[(PAGE, "", "\nThis book uses tonic 0.14.\n")],
                says: "a version is typed here, `tonic` 0.14",
            },
            Fault {
                edits: &[(PAGE, "", "\n```toml\ntonic = \"*\"\n```\n")],
                says: "a version is typed here, `tonic` *",
            },
            Fault {
                edits: &[(PAGE, "", "\nType `cargo add tonic` to add it.\n")],
                says: "pins no version",
            },
            Fault {
                edits: &[(PAGE, "", "\n{{version never-heard-of}}\n")],
                says: "Cargo.lock has no crate `never-heard-of`",
            },
            Fault {
                edits: &[(PAGE, "", "\n{{tree hello-world src/gone.rs}}\n")],
                says: "the listing hello-world has no file src/gone.rs",
            },
        ],
    ),
    (
        anchors,
        &[Fault {
            edits: &[(
                LIB,
                "",
                "// ANCHOR: spare\nconst _: () = ();\n// ANCHOR_END: spare\n",
            )],
            says: "no page includes the anchor `spare`",
        }],
    ),
    (
        blocks,
        &[Fault {
            edits: &[(
                PAGE,
                "",
                "\n<div><p class=\"language-rust\"></p></div>\n\n```rust\nfn main() {}\n```\n",
            )],
            says: "Rust blocks and",
        }],
    ),
    (
        orphans,
        &[
            Fault {
                edits: &[("src/lost.md", "", "# Lost\n")],
                says: "src/lost.md:1: no reader finds this page",
            },
            Fault {
                edits: &[(
                    "listings/lost/Cargo.toml",
                    "",
                    "[package]\nname = \"lost\"\n",
                )],
                says: "listings/lost/Cargo.toml:1: 0 pages show the whole of this listing",
            },
        ],
    ),
    (
        trees,
        &[Fault {
            edits: &[(
                "src/metadata/server.md",
                " src/lib.rs Cargo.toml}}",
                " Cargo.toml}}",
            )],
            says: "src/metadata/server.md:3: the page shows src/lib.rs, and its tree does not mark it",
        }],
    ),
    (
        servers,
        &[Fault {
            edits: &[(
                "src/one-way-streams/service.md",
                "-- 127.0.0.1:50051 5 2`",
                "`",
            )],
            says: "no page says how a server is started",
        }],
    ),
    (
        links,
        &[
            Fault {
                edits: &[(PAGE, "", "\n[nowhere](nowhere.md)\n")],
                says: "a link goes nowhere, nowhere.html: there is no page or file nowhere.html",
            },
            Fault {
                edits: &[(PAGE, "", "\n[nowhere](client.md#no-such-part)\n")],
                says: "there is no `#no-such-part` in hello-world/client.html",
            },
        ],
    ),
    (
        resources,
        &[Fault {
            edits: &[(
                PAGE,
                "",
                "\n<img src=\"https://example.com/a.png\" alt=\"\">\n",
            )],
            says: "the page loads https://example.com/a.png",
        }],
    ),
    (
        pictures,
        &[
            Fault {
                edits: &[
                    ("src/hello-world/message.svg", "<title", "<metadata"),
                    ("src/hello-world/message.svg", "</title", "</metadata"),
                ],
                says: "a picture has no role",
            },
            Fault {
                edits: &[
                    ("src/hello-world/message.svg", "message-title", "call-title"),
                    ("src/hello-world/message.svg", "message-title", "call-title"),
                ],
                says: "has the id call-title as well",
            },
        ],
    ),
    (
        versions,
        &[
            Fault {
                edits: &[(MANIFEST, "tonic = \"", "tonic = \"9")],
                says: "write the version that is tested",
            },
            Fault {
                edits: &[(
                    "listings/second/Cargo.toml",
                    "",
                    "[package]\nname = \"second\"\nrust-version = \"1.88\"\n\n[dependencies]\ntonic = \"0.13.0\"\n",
                )],
                says: "listings/second/Cargo.toml:6: `tonic` is 0.13.0 here and",
            },
            Fault {
                edits: &[(MANIFEST, "prost = \"", "prost.workspace = true # \"")],
                says: "something is inherited from the workspace",
            },
        ],
    ),
    (
        programs,
        &[Fault {
            edits: &[(MANIFEST, "\"hello-world-client\"", "\"client\"")],
            says: "the program `client` is not named `hello-world-…`",
        }],
    ),
];

/// Faults that only a build or a run finds.
const BUILT: &[(Proof, &[Fault])] = &[
    (
        runs,
        &[
            Fault {
                edits: &[("listings/hello-world/output/client.txt", "Ferris", "Fergus")],
                says: "listings/hello-world/output/client.txt:2: a run printed something else",
            },
            Fault {
                edits: &[("listings/hello-world/output/spare.txt", "", "$ true\n")],
                says: "listings/hello-world/output/spare.txt:1: no session writes this file",
            },
            Fault {
                edits: &[(LIB, "\"Hello, {name}!\"", "\"Good day, {name}!\"")],
                says: "listings/hello-world/output/client-another-name.txt:2: a run printed something else",
            },
            Fault {
                edits: &[(
                    "listings/hello-world/session.toml",
                    "",
                    "\n[[session]]\nname = \"more\"\nneeds = [\"no-such-program\"]\nprogram = []\n",
                )],
                says: "the session `more` of the listing `hello-world` fails: `no-such-program` is not on the PATH",
            },
        ],
    ),
    (
        alone,
        &[
            Fault {
                edits: &[(LIB, "\"Hello, {name}!\"", "\"Good day, {name}!\"")],
                says: "the listing `hello-world` fails its own tests outside the workspace",
            },
            // The workspace has tokio's signals all the same: other packages ask for them.
            Fault {
                edits: &[(MANIFEST, ", \"signal\"]", "]")],
                says: "the listing `hello-world` does not build outside the workspace",
            },
            Fault {
                edits: &[(
                    "listings/hello-world/src/spare.rs",
                    "",
                    "// In no module.\n",
                )],
                says: "listings/hello-world/src/spare.rs:1: cargo compiles no such file",
            },
        ],
    ),
];

/// Faults that only buf finds.
const CONTRACTS: &[(Proof, &[Fault])] = &[
    (
        |copy| said(contracts::lint(&copy.workspace)),
        &[Fault {
            edits: &[(PROTO, "package hello.v1;", "package hello;")],
            says: "proto/hello/v1/hello.proto:3:1:",
        }],
    ),
    (
        |copy| said(contracts::format(&copy.workspace)),
        &[Fault {
            edits: &[(PROTO, "  string name = 1;", " string name=1;")],
            says: "proto/hello/v1/hello.proto",
        }],
    ),
    (
        |copy| said(contracts::breaking(&copy.workspace)),
        &[Fault {
            edits: &[(PROTO, "string name = 1;", "string name = 2;")],
            says: "Previously present field \"1\"",
        }],
    ),
    (
        |copy| said(contracts::published(&copy.workspace)),
        &[Fault {
            edits: &[(PROTO, "", "message More {}\n")],
            says: "proto/ has what tests/proofs/published.binpb has not",
        }],
    ),
];

#[test]
#[ignore = "needs buf"]
fn every_fault_in_a_contract_is_found() -> Result {
    CONTRACTS
        .iter()
        .try_for_each(|(proof, faults)| find(*proof, faults))
}

#[test]
fn every_fault_on_a_page_is_found() -> Result {
    FAULTS
        .iter()
        .try_for_each(|(proof, faults)| find(*proof, faults))
}

#[test]
fn every_fault_in_a_run_is_found() -> Result {
    BUILT
        .iter()
        .try_for_each(|(proof, faults)| find(*proof, faults))
}

fn find(proof: Proof, faults: &[Fault]) -> Result {
    let copy = Copy::new("planted")?;
    let clean = proof(&copy)?;
    ensure!(
        clean.is_empty(),
        "before a fault is planted, the proof says:\n{clean}"
    );
    for Fault { edits, says } in faults {
        let files = edits.iter().map(|(file, ..)| copy.path(file));
        let before: Vec<_> = files.map(|file| (fs::read(&file).ok(), file)).collect();
        for (file, old, new) in *edits {
            if old.is_empty() {
                let text = fs::read_to_string(copy.path(file)).unwrap_or_default();
                write(&copy.path(file), text + new)?;
            } else {
                copy.edit(file, old, new)?;
            }
        }
        let said = proof(&copy)?;
        println!("{edits:?}\n{said}\n"); // for --nocapture
        ensure!(
            said.contains(says),
            "after {edits:?}\nthe proof should say\n{says}\nand says\n{said}"
        );
        for (bytes, file) in before {
            match bytes {
                Some(bytes) => fs::write(&file, bytes)?,
                None => remove(&file)?,
            }
        }
    }
    Ok(())
}

/// Removes a file, and the folders that are empty without it.
fn remove(file: &Path) -> Result {
    fs::remove_file(file)?;
    let mut folders = file.ancestors().skip(1);
    while folders
        .next()
        .is_some_and(|folder| fs::remove_dir(folder).is_ok())
    {}
    Ok(())
}

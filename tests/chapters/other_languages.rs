//! The chapter `other-languages`: clients in four languages call the real servers of
//! the listings, and print the same.

#[path = "../peers/rust/client.rs"]
mod rust;

use std::process::Command;

use anyhow::{Context, bail, ensure};
use harness::{Listing, Result, Server, workspace};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use xtask::program::Program;

use crate::{authentication, transport_security};

// ANCHOR: cases
/// Each case, and what its client prints.
const CASES: [(&str, &[&str]); 8] = [
    (
        "hello",
        &[
            "Hello, Ferris!",
            "Hello, 世界!",
            "INVALID_ARGUMENT: name is empty: say whom to greet",
        ],
    ),
    (
        "mailbox",
        &[
            "taken 3",
            "1 jack: 一",
            "2 jack: 二",
            "3 jack: 三",
            "CANCELLED",
            "acknowledged 3",
            "OUT_OF_RANGE: not everything up to 18446744073709551615 was handed out: send the number of a message that came",
        ],
    ),
    (
        "chat",
        &[
            "jack: mike is not here",
            "mike: jack is here",
            "jack: mike is here",
            "mike: jack says 你好",
            "jack: mike says 再见",
            "mike: OK",
            "jack: mike is not here",
            "jack: OK",
            "INVALID_ARGUMENT: metadata `from` is missing: send a name",
        ],
    ),
    (
        "metadata",
        &[
            "vouchers 2",
            "greeting-bin 你好, 李雷",
            "320 cents",
            "articles 1",
            "cents 320",
            "bread 320",
            "milk 145",
            "茶 480",
            "articles 3",
        ],
    ),
    (
        "person",
        &[
            "created 2",
            "jenny 21",
            "NOT_FOUND: nobody has the name \"jeny\"",
            "reason PERSON_NOT_FOUND of registry.example.com",
            "no person.v1.Person jeny",
            "en: We know nobody called jeny.",
            "similar: jenny",
            "INVALID_ARGUMENT: 2 of the fields cannot be taken",
            "person.name: it is empty: send one",
            "person.age: 200 years are too many: send at most 150",
            "en: Please look through what you filled in.",
        ],
    ),
    ("deadline", &["DEADLINE_EXCEEDED", "carrier"]),
    (
        "tls",
        &["Hello, Ferris! You are jack.", "UNAVAILABLE", "UNAVAILABLE"],
    ),
    (
        "token",
        &[
            "100000 cents",
            "UNAUTHENTICATED: metadata `authorization` is missing: send `Bearer` and a token",
            "PERMISSION_DENIED: your token is good, and does not allow this method",
        ],
    ),
];
// ANCHOR_END: cases

/// A server, what it needs as long as it runs, and the arguments of a client.
struct Served {
    _needs: (Option<Server>, Option<authentication::Issuer>, Vec<TempDir>),
    arguments: Vec<String>,
}

impl Served {
    fn server(server: Server, files: Vec<TempDir>, more: &[String]) -> Self {
        let arguments = [&[server.address.to_string()], more].concat();
        Self {
            _needs: (Some(server), None, files),
            arguments,
        }
    }

    fn start(case: &str) -> Result<Self> {
        let plain = |slug: &str| -> Result<Self> {
            let server = Listing::build(slug)?.server(&format!("{slug}-server"))?;
            Ok(Self::server(server, Vec::new(), &[]))
        };
        match case {
            "hello" => plain("hello-world"),
            "mailbox" => plain("one-way-streams"),
            "chat" => plain("bidirectional-streams"),
            "metadata" => plain("metadata"),
            "person" => {
                let dir = TempDir::new()?;
                let folder = dir.path().join("people");
                let server = Listing::build("errors")?
                    .server_with("errors-server", &[&folder.to_string_lossy()])?;
                Ok(Self::server(server, vec![dir], &[]))
            }
            "deadline" => {
                let arguments = ["carrier", "127.0.0.1:0", "200"];
                let server =
                    Listing::build("deadlines")?.serving("deadlines-server", &arguments)?;
                Ok(Self::server(server, Vec::new(), &[]))
            }
            "tls" => {
                let listing = Listing::build("transport-security")?;
                let (ours, other) = (
                    transport_security::Pki::new(&listing)?,
                    transport_security::Pki::new(&listing)?,
                );
                let server = listing.server_with("transport-security-server", &[ours.folder()])?;
                let files = [
                    ours.file("ca.pem"),
                    ours.file("client.pem"),
                    ours.file("client.key"),
                    other.file("ca.pem"),
                ];
                Ok(Self::server(server, vec![ours.0, other.0], &files))
            }
            "token" => {
                let programs = authentication::Programs::build()?;
                let issuer = programs.issuer("300", "120")?;
                let server = programs.server(&issuer.name, "60", "info")?;
                let token = Runtime::new()?.block_on(programs.token(&issuer.name))?;
                let more = [programs.authority(), token];
                let mut served = Self::server(server, vec![programs.folder], &more);
                served._needs.1 = Some(issuer);
                Ok(served)
            }
            _ => bail!("there is no server for {case}"),
        }
    }
}

/// Runs all cases: `call` gets the case, the address of its server, and what else
/// its client needs.
fn prints_the_same(call: impl Fn(&str, &[String]) -> Result<String>) -> Result {
    for (case, lines) in CASES {
        let served = Served::start(case)?;
        let printed = call(case, &served.arguments).context(case)?;
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(printed, lines, "{case}");
    }
    Ok(())
}

/// The commands of the pages.
const GO: &str = "go run ./client hello 127.0.0.1:50051";
const PYTHON: &str = "PYTHONPATH=gen .venv/bin/python client.py hello 127.0.0.1:50051";
const NODE: &str = "node client.mjs hello 127.0.0.1:50051";

/// Types such a command in the client's folder, with the case and the arguments.
fn typed(command: &str, folder: &str, case: &str, arguments: &[String]) -> Result<String> {
    let arguments = arguments.join(" ");
    let command = command.replace("hello 127.0.0.1:50051", &format!("{case} {arguments}"));
    let output = Command::new("sh")
        .args(["-c", &command])
        .current_dir(workspace().root().join("tests/peers").join(folder))
        .output()?;
    let (printed, said) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{command}\n{printed}{said}");
    Ok(printed)
}

#[test]
fn a_client_in_rust_prints_what_it_should() -> Result {
    let runtime = Runtime::new()?;
    prints_the_same(|case, arguments| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let lines = runtime.block_on(async {
            match (case, &arguments[..]) {
                ("hello", [address]) => rust::hello(address).await,
                ("mailbox", [address]) => rust::mailbox(address).await,
                ("chat", [address]) => rust::chat(address).await,
                ("metadata", [address]) => rust::metadata(address).await,
                ("person", [address]) => rust::person(address).await,
                ("deadline", [address]) => rust::deadline(address).await,
                ("tls", [address, files @ ..]) => rust::tls(address, files.try_into()?).await,
                ("token", [address, ca, token]) => rust::token(address, ca, token).await,
                _ => bail!("there is no such case"),
            }
        })?;
        Ok(lines.iter().map(|line| format!("{line}\n")).collect())
    })
}

#[test]
#[ignore = "needs Go 1.26, and the code that buf generates in tests/peers/go"]
fn a_client_in_go_prints_the_same() -> Result {
    prints_the_same(|case, arguments| typed(GO, "go", case, arguments))
}

#[test]
#[ignore = "needs Python, and what is installed in tests/peers/python/.venv"]
fn a_client_in_python_prints_the_same() -> Result {
    prints_the_same(|case, arguments| typed(PYTHON, "python", case, arguments))
}

#[test]
#[ignore = "needs Node, and what npm installs in tests/peers/node"]
fn a_client_in_node_prints_the_same() -> Result {
    prints_the_same(|case, arguments| typed(NODE, "node", case, arguments))
}

/// The server in Go.
fn go_server() -> Result<(Program, String)> {
    let mut command = Command::new("go-server");
    command.arg("127.0.0.1:0");
    let mut server = Program::start(command)?;
    let line = server.wait_for("listening on ")?;
    Ok((server, line.trim_start_matches("listening on ").to_owned()))
}

/// What they print is asserted for our own servers: theirs does the same.
#[test]
#[ignore = "needs the server in Go, built by .ci/run"]
fn a_client_in_rust_prints_the_same_of_a_server_in_go() -> Result {
    let (mut server, address) = go_server()?;
    let runtime = Runtime::new()?;
    let hello = runtime.block_on(rust::hello(&address))?;
    let chat = runtime.block_on(rust::chat(&address))?;
    for (case, lines) in CASES {
        match case {
            "hello" => assert_eq!(hello, lines),
            "chat" => assert_eq!(chat, lines),
            _ => {}
        }
    }
    server.interrupt()?;
    assert_eq!(server.end()?.code, 0);
    Ok(())
}

/// The clients of the listings know of no difference either.
#[test]
#[ignore = "needs the server in Go, built by .ci/run"]
fn the_listings_clients_call_a_server_in_go() -> Result {
    let (_server, address) = go_server()?;
    let uri = format!("http://{address}");
    let hello = Listing::build("hello-world")?.run("hello-world-client", [&uri, "世界"])?;
    assert_eq!((hello.code, hello.output.as_str()), (0, "Hello, 世界!\n"));

    let chat = Listing::build("bidirectional-streams")?;
    let start = |from: &str, to: &str| {
        chat.start_with_keyboard("bidirectional-streams-client", [uri.as_str(), from, to])
    };
    let (jack, mut jack_types) = start("jack", "mike")?;
    jack_types.wait_for("mike is not here")?;
    let (mike, mut mike_types) = start("mike", "jack")?;
    jack_types.wait_for("mike is here")?;
    jack_types.type_line("你好")?;
    mike_types.wait_for("jack: 你好")?;
    mike_types.end_input();
    assert_eq!(mike.end()?.code, 0);
    jack_types.wait_for("mike is not here")?;
    jack_types.end_input();
    assert_eq!(jack.end()?.code, 0);
    Ok(())
}

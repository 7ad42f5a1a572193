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

/// What the clients print, indented below the name of each case.
const PRINTED: &str = include_str!("../peers/printed.txt");

/// Each case, and what its client prints.
fn cases() -> Vec<(&'static str, String)> {
    let mut cases: Vec<(&str, String)> = Vec::new();
    for line in PRINTED.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("  "), cases.last_mut()) {
            (Some(line), Some((_, lines))) => *lines += &format!("{line}\n"),
            _ => cases.push((line, String::new())),
        }
    }
    cases
}

/// A server, what it needs as long as it runs, and the arguments of a client.
struct Served {
    _server: Server,
    _files: Vec<TempDir>,
    _issuer: Option<authentication::Issuer>,
    arguments: Vec<String>,
}

impl Served {
    fn server(server: Server, files: Vec<TempDir>, more: &[String]) -> Self {
        let arguments = [&[server.address.to_string()], more].concat();
        Self {
            _server: server,
            _files: files,
            _issuer: None,
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
                served._issuer = Some(issuer);
                Ok(served)
            }
            _ => bail!("there is no server for {case}"),
        }
    }
}

/// Runs all cases: `call` gets the case, the address of its server, and what else
/// its client needs.
fn prints_the_same(call: impl Fn(&str, &[String]) -> Result<String>) -> Result {
    let cases = cases();
    assert_eq!(cases.len(), 8);
    for (case, lines) in cases {
        let served = Served::start(case)?;
        let printed = call(case, &served.arguments).context(case)?;
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

fn printed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
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
        Ok(printed(&lines))
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
    let hello = printed(&runtime.block_on(rust::hello(&address))?);
    let chat = printed(&runtime.block_on(rust::chat(&address))?);
    let cases = cases();
    ensure!(cases.contains(&("hello", hello.clone())), "{hello}");
    ensure!(cases.contains(&("chat", chat.clone())), "{chat}");
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

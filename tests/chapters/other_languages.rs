//! The chapter `other-languages`: clients in four languages call the servers of the listings, and print
//! the same.

#[path = "../interop/rust/client.rs"]
mod rust;

use std::{any::Any, process::Command};

use anyhow::{Context, bail, ensure};
use harness::{AuthPrograms, Listing, Pki, Result, Server, start_server, workspace};
use stage::process::Process;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::authentication::request_token;

/// The output of the clients, indented below the name of each case.
const EXPECTED_OUTPUT: &str = include_str!("../interop/printed.txt");

/// Each case, and the output of its client.
fn expected_outputs() -> Vec<(&'static str, String)> {
    let mut cases: Vec<(&str, String)> = Vec::new();
    for line in EXPECTED_OUTPUT.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("  "), cases.last_mut()) {
            (Some(line), Some((_, lines))) => *lines += &format!("{line}\n"),
            _ => cases.push((line, String::new())),
        }
    }
    cases
}

/// The server of a case.
struct ServedCase {
    /// Dropping these would stop the server, or delete its files.
    _guards: Vec<Box<dyn Any>>,
    /// The arguments of a client: the address of the server first.
    arguments: Vec<String>,
}

impl ServedCase {
    /// The guards are dropped in their order, and after the server.
    fn new(server: Server, mut guards: Vec<Box<dyn Any>>, more_arguments: &[String]) -> Self {
        let arguments = [&[server.address.to_string()], more_arguments].concat();
        guards.insert(0, Box::new(server));
        Self {
            _guards: guards,
            arguments,
        }
    }

    fn start(case: &str) -> Result<Self> {
        let start_plain = |slug: &str| -> Result<Self> {
            let (_, server) = start_server(slug)?;
            Ok(Self::new(server, Vec::new(), &[]))
        };
        match case {
            "hello" => start_plain("hello-world"),
            "mailbox" => start_plain("one-way-streams"),
            "chat" => start_plain("bidirectional-streams"),
            "metadata" => start_plain("metadata"),
            "person" => {
                let dir = TempDir::new()?;
                let folder = dir.path().join("people");
                let server = Listing::build("errors")?
                    .server_with_args("errors-server", &[&folder.to_string_lossy()])?;
                Ok(Self::new(server, vec![Box::new(dir)], &[]))
            }
            "deadline" => {
                let arguments = ["carrier", "127.0.0.1:0", "200"];
                let server =
                    Listing::build("deadlines")?.start_server("deadlines-server", &arguments)?;
                Ok(Self::new(server, Vec::new(), &[]))
            }
            "tls" => {
                let listing = Listing::build("transport-security")?;
                let (pki, other_pki) = (Pki::new(&listing)?, Pki::new(&listing)?);
                let server =
                    listing.server_with_args("transport-security-server", &[pki.folder()])?;
                let files = [
                    pki.file("ca.pem"),
                    pki.file("client.pem"),
                    pki.file("client.key"),
                    other_pki.file("ca.pem"),
                ];
                let guards: Vec<Box<dyn Any>> = vec![Box::new(pki), Box::new(other_pki)];
                Ok(Self::new(server, guards, &files))
            }
            "token" => {
                let programs = AuthPrograms::build()?;
                let issuer = programs.start_issuer("300", "120")?;
                let server = programs.start_server(&issuer.url, "60", "info")?;
                let token = Runtime::new()?.block_on(request_token(&programs, &issuer.url))?;
                let arguments = [programs.ca_file(), token];
                let guards: Vec<Box<dyn Any>> = vec![Box::new(issuer), Box::new(programs)];
                Ok(Self::new(server, guards, &arguments))
            }
            _ => bail!("no server for the case {case}"),
        }
    }
}

/// Runs all cases. `run_client` gets the case and the arguments of its client.
fn assert_expected_output(run_client: impl Fn(&str, &[String]) -> Result<String>) -> Result {
    let cases = expected_outputs();
    assert_eq!(cases.len(), 8);
    for (case, expected) in cases {
        let served = ServedCase::start(case)?;
        let printed = run_client(case, &served.arguments).context(case)?;
        assert_eq!(printed, expected, "{case}");
    }
    Ok(())
}

/// The commands of the pages.
const GO: &str = "go run ./client hello 127.0.0.1:50051";
const PYTHON: &str = "PYTHONPATH=gen .venv/bin/python client.py hello 127.0.0.1:50051";
const NODE: &str = "node client.mjs hello 127.0.0.1:50051";

/// Runs one of these commands in the client's folder, with another case and its arguments.
fn run_command(command: &str, folder: &str, case: &str, arguments: &[String]) -> Result<String> {
    let arguments = arguments.join(" ");
    let command = command.replace("hello 127.0.0.1:50051", &format!("{case} {arguments}"));
    let output = Command::new("sh")
        .args(["-c", &command])
        .current_dir(workspace().root().join("tests/interop").join(folder))
        .output()?;
    let (stdout, stderr) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{command}\n{stdout}{stderr}");
    Ok(stdout)
}

fn join_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[harness::test]
fn rust_client_prints_the_expected_output() -> Result {
    let runtime = Runtime::new()?;
    assert_expected_output(|case, arguments| {
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
                _ => bail!("no Rust client for the case {case}"),
            }
        })?;
        Ok(join_lines(&lines))
    })
}

#[harness::test(needs = "Go 1.26, and generated code in tests/interop/go")]
fn go_client_prints_the_expected_output() -> Result {
    assert_expected_output(|case, arguments| run_command(GO, "go", case, arguments))
}

#[harness::test(needs = "Python, and the packages of tests/interop/python")]
fn python_client_prints_the_expected_output() -> Result {
    assert_expected_output(|case, arguments| run_command(PYTHON, "python", case, arguments))
}

#[harness::test(needs = "Node, and the packages of tests/interop/node")]
fn node_client_prints_the_expected_output() -> Result {
    assert_expected_output(|case, arguments| run_command(NODE, "node", case, arguments))
}

/// Starts the Go server, and returns its address.
fn start_go_server() -> Result<(Process, String)> {
    let mut command = Command::new("go-server");
    command.arg("127.0.0.1:0");
    let mut server = Process::start(command)?;
    let line = server.wait_for("listening on ")?;
    Ok((server, line.trim_start_matches("listening on ").to_owned()))
}

/// The server in Go responds as the servers of the listings do.
#[harness::test(needs = "the Go server of tests/interop/go")]
fn rust_client_prints_the_same_with_the_go_server() -> Result {
    let (mut server, address) = start_go_server()?;
    let runtime = Runtime::new()?;
    let hello = join_lines(&runtime.block_on(rust::hello(&address))?);
    let chat = join_lines(&runtime.block_on(rust::chat(&address))?);
    let cases = expected_outputs();
    ensure!(cases.contains(&("hello", hello.clone())), "{hello}");
    ensure!(cases.contains(&("chat", chat.clone())), "{chat}");
    server.interrupt()?;
    assert_eq!(server.wait()?.code, 0);
    Ok(())
}

#[harness::test(needs = "the Go server of tests/interop/go")]
fn clients_of_the_listings_work_with_the_go_server() -> Result {
    let (_server, address) = start_go_server()?;
    let uri = format!("http://{address}");
    let hello = Listing::build("hello-world")?.run("hello-world-client", [&uri, "世界"])?;
    assert_eq!((hello.code, hello.text.as_str()), (0, "Hello, 世界!\n"));

    let chat = Listing::build("bidirectional-streams")?;
    let start = |from: &str, to: &str| {
        chat.start_with_stdin("bidirectional-streams-client", [uri.as_str(), from, to])
    };
    let (jack, mut jack_stdin) = start("jack", "mike")?;
    jack_stdin.wait_for("mike is not here")?;
    let (mike, mut mike_stdin) = start("mike", "jack")?;
    jack_stdin.wait_for("mike is here")?;
    jack_stdin.type_line("你好")?;
    mike_stdin.wait_for("jack: 你好")?;
    mike_stdin.close();
    assert_eq!(mike.wait()?.code, 0);
    jack_stdin.wait_for("mike is not here")?;
    jack_stdin.close();
    assert_eq!(jack.wait()?.code, 0);
    Ok(())
}

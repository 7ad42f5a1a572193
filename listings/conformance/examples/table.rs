//! Runs gRPC's test cases between tonic and other implementations, and prints a table
//! of Markdown. The programs are expected on the PATH: `grpc-go-interop-client` and
//! `grpc-go-interop-server` are grpc-go's own, and `grpcio-interop-client CASE ADDRESS`
//! is a client in Python.

use std::{future::pending, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use conformance::cases::{self, CASES, COMPRESSED_STREAMS};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time,
};
use tonic::transport::Endpoint;

/// How long a case may take, and a server to start.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let ours = listener.local_addr()?;
    tokio::spawn(conformance::serve(listener, pending()));
    let (_running, theirs) = go_server().await?;

    println!("| case | our server, called by | our client calls grpc-go |");
    println!("| --- | --- | --- |");
    for case in CASES.into_iter().chain(COMPRESSED_STREAMS) {
        // grpc-go's client has no cases with compression.
        let (name, theirs_to_ours) = if case.contains("compressed") {
            ("grpcio", grpcio_client(case, ours).await?)
        } else {
            ("grpc-go", go_client(case, ours).await?)
        };
        let ours_to_theirs = our_client(case, theirs).await?;
        println!("| `{case}` | {name}: {theirs_to_ours} | {ours_to_theirs} |");
    }
    Ok(())
}

async fn go_server() -> Result<(Child, SocketAddr)> {
    // It cannot be told to choose a port itself.
    let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let server = Command::new("grpc-go-interop-server")
        .arg(format!("-port={}", free.port()))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("grpc-go-interop-server")?;
    let listens = async {
        while TcpStream::connect(free).await.is_err() {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    time::timeout(PATIENCE, listens)
        .await
        .context("grpc-go-interop-server does not listen")?;
    Ok((server, free))
}

async fn go_client(case: &str, server: SocketAddr) -> Result<String> {
    let mut command = Command::new("grpc-go-interop-client");
    command.args([
        format!("-server_host={}", server.ip()),
        format!("-server_port={}", server.port()),
        format!("-test_case={case}"),
    ]);
    outcome(command).await
}

async fn grpcio_client(case: &str, server: SocketAddr) -> Result<String> {
    let mut command = Command::new("grpcio-interop-client");
    command.args([case, &server.to_string()]);
    outcome(command).await
}

/// What a program ends with: it says why it fails in its last line.
async fn outcome(mut command: Command) -> Result<String> {
    let name = format!("{:?}", command.as_std().get_program());
    let run = command.kill_on_drop(true).output();
    let output = time::timeout(PATIENCE, run)
        .await
        .with_context(|| format!("{name} does not end"))?
        .context(name)?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    let last = said.lines().last().unwrap_or_default();
    // In front of it, grpc-go's has the time.
    let why = last.rsplit_once("FATAL: ").map_or(last, |(_, why)| why);
    Ok(in_a_cell(output.status.success(), why))
}

async fn our_client(case: &str, server: SocketAddr) -> Result<String> {
    let channel = Endpoint::from_shared(format!("http://{server}"))?
        .connect()
        .await?;
    let ended = time::timeout(PATIENCE, cases::run(case, channel)).await;
    let ended = ended.with_context(|| format!("{case} does not end"))?;
    let said = ended.as_ref().err().map(|error| format!("{error:#}"));
    Ok(in_a_cell(ended.is_ok(), &said.unwrap_or_default()))
}

fn in_a_cell(passes: bool, said: &str) -> String {
    if passes {
        return "passes".to_owned();
    }
    format!("**fails**: {}", said.replace('|', "\\|"))
}

//! `cargo run --example attacks` tries what somebody may try who wants to be let in, and
//! prints what comes of it as a table of Markdown.

#[path = "../tests/authentication/support/mod.rs"]
mod support;

use std::{io, sync::mpsc};

use support::{Result, attacks};
use tonic::Code;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let (line, lines) = mpsc::channel();
    tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_writer(move || Lines(line.clone()))
        .init();
    println!("| what comes | code | what the log says |");
    println!("| --- | --- | --- |");
    attacks::all(|ended| {
        assert!(!ended.reached_the_handler, "{}", ended.attack.what);
        assert_eq!(ended.status.code(), ended.attack.expected);
        let logged: String = lines.try_iter().collect();
        let cause = match logged.split_once("cause=") {
            Some((_, cause)) => cause.trim().to_owned(),
            None if logged.contains("not allowed") => "not allowed".to_owned(),
            None => "nothing: it does not get that far".to_owned(),
        };
        println!(
            "| {} | {} | {cause} |",
            ended.attack.what,
            code(ended.status.code())
        );
    })
    .await
}

/// The name of a code in gRPC's documents.
fn code(code: Code) -> String {
    let name = match code {
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::Unknown => "UNKNOWN",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        other => return format!("{other:?}"),
    };
    format!("`{name}`")
}

/// Where the server's log goes.
struct Lines(mpsc::Sender<String>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).into_owned();
        self.0.send(text).map_err(io::Error::other)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

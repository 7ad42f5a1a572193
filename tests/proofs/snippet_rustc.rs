//! `rustc` for the snippets of the pages: in edition 2024, which skeptic does
//! not know, and with a check of the errors that a page shows on purpose.
//!
//! The first lines of a snippet, which begin with `//@`, are `snippets.rs`: where
//! it is written, and the error that is expected, if one is.

use std::{
    env,
    ffi::OsString,
    fs,
    process::{Command, ExitCode, Stdio},
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os()
        .skip(1)
        .map(|argument| match argument.to_str() {
            Some(edition) if edition.starts_with("--edition=") => "--edition=2024".into(),
            _ => argument,
        })
        .collect();
    let snippet = arguments
        .first()
        .and_then(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    let mut head = snippet
        .trim_start()
        .lines()
        .map_while(|line| line.strip_prefix("//@ "));
    let code = head
        .next()
        .and_then(|place| Some(place.split_once(" compile_fail ")?.1));
    let error: Vec<&str> = head.collect();

    let output = Command::new("rustc")
        .args(&arguments)
        .env_remove("RUSTC")
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .output()
        .expect("rustc can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let passes = match code {
        None => output.status.success(),
        Some(code) => {
            !output.status.success()
                && stderr.contains(&format!("error[{code}]"))
                && error.iter().all(|line| stderr.contains(line))
        }
    };
    if let (Some(code), false) = (code, passes) {
        eprintln!(
            "The block should fail to compile with {code}:\n{}\nThe compiler said:",
            error.join("\n")
        );
    }
    if passes {
        return ExitCode::SUCCESS;
    }
    eprint!("{stderr}");
    ExitCode::FAILURE
}

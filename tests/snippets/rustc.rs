//! `rustc` for the snippets of the pages: in edition 2024, which skeptic does
//! not know, and with a check of the errors that a page shows on purpose.
//!
//! The first line of a snippet says what is expected of it: see `build.rs`.

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
    let first_line = arguments
        .first()
        .and_then(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    let first_line = first_line.trim_start().lines().next().unwrap_or_default();
    let expected = first_line
        .split_once(" compile_fail ")
        .map(|(_, code)| code.trim());

    let output = Command::new("rustc")
        .args(arguments)
        .env_remove("RUSTC")
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .output()
        .expect("rustc can be started");
    let message = String::from_utf8_lossy(&output.stderr);
    let passes = match expected {
        None => output.status.success(),
        Some(code) => !output.status.success() && message.contains(&format!("error[{code}]")),
    };
    if let (Some(code), false) = (expected, passes) {
        eprintln!("This block should fail to compile with {code}; the compiler said:");
    }
    eprint!("{message}");
    if passes {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

//! What each chapter's programs do, as its reader runs them.

mod appendix;
mod authentication;
mod bidirectional_streams;
mod buf;
mod conformance;
mod deadlines;
mod errors;
mod hello_world;
mod interceptors;
mod load_balancing;
mod manual_service;
mod metadata;
mod one_way_streams;
mod other_languages;
mod pipe;
mod protobuf;
mod servers;
mod service_discovery;
mod setup;
mod streaming;
mod template;
mod transport_security;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::test::run(harness::test::registered())
}

//! `cargo xtask wire`, for the sessions: a program that is compiled with the tests, so that no
//! session waits for cargo.

use anyhow::Result;
use clap::Parser;
use stage::wire::{self, Addresses};

#[derive(Parser)]
enum Arguments {
    Wire(Addresses),
}

fn main() -> Result<()> {
    let Arguments::Wire(addresses) = Arguments::parse();
    wire::tap(addresses)
}

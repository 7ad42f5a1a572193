//! `cargo xtask wire`, for the sessions: a program that is compiled with the tests, so that no
//! session waits for cargo.

use std::{env, net::SocketAddr};

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let (mut listen, mut to) = (None, None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut address = || -> Result<SocketAddr> {
            let value = arguments.next().context("an option has no value")?;
            Ok(value.parse()?)
        };
        match argument.as_str() {
            "wire" => {}
            "--listen" => listen = Some(address()?),
            "--to" => to = Some(address()?),
            _ => bail!("unknown argument {argument}"),
        }
    }
    let listen = listen.context("--listen is missing")?;
    stage::wire::tap(listen, to.context("--to is missing")?)
}

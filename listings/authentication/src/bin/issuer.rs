//! `authentication-issuer [ADDRESS [SECRETS [LIFE [AHEAD]]]]` gives tokens that live
//! LIFE seconds, until Ctrl-C, to those who know one of the secrets in the folder
//! SECRETS. It makes them if they are not there.
//!
//! It takes two commands from its input. `rotate` publishes a new key, and signs with
//! it AHEAD seconds later; `revoke` takes all old keys back at once.

use std::{env, io, path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context, ensure};
use authentication::{
    DRAIN_TIMEOUT,
    issuer::{self, Issuer, Settings},
    program, secrets, shutdown,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log("info")?;
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = args.first().unwrap_or(&"127.0.0.1:50080");
    let folder = Path::new(args.get(1).unwrap_or(&"secrets"));
    let seconds = |at: usize, default| {
        let given = args.get(at).unwrap_or(&default);
        let parsed = given.parse().map(Duration::from_secs);
        parsed.with_context(|| format!("{given:?} is no number of seconds"))
    };
    let (life, ahead) = (seconds(2, "300")?, seconds(3, "120")?);

    secrets::folder(folder)?;
    let secret = |name: &str, kind| {
        let secret = secrets::read_or_make(&folder.join(format!("{name}.{kind}")));
        anyhow::Ok((name.to_owned(), secret?))
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    ensure!(
        address.ip().is_loopback(),
        "{address} can be reached from outside, and there is no TLS here: use 127.0.0.1"
    );
    let issuer = Arc::new(Issuer::new(Settings {
        name: format!("http://{address}"),
        life,
        ahead,
        services: vec![secret("teller", "secret")?],
        people: vec![secret("jack", "password")?, secret("李雷", "password")?],
    })?);
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    println!("listening on {address}");

    let commanded = Arc::clone(&issuer);
    // A thread of its own, since reading cannot be given up: the end of the program
    // need not wait for a line.
    thread::spawn(move || obey(&commanded));
    issuer::serve(listener, issuer, shutdown).await?;
    Ok(())
}

fn obey(issuer: &Issuer) {
    for line in io::stdin().lines().map_while(Result::ok) {
        let done = match line.trim() {
            "rotate" => issuer.rotate(),
            "revoke" => issuer.revoke(),
            other => Err(anyhow::anyhow!("{other:?}: say `rotate` or `revoke`")),
        };
        if let Err(error) = done {
            tracing::warn!("{error:#}");
        }
    }
}

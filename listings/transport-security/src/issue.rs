//! `transport-security-authority [FOLDER [DAYS [NAME…]]]` issues certificates for
//! DAYS days, new ones each time: for a server that is reached by those names, and for a
//! client.

use std::{env, path::Path};

use anyhow::Context;
use transport_security::{authority::Authority, identity::TRUST_DOMAIN};

fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let folder = args.next().unwrap_or("pki".to_owned());
    let days = args.next().unwrap_or("30".to_owned());
    let days = days
        .parse()
        .with_context(|| format!("{days:?} is no number of days"))?;
    let mut names: Vec<String> = args.collect();
    if names.is_empty() {
        names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    }
    let client = format!("{TRUST_DOMAIN}jack");

    let authority = Authority::open(Path::new(&folder))?;
    authority.issue_server(&names, days)?;
    authority.issue_client(&client, days)?;
    println!("{folder}/ca.pem: whom to trust");
    println!("{folder}/server.pem: {}, {days} days", names.join(", "));
    println!("{folder}/client.pem: {client}, {days} days");
    Ok(())
}

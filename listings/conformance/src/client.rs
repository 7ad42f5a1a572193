//! `conformance-client CASE [URI]` runs one of gRPC's test cases.

use std::{env, time::Duration};

use anyhow::Context;
use tokio::time;
use tonic::transport::Endpoint;

/// How long a case may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let case = args.next().context("say which case")?;
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());

    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(PATIENCE)
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    time::timeout(PATIENCE, conformance::cases::run(&case, channel))
        .await
        .with_context(|| format!("{case} is not over after {PATIENCE:?}"))??;
    println!("{case} passes");
    Ok(())
}

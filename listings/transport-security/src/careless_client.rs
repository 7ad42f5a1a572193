//! `transport-security-careless-client [URI [FOLDER]]` asks the greeter for a
//! greeting, and does not look at its URI.

use std::{env, path::Path};

use anyhow::Context;
use tokio::fs;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use transport_security::{
    connect::CALL_LIMIT,
    escape::escape,
    limit::within,
    malformed::repaired,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let folder = args.next().unwrap_or("pki".to_owned());
    let ca = fs::read(Path::new(&folder).join("ca.pem"))
        .await
        .with_context(|| format!("cannot read ca.pem in {folder}"))?;

    // ANCHOR: careless
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    let channel = Endpoint::from_shared(uri)?
        .tls_config(tls)?
        .connect_timeout(CALL_LIMIT)
        .connect()
        .await?;
    let mut client = GreeterServiceClient::new(repaired(channel));
    let name = "secret".to_owned();
    let call = client.say_hello(SayHelloRequest { name });
    let response = within(CALL_LIMIT, call).await?;
    println!("{}", escape(&response.into_inner().message));
    // ANCHOR_END: careless
    Ok(())
}

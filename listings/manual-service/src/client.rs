//! `manual-service-client [URI [NAME]]` asks the greeter for one greeting.

use std::{env, time::Duration};

use anyhow::Context;
use manual_service::{
    generated::greeter_service_client::GreeterServiceClient, messages::SayHelloRequest,
};
use tonic::transport::{Channel, Endpoint};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let name = args.next().unwrap_or("Ferris".to_owned());

    let mut client = GreeterServiceClient::new(connect(&uri).await?);
    let response = client.say_hello(SayHelloRequest { name }).await?;
    println!("{}", response.into_inner().message);
    Ok(())
}

/// Connects to the server at `uri`. Neither connecting nor a call may take
/// longer than five seconds: tonic itself sets no limit to either.
async fn connect(uri: &str) -> anyhow::Result<Channel> {
    Endpoint::from_shared(uri.to_owned())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(5))
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))
}

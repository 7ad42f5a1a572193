//! `hello-world-client [URI [NAME]]` asks the greeter for one greeting.

use std::{env, time::Duration};

use anyhow::Context;
use hello_world::{
    escape::escape,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
};
use tokio::time;
use tonic::transport::{Channel, Endpoint};

/// How long connecting may take, once a host name has been looked up. tonic itself
/// sets no limit.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long a call may take. tonic itself sets no limit.
const CALL_LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let name = args.next().unwrap_or("Ferris".to_owned());

    // ANCHOR: call
    let mut client = GreeterServiceClient::new(connect(&uri).await?);
    let call = client.say_hello(SayHelloRequest { name });
    // To the last byte: the timers of tonic stop at the response headers.
    let response = time::timeout(CALL_LIMIT, call)
        .await
        .with_context(|| format!("the call was not over after {CALL_LIMIT:?}"))??;
    println!("{}", escape(&response.into_inner().message));
    // ANCHOR_END: call
    Ok(())
}

// ANCHOR: connect
/// Connects to the server at `uri`, within [`CONNECT_LIMIT`].
async fn connect(uri: &str) -> anyhow::Result<Channel> {
    Endpoint::from_shared(uri.to_owned())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(CONNECT_LIMIT)
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))
}
// ANCHOR_END: connect

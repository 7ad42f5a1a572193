//! `transport-security-client [URI [CA [CERTIFICATE KEY]]]` asks the greeter for a
//! greeting. With a CA and no CERTIFICATE it shows none.

use std::{env, error::Error, process::ExitCode};

use anyhow::bail;
use tonic::{Code, Status};
use transport_security::{
    causes::{advice, causes},
    connect::{CALL_LIMIT, Files},
    escape::escape,
    limit::within,
    malformed::repaired,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let own = Some(("pki/client.pem", "pki/client.key"));
    let (uri, ca, identity) = match args[..] {
        [] => ("https://127.0.0.1:50051", "pki/ca.pem", own),
        [uri] => (uri, "pki/ca.pem", own),
        [uri, ca] => (uri, ca, None),
        [uri, ca, certificate, key] => (uri, ca, Some((certificate, key))),
        _ => bail!("say URI CA CERTIFICATE KEY, or less"),
    };
    let files = Files {
        ca: ca.into(),
        identity: identity.map(|(certificate, key)| (certificate.into(), key.into())),
    };

    // ANCHOR: call
    let endpoint = files.endpoint(uri).await?;
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return Ok(failed("cannot connect", &error)),
    };
    println!("connected");
    let mut client = GreeterServiceClient::new(repaired(channel));
    let name = "李雷".to_owned();
    let call = client.say_hello(SayHelloRequest { name });
    let status = match within(CALL_LIMIT, call).await {
        Ok(response) => {
            println!("{}", escape(&response.into_inner().message));
            return Ok(ExitCode::SUCCESS);
        }
        Err(status) => status,
    };
    // The server's answer has no cause here. What has one happened on the way, and
    // of that a status tells the half. Of a call that has taken too long, it tells
    // nothing.
    let on_the_way = status.source().is_some() || status.code() == Code::DeadlineExceeded;
    if on_the_way && let Err(error) = files.check(endpoint.uri()).await {
        return Ok(failed("the call failed", error.as_ref()));
    }
    // ANCHOR_END: call
    Ok(failed("the call failed", &status))
}

// ANCHOR: failed
/// Says all that is known: most errors say no more of themselves than "transport
/// error".
fn failed(what: &str, error: &(dyn Error + 'static)) -> ExitCode {
    println!("{what}");
    let mut last = String::new();
    for cause in causes(error) {
        let cause = match cause.downcast_ref::<Status>() {
            Some(status) => format!("{:?}: {}", status.code(), status.message()),
            None => cause.to_string(),
        };
        // Some only repeat what they were made from.
        if cause != last {
            println!("  because: {}", escape(&cause));
        }
        last = cause;
    }
    if let Some(advice) = advice(error) {
        println!("{advice}");
    }
    ExitCode::FAILURE
}
// ANCHOR_END: failed

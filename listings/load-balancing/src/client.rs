//! `load-balancing-client [POLICY [CALLS [ADDRESS[*WEIGHT]…]]]` makes so many calls,
//! ten at a time, and prints who has answered how many.

use std::{env, time::Duration};

use anyhow::{Context, Result};
use load_balancing::{
    channels::{self, AnyChannel},
    escape::escape,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
    program,
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use tonic::Request;

/// How many calls are in progress at a time.
const AT_ONCE: usize = 10;

/// How long a call may take, from its beginning to the last byte of its answer.
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    program::log();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let policy = args.first().unwrap_or(&"round-robin");
    let calls = args.get(1).unwrap_or(&"3000");
    let calls: usize = calls
        .parse()
        .with_context(|| format!("{calls:?} is no number of calls"))?;
    let mut servers = args.get(2..).unwrap_or_default();
    if servers.is_empty() {
        servers = &["127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:50053"];
    }
    let mut parsed = Vec::new();
    for server in servers {
        let (address, weight) = server.split_once('*').unwrap_or((server, "1"));
        let address = address
            .parse()
            .with_context(|| format!("{address:?} is no address"))?;
        let weight = weight
            .parse()
            .with_context(|| format!("{weight:?} is no weight"))?;
        parsed.push((address, weight));
    }

    let channel = channels::channel(policy, &parsed).await?;
    // In the order of the servers; anything else is listed after their answers.
    let mut answers: Vec<(String, usize)> = parsed
        .iter()
        .map(|(address, _)| (format!("Hello, 李雷! This is {address}."), 0))
        .collect();
    let mut count = |answer: String| match answers.iter_mut().find(|(said, _)| *said == answer) {
        Some((_, times)) => *times += 1,
        None => answers.push((answer, 1)),
    };
    let mut calling = JoinSet::new();
    for _ in 0..calls {
        if calling.len() == AT_ONCE
            && let Some(answer) = calling.join_next().await
        {
            count(answer?);
        }
        calling.spawn(call(channel.clone()));
    }
    while let Some(answer) = calling.join_next().await {
        count(answer?);
    }
    for (answer, times) in answers {
        println!("{times:>5}  {}", escape(&answer));
    }
    Ok(())
}

async fn call(channel: AnyChannel) -> String {
    let name = "李雷".to_owned();
    let mut request = Request::new(SayHelloRequest { name });
    // For the server. Here, tonic counts it to the headers of the answer only.
    request.set_timeout(DEADLINE);
    let deadline = Instant::now() + DEADLINE;
    let mut client = GreeterServiceClient::new(channel);
    match time::timeout_at(deadline, client.say_hello(request)).await {
        Ok(Ok(response)) => response.into_inner().message,
        // tonic counts too, and says CANCELLED: whichever of us is woken first.
        Ok(Err(status)) if Instant::now() < deadline => {
            format!("{:?}: {}", status.code(), status.message())
        }
        _ => format!("DeadlineExceeded: no answer in {DEADLINE:?}"),
    }
}

//! `service-discovery-client [TARGET [CALLS [NAME=ADDRESS,ADDRESS…]]]` asks the
//! servers of TARGET for a greeting, once a second. The names are those of `hello:`.

use std::{env, time::Duration};

use anyhow::Context;
use service_discovery::{
    channel::Balanced,
    escape::escape,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
    program, resolve,
    retry::retried,
    target::Target,
};
use tokio::time::{self, MissedTickBehavior};

/// How long a call may take, with all its attempts.
const DEADLINE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let target = args.first().unwrap_or(&"hello:myworld");
    let calls = args.get(1).unwrap_or(&"6");
    let calls: u32 = calls
        .parse()
        .with_context(|| format!("{calls:?} is no number of calls"))?;
    let servers = args
        .get(2)
        .unwrap_or(&"myworld=127.0.0.1:50051,127.0.0.1:50052");

    // ANCHOR: client
    let target: Target = target.parse()?;
    let map = resolve::map(servers)?;
    let mut channel = Balanced::new(resolve::resolve(&target, &map)?);
    // A server that is silent is not waited for: the first calls go to the others.
    time::timeout(DEADLINE, channel.settled()).await.ok();
    let client = GreeterServiceClient::new(channel);

    let mut seconds = time::interval(Duration::from_secs(1));
    // After a call that took long, the ones that were missed are not made up for.
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..calls {
        seconds.tick().await;
        let name = "李雷".to_owned();
        let answer = retried(SayHelloRequest { name }, DEADLINE, |request| {
            let mut client = client.clone();
            async move { client.say_hello(request).await }
        });
        match answer.await {
            Ok((response, _)) => println!("{}", escape(&response.message)),
            Err(status) => println!("{:?}: {}", status.code(), escape(status.message())),
        }
    }
    // ANCHOR_END: client
    Ok(())
}

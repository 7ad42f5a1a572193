//! `bidirectional-streams-client [URI [FROM [TO]]]` is FROM's side of a chat
//! with TO: what you type is said, Ctrl-D says goodbye.

use std::{env, io, thread, time::Duration};

use anyhow::{Context, anyhow};
use bidirectional_streams::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
    pb::{ChatRequest, Presence, chat_response::Event, chat_service_client::ChatServiceClient},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Status, transport::Endpoint};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let from = args.next().unwrap_or("jack".to_owned());
    let to = args.next().unwrap_or("mike".to_owned());

    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        // Until the response begins: a chat may be longer.
        .timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    let mut client = ChatServiceClient::new(channel);

    // ANCHOR: open
    let requests = ReceiverStream::new(typed()).map(|content| ChatRequest { content });
    let mut request = Request::new(requests);
    for (key, name) in [("from", &from), ("to", &to)] {
        let name = name
            .parse()
            .with_context(|| format!("{name:?} cannot be sent as metadata"))?;
        request.metadata_mut().insert(key, name);
    }
    let mut events = client.chat(request).await?.into_inner();
    // ANCHOR_END: open

    // ANCHOR: listen
    while let Some(response) = events.message().await.map_err(ended_early)? {
        match response.event {
            Some(Event::Message(message)) => println!("{}: {}", message.from, message.content),
            Some(Event::Presence(Presence { name, here: true })) => println!("{name} is here"),
            Some(Event::Presence(Presence { name, here: false })) => println!("{name} is not here"),
            // From a server that is newer than this program.
            None => {}
        }
    }
    println!("goodbye");
    // ANCHOR_END: listen
    Ok(())
}

/// The status in one line. Its source is left out, as two runs differ in it: the
/// same kill gives now a reset connection and now a broken pipe.
fn ended_early(status: Status) -> anyhow::Error {
    anyhow!("{:?}: {}", status.code(), status.message())
}

// ANCHOR: typed
/// The lines that are typed, until Ctrl-D.
///
/// A thread of our own: a program that ended would wait for tokio's reading of
/// standard input, which only a key ends.
fn typed() -> mpsc::Receiver<String> {
    let (lines, typed) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break; // The call has ended.
            }
        }
    });
    typed
}
// ANCHOR_END: typed

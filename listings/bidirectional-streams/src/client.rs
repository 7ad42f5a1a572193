//! `bidirectional-streams-client [URI [FROM [TO]]]` is FROM's side of a chat with TO. It
//! sends each line that you type. Ctrl-D ends the chat.

use std::{env, io, thread, time::Duration};

use anyhow::{Context, anyhow, bail};
use bidirectional_streams::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, PATIENCE,
    escape::escape,
    limit::within,
    malformed::repaired,
    pb::{
        ChatRequest, ChatResponse, Presence, chat_response::Event,
        chat_service_client::ChatServiceClient,
    },
};
use tokio::{sync::mpsc, time};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming, transport::Endpoint};

/// How long connecting may take, and then the response headers. The chat itself may take
/// longer.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How long the server may take to end the call after we have half-closed. Our last
/// message may still wait for a slow reader, for up to [`PATIENCE`].
const GOODBYE_LIMIT: Duration = PATIENCE.saturating_mul(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let from = args.next().unwrap_or("jack".to_owned());
    let to = args.next().unwrap_or("mike".to_owned());

    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(OPEN_LIMIT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    let mut client = ChatServiceClient::new(repaired(channel));

    // ANCHOR: open
    let input_ended = CancellationToken::new();
    let requests =
        ReceiverStream::new(typed(input_ended.clone())).map(|content| ChatRequest { content });
    let mut request = Request::new(requests);
    for (key, name) in [("from", &from), ("to", &to)] {
        let name = name
            .parse()
            .with_context(|| format!("{name:?} cannot be sent as metadata"))?;
        request.metadata_mut().insert(key, name);
    }
    let events = within(OPEN_LIMIT, client.chat(request))
        .await
        .map_err(ended_early)?;
    // ANCHOR_END: open

    // ANCHOR: listen
    let too_late = async {
        input_ended.cancelled().await;
        time::sleep(GOODBYE_LIMIT).await;
    };
    tokio::select! {
        ended = listen(events.into_inner()) => ended?,
        () = too_late => bail!("the call was not over {GOODBYE_LIMIT:?} after our half-close"),
    }
    println!("goodbye");
    Ok(())
}

/// Prints events until the call ends. Names and messages come from other people, so
/// control characters in them are escaped.
async fn listen(mut events: Streaming<ChatResponse>) -> anyhow::Result<()> {
    while let Some(response) = events.message().await.map_err(ended_early)? {
        match response.event {
            Some(Event::Message(message)) => {
                println!("{}: {}", escape(&message.from), escape(&message.content));
            }
            Some(Event::Presence(Presence { name, here })) => {
                let not = if here { "" } else { "not " };
                println!("{} is {not}here", escape(&name));
            }
            // An event that only a newer server knows.
            None => {}
        }
    }
    Ok(())
}
// ANCHOR_END: listen

/// The status in one line. Its source is left out because it varies: a killed server
/// shows as a reset connection or as a broken pipe.
fn ended_early(status: Status) -> anyhow::Error {
    anyhow!("{:?}: {}", status.code(), escape(status.message()))
}

// ANCHOR: typed
/// The lines that are typed, until Ctrl-D. Then `input_ended` is cancelled.
///
/// It uses a thread of its own. Reading standard input through tokio would keep the
/// program from ending until Enter is pressed.
fn typed(input_ended: CancellationToken) -> mpsc::Receiver<String> {
    let (sender, typed) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break; // The call has ended.
            }
        }
        input_ended.cancel();
    });
    typed
}
// ANCHOR_END: typed

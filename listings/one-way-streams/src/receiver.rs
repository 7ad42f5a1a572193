//! `one-way-streams-receiver [URI [USER]]` prints a user's messages, until none has come
//! for a while.

use std::{env, time::Duration};

use anyhow::{Context, anyhow};
use one_way_streams::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
    escape::escape,
    limit::within,
    malformed::repaired,
    pb::{
        AcknowledgeMessagesRequest, ReceiveMessagesRequest,
        message_service_client::MessageServiceClient,
    },
};
use tonic::{Status, transport::Endpoint};

/// How long opening the stream, or an acknowledgement, may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// How long the next message, or the end of the stream, may take. The server ends
/// a stream on which it is idle for [`Limits::idle`], so this has to be longer.
///
/// [`Limits::idle`]: one_way_streams::mailboxes::Limits::idle
const MESSAGE_LIMIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let user = args.next().unwrap_or("mike".to_owned());

    // ANCHOR: connect
    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        // A stream is silent while there are no messages. Pings find out whether the
        // server is still there.
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    let mut client = MessageServiceClient::new(repaired(channel));
    // ANCHOR_END: connect

    // ANCHOR: receive
    let request = ReceiveMessagesRequest { user: user.clone() };
    let messages = within(CALL_LIMIT, client.receive_messages(request)).await?;
    let mut messages = messages.into_inner();
    println!("waiting for messages to {user}");
    while let Some(response) = within(MESSAGE_LIMIT, messages.message())
        .await
        .map_err(ended_early)?
    {
        let message = response.message.context("the response has no message")?;
        println!("{}: {}", escape(&message.from), escape(&message.content));

        // Only after printing: a receiver that acknowledges first and is killed then
        // has lost the message.
        let request = AcknowledgeMessagesRequest {
            user: user.clone(),
            through: response.number,
        };
        within(CALL_LIMIT, client.acknowledge_messages(request)).await?;
    }
    println!("no more for now: the server has closed the stream");
    // ANCHOR_END: receive
    Ok(())
}

/// The status in one line. Its source is left out because it varies: a killed server
/// shows as a reset connection or as a broken pipe.
fn ended_early(status: Status) -> anyhow::Error {
    anyhow!("{:?}: {}", status.code(), escape(status.message()))
}

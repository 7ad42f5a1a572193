//! `one-way-streams-sender [URI [FROM TO MESSAGE…]]` sends messages to a mailbox.

use std::{env, time::Duration};

use anyhow::{Context, ensure};
use one_way_streams::{
    escape::escape,
    limit::within,
    malformed::repaired,
    pb::{Message, SendMessagesRequest, message_service_client::MessageServiceClient},
    service::MESSAGES_TAKEN,
};
use tonic::{Request, transport::Endpoint};

/// How long the whole call may take: sending, waiting for room, and the answer.
const CALL_LIMIT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let uri = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let from = args.next().unwrap_or("jack".to_owned());
    let to = args.next().unwrap_or("mike".to_owned());
    let mut contents: Vec<String> = args.collect();
    if contents.is_empty() {
        contents = ["在吗", "下午有没有时间一起打游戏", "那就这么定了"]
            .map(str::to_owned)
            .into();
    }

    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    let mut client = MessageServiceClient::new(repaired(channel));

    // ANCHOR: call
    let count = contents.len();
    let requests = contents.into_iter().map(move |content| {
        let (from, to) = (from.clone(), to.clone());
        SendMessagesRequest {
            message: Some(Message { from, to, content }),
        }
    });
    let mut request = Request::new(tokio_stream::iter(requests));
    // Tells the server, so that it does not go on for longer than we wait.
    request.set_timeout(CALL_LIMIT);
    let taken = match within(CALL_LIMIT, client.send_messages(request)).await {
        Ok(response) => response.into_inner().taken,
        Err(status) => {
            let taken = status.metadata().get(MESSAGES_TAKEN);
            let taken = taken.and_then(|taken| taken.to_str().ok());
            let taken = escape(taken.unwrap_or("an unknown number"));
            return Err(status).context(format!("{taken} of {count} messages were taken"));
        }
    };
    println!("{taken} messages sent");
    // ANCHOR_END: call
    ensure!(
        usize::try_from(taken)? == count,
        "the server took {taken} of {count} messages"
    );
    Ok(())
}

//! The mailboxes as a gRPC service.

use std::pin::Pin;

use futures_util::stream;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    mailboxes::Mailboxes,
    pb::{
        AcknowledgeMessagesRequest, AcknowledgeMessagesResponse, ReceiveMessagesRequest,
        ReceiveMessagesResponse, SendMessagesRequest, SendMessagesResponse,
        message_service_server::MessageService,
    },
};

/// The longest name, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 64;

/// The metadata of a call to send that failed: how many of its messages were
/// put into mailboxes before.
pub const MESSAGES_TAKEN: &str = "messages-taken";

/// The service.
#[derive(Debug)]
pub struct Post {
    mailboxes: Mailboxes,
    stopping: CancellationToken,
}

impl Post {
    /// Serves `mailboxes` until `stopping` is cancelled; then all calls end.
    pub fn new(mailboxes: Mailboxes, stopping: CancellationToken) -> Self {
        Self {
            mailboxes,
            stopping,
        }
    }

    // ANCHOR: take
    /// Puts messages into mailboxes until there are no more, and counts them.
    async fn take(
        &self,
        mut requests: Streaming<SendMessagesRequest>,
        taken: &mut u64,
    ) -> Result<(), Status> {
        while let Some(SendMessagesRequest { message }) = requests.message().await? {
            let message = message.ok_or_else(|| Status::invalid_argument("message is missing"))?;
            check_name("from", &message.from)?;
            check_name("to", &message.to)?;
            let (from, to) = (message.from.clone(), message.to.clone());
            self.mailboxes.put(message).await?;
            *taken += 1;
            tracing::info!(from, to, "taken");
        }
        Ok(())
    }
    // ANCHOR_END: take
}

#[tonic::async_trait]
impl MessageService for Post {
    // ANCHOR: send
    async fn send_messages(
        &self,
        request: Request<Streaming<SendMessagesRequest>>,
    ) -> Result<Response<SendMessagesResponse>, Status> {
        let mut taken = 0;
        let end = self
            .stopping
            .run_until_cancelled(self.take(request.into_inner(), &mut taken))
            .await
            .unwrap_or_else(|| Err(stopped()));
        match end {
            Ok(()) => Ok(Response::new(SendMessagesResponse { taken })),
            Err(mut status) => {
                // An answer in place of the count, so that the sender knows
                // where to go on.
                status.metadata_mut().insert(MESSAGES_TAKEN, taken.into());
                Err(status)
            }
        }
    }
    // ANCHOR_END: send

    // ANCHOR: receive
    type ReceiveMessagesStream =
        Pin<Box<dyn Stream<Item = Result<ReceiveMessagesResponse, Status>> + Send>>;

    async fn receive_messages(
        &self,
        request: Request<ReceiveMessagesRequest>,
    ) -> Result<Response<Self::ReceiveMessagesStream>, Status> {
        let ReceiveMessagesRequest { user } = request.into_inner();
        check_name("user", &user)?;
        let receiver = self.mailboxes.receive(&user)?;
        let stopping = self.stopping.clone();
        let visit = Visit {
            user,
            handed_out: 0,
        };

        let messages = stream::try_unfold(
            (receiver, visit, stopping),
            async |(mut receiver, mut visit, stopping)| {
                let next = stopping.run_until_cancelled(receiver.next()).await;
                let next = next.unwrap_or_else(|| Err(stopped()))?;
                visit.handed_out += u64::from(next.is_some());
                Ok(next.map(|message| (message, (receiver, visit, stopping))))
            },
        );
        Ok(Response::new(Box::pin(messages)))
    }
    // ANCHOR_END: receive

    // ANCHOR: acknowledge
    async fn acknowledge_messages(
        &self,
        request: Request<AcknowledgeMessagesRequest>,
    ) -> Result<Response<AcknowledgeMessagesResponse>, Status> {
        let AcknowledgeMessagesRequest { user, through } = request.into_inner();
        check_name("user", &user)?;
        self.mailboxes.acknowledge(&user, through)?;
        Ok(Response::new(AcknowledgeMessagesResponse {}))
    }
    // ANCHOR_END: acknowledge
}

// ANCHOR: visit
/// One call of a receiver, for the log: dropped when the call ends, however it
/// does.
#[derive(Debug)]
struct Visit {
    user: String,
    /// How many messages: whether they arrived, only an acknowledgement says.
    handed_out: u64,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Self { user, handed_out } = self;
        tracing::info!(user, handed_out, "receiver gone");
    }
}
// ANCHOR_END: visit

fn stopped() -> Status {
    Status::unavailable("the server is stopping: connect again")
}

/// Says what is wrong with the name in `field`.
fn check_name(field: &str, name: &str) -> Result<(), Status> {
    if name.trim().is_empty() {
        return Err(Status::invalid_argument(format!("{field} is empty")));
    }
    let chars = name.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(Status::invalid_argument(format!(
            "{field} has {chars} characters: send at most {MAX_NAME_CHARS}"
        )));
    }
    Ok(())
}

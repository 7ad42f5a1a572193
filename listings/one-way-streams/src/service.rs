//! The mailboxes as a gRPC service.

use std::pin::Pin;

use async_stream::try_stream;
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

/// The metadata key that says how many messages a failed `SendMessages` call had put
/// into mailboxes.
pub const MESSAGES_TAKEN: &str = "messages-taken";

/// The service.
#[derive(Debug)]
pub struct MailboxService {
    mailboxes: Mailboxes,
    stopping: CancellationToken,
}

impl MailboxService {
    /// Serves `mailboxes`. Open calls end with `UNAVAILABLE` once `stopping` is cancelled.
    pub fn new(mailboxes: Mailboxes, stopping: CancellationToken) -> Self {
        Self {
            mailboxes,
            stopping,
        }
    }

    // ANCHOR: take
    /// Puts messages into mailboxes until the client has sent its last one, and counts
    /// them in `taken`.
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
impl MessageService for MailboxService {
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
                // The sender needs the count to know which messages to send again.
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
        let mut receiver = self.mailboxes.receive(&user)?;
        let stopping = self.stopping.clone();
        let mut receive_call = ReceiveCall {
            user,
            handed_out: 0,
        };
        let messages = try_stream! {
            while let Some(message) = stopping
                .run_until_cancelled(receiver.next())
                .await
                .unwrap_or_else(|| Err(stopped()))?
            {
                receive_call.count();
                yield message;
            }
        };
        Ok(Response::new(Box::pin(messages)))
    }
    // ANCHOR_END: receive

    async fn acknowledge_messages(
        &self,
        request: Request<AcknowledgeMessagesRequest>,
    ) -> Result<Response<AcknowledgeMessagesResponse>, Status> {
        let AcknowledgeMessagesRequest { user, through } = request.into_inner();
        check_name("user", &user)?;
        self.mailboxes.acknowledge(&user, through)?;
        Ok(Response::new(AcknowledgeMessagesResponse {}))
    }
}

// ANCHOR: receive_call
/// A call of a receiver. It is dropped when the call ends, in whichever way, and then
/// writes to the log.
#[derive(Debug)]
struct ReceiveCall {
    user: String,
    /// How many messages were given to tonic. Only an acknowledgement says that one has
    /// arrived.
    handed_out: u64,
}

impl ReceiveCall {
    /// Counts a message. As a method, it makes the stream own the whole `ReceiveCall`: a closure
    /// that only named the field would copy the number.
    fn count(&mut self) {
        self.handed_out += 1;
    }
}

impl Drop for ReceiveCall {
    fn drop(&mut self) {
        let Self { user, handed_out } = self;
        tracing::info!(user, handed_out, "receiver gone");
    }
}
// ANCHOR_END: receive_call

fn stopped() -> Status {
    Status::unavailable("the server is stopping: connect again")
}

/// Checks the name in `field`.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is empty, only white space, or longer than [`MAX_NAME_CHARS`].
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

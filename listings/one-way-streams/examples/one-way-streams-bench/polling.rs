//! The scheme that the mailboxes are compared with: a lock around a map of vectors, into
//! which receivers look ten times a second. Its key and its lock are right, so it loses
//! nothing. It has no bound, and keeps nothing that was handed out.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_stream::try_stream;
use one_way_streams::pb::{
    AcknowledgeMessagesRequest, AcknowledgeMessagesResponse, Message, ReceiveMessagesRequest,
    ReceiveMessagesResponse, SendMessagesRequest, SendMessagesResponse,
    message_service_server::MessageService,
};
use tokio::time::sleep;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// How long a receiver sleeps between two looks.
const POLL: Duration = Duration::from_millis(100);

/// The messages, by recipient.
#[derive(Clone, Debug, Default)]
pub struct Polling(Arc<Mutex<HashMap<String, Vec<Message>>>>);

impl Polling {
    fn push(&self, message: Message) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(message.to.clone()).or_default().push(message);
    }

    fn pop(&self, user: &str) -> Option<Message> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.get_mut(user)?;
        (!queue.is_empty()).then(|| queue.remove(0))
    }
}

#[tonic::async_trait]
impl MessageService for Polling {
    async fn send_messages(
        &self,
        request: Request<Streaming<SendMessagesRequest>>,
    ) -> Result<Response<SendMessagesResponse>, Status> {
        let mut requests = request.into_inner();
        let mut taken = 0;
        while let Some(request) = requests.message().await? {
            self.push(request.message.unwrap_or_default());
            taken += 1;
        }
        Ok(Response::new(SendMessagesResponse { taken }))
    }

    type ReceiveMessagesStream =
        Pin<Box<dyn Stream<Item = Result<ReceiveMessagesResponse, Status>> + Send>>;

    async fn receive_messages(
        &self,
        request: Request<ReceiveMessagesRequest>,
    ) -> Result<Response<Self::ReceiveMessagesStream>, Status> {
        let user = request.into_inner().user;
        let queues = self.clone();
        let messages = try_stream! {
            loop {
                sleep(POLL).await;
                if let Some(message) = queues.pop(&user) {
                    yield ReceiveMessagesResponse {
                        number: 0,
                        message: Some(message),
                    };
                }
            }
        };
        Ok(Response::new(Box::pin(messages)))
    }

    async fn acknowledge_messages(
        &self,
        _: Request<AcknowledgeMessagesRequest>,
    ) -> Result<Response<AcknowledgeMessagesResponse>, Status> {
        Ok(Response::new(AcknowledgeMessagesResponse {}))
    }
}

//! HTTP/2 without tonic: sends what no generated client would.

use std::{error, net::SocketAddr};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use tokio::net::TcpStream;
use tonic::{Code, Status};

/// Whatever went wrong, on any task.
pub type Error = Box<dyn error::Error + Send + Sync>;

/// A connection to the greeter.
pub struct Wire {
    address: SocketAddr,
    requests: SendRequest<Bytes>,
    /// What the next requests say they are.
    pub content_type: &'static str,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let socket = TcpStream::connect(address).await?;
        let (requests, connection) = h2::client::handshake(socket).await?;
        tokio::spawn(connection);
        Ok(Self {
            address,
            requests,
            content_type: "application/grpc",
        })
    }

    /// Calls the method with these bytes as the message.
    pub async fn call(
        &mut self,
        method: &str,
        message: impl AsRef<[u8]>,
    ) -> Result<Response<String>, Status> {
        self.exchange(method, message.as_ref())
            .await
            .unwrap_or_else(|error| Err(Status::from_error(error)))
    }

    async fn exchange(
        &mut self,
        method: &str,
        message: &[u8],
    ) -> Result<Result<Response<String>, Status>, Error> {
        let uri = format!(
            "http://{}/greeting.v1.GreeterService/{method}",
            self.address
        );
        let request = Request::post(uri)
            .header("content-type", self.content_type)
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = self.requests.send_request(request, false)?;
        body.send_data(framed(message), true)?;

        let (head, mut body) = response.await?.into_parts();
        let mut answer = Vec::new();
        while let Some(data) = body.data().await {
            answer.extend(data?);
        }
        let trailers = body.trailers().await?;
        let status = Status::from_header_map(trailers.as_ref().unwrap_or(&head.headers))
            .ok_or("there is no grpc-status")?;
        if status.code() != Code::Ok {
            return Ok(Err(status));
        }
        // Behind the prefix, see `framed`.
        let json = String::from_utf8(answer.split_off(5))?;
        Ok(Ok(Response::from_parts(head, json)))
    }
}

/// The message behind its prefix: not compressed, and this long.
pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("it is short");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

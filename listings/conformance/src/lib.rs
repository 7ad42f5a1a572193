//! gRPC's test service: what every implementation of gRPC is tested against.

use std::{pin::Pin, time::Duration};

use tokio::{net::TcpListener, sync::mpsc, time};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codec::CompressionEncoding,
    transport::{self, Server, server::TcpIncoming},
};
use tower::util::MapRequestLayer;

use crate::{
    echo::Echo,
    flags::{Flags, note_flags},
    pb::{
        BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, SimpleResponse,
        StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
        StreamingOutputCallResponse,
        test_service_server::{TestService, TestServiceServer},
    },
};

pub mod cases;
pub mod echo;
pub mod flags;
pub mod incoming;
pub mod shutdown;

/// What the build script generated from `grpc/testing/test.proto`.
pub mod pb {
    tonic::include_proto!("grpc.testing");
}

/// The largest payload that is sent, in bytes: what fits into a message of the
/// default limit.
pub const MAX_PAYLOAD: usize = 4_000_000;

/// How many calls may be open on one connection. Further ones wait in the client.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 100;

/// How long the open calls may take to end once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Responses that wait for room on the connection, for each stream.
const WAITING: usize = 8;

/// The service. It has no state, so one value serves every call.
#[derive(Debug, Default)]
pub struct Conformance;

// ANCHOR: unary
#[tonic::async_trait]
impl TestService for Conformance {
    async fn empty_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let flags = Flags::of(request.extensions());
        let request = request.into_inner();
        check_compressed(request.expect_compressed, &flags)?;
        check_status(request.response_status)?;
        let payload = Some(payload(request.response_size)?);
        let mut response = Response::new(SimpleResponse { payload });
        if !asks(request.response_compressed) {
            response.disable_compression();
        }
        Ok(response)
    }
    // ANCHOR_END: unary

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let flags = Flags::of(request.extensions());
        let mut requests = request.into_inner();
        let mut size = 0_i32;
        while let Some(request) = requests.message().await? {
            check_compressed(request.expect_compressed, &flags)?;
            let more = request.payload.map_or(0, |payload| payload.body.len());
            let sum = i32::try_from(more).ok().and_then(|it| size.checked_add(it));
            size = sum.ok_or_else(|| Status::out_of_range("the sum of the sizes is too large"))?;
        }
        Ok(Response::new(StreamingInputCallResponse {
            aggregated_payload_size: size,
        }))
    }

    type StreamingOutputCallStream = Responses;

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Responses>, Status> {
        let request = request.into_inner();
        check_stream(&request.response_parameters)?;
        Ok(stream(|responses| async move {
            answer(request, &responses).await
        }))
    }

    type FullDuplexCallStream = Responses;

    // ANCHOR: duplex
    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let mut requests = request.into_inner();
        Ok(stream(|responses| async move {
            while let Some(request) = requests.message().await? {
                answer(request, &responses).await?;
            }
            Ok(())
        }))
    }
    // ANCHOR_END: duplex
}

/// Any stream of responses.
pub type Responses =
    Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;

/// Where responses go.
type Sender = mpsc::Sender<Result<StreamingOutputCallResponse, Status>>;

// ANCHOR: stream
/// A stream of what `answers` sends, in a task of its own: it ends when the client has
/// gone, whatever it waits for.
fn stream<F>(answers: impl FnOnce(Sender) -> F) -> Response<Responses>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (responses, messages) = mpsc::channel(WAITING);
    let answers = answers(responses.clone());
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = answers => ended,
            () = responses.closed() => return,
        };
        if let Err(status) = ended {
            responses.send(Err(status)).await.ok();
        }
    });
    Response::new(Box::pin(ReceiverStream::new(messages)))
}
// ANCHOR_END: stream

/// Sends what a request asks for.
async fn answer(request: StreamingOutputCallRequest, responses: &Sender) -> Result<(), Status> {
    check_status(request.response_status)?;
    for ResponseParameters {
        size, interval_us, ..
    } in request.response_parameters
    {
        time::sleep(Duration::from_micros(
            u64::try_from(interval_us).unwrap_or(0),
        ))
        .await;
        let payload = Some(payload(size)?);
        let response = StreamingOutputCallResponse { payload };
        let gone = |_| Status::cancelled("the client has gone");
        responses.send(Ok(response)).await.map_err(gone)?;
    }
    Ok(())
}

// ANCHOR: checks
/// Whether it is there and true.
fn asks(value: Option<BoolValue>) -> bool {
    value.is_some_and(|it| it.value)
}

/// tonic compresses each message of a stream, if the client takes that:
/// `disable_compression` is for responses of one message.
fn check_stream(wanted: &[ResponseParameters]) -> Result<(), Status> {
    let not_this_one = Some(BoolValue { value: false });
    if wanted.iter().any(|it| it.compressed == not_this_one) {
        return Err(Status::unimplemented(
            "each message of a stream is compressed here",
        ));
    }
    Ok(())
}

/// Whether the message that was read last is compressed as it says.
fn check_compressed(expected: Option<BoolValue>, flags: &Flags) -> Result<(), Status> {
    let compressed = flags.next();
    match expected {
        Some(BoolValue { value }) if compressed != Some(value) => Err(Status::invalid_argument(
            "the message is not compressed as it says",
        )),
        _ => Ok(()),
    }
}

/// Ends the call as the client has asked for.
fn check_status(wanted: Option<EchoStatus>) -> Result<(), Status> {
    match wanted {
        Some(EchoStatus { code, message }) if code != 0 => {
            Err(Status::new(Code::from(code), message))
        }
        _ => Ok(()),
    }
}

/// So many zeros.
fn payload(size: i32) -> Result<Payload, Status> {
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size <= MAX_PAYLOAD);
    let size = size.ok_or_else(|| {
        Status::invalid_argument(format!("a payload has 0 to {MAX_PAYLOAD} bytes"))
    })?;
    Ok(Payload {
        body: vec![0; size],
    })
}
// ANCHOR_END: checks

// ANCHOR: serve
/// Serves the test service on `listener` until `shutdown` resolves, and returns when
/// the calls that are in progress have ended, after [`DRAIN_TIMEOUT`] at most.
///
/// # Errors
///
/// tonic can return an error, but this server gives it no reason to: what goes
/// wrong on a connection ends that connection only.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let service = TestServiceServer::new(Conformance)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming::pause_on_errors(incoming);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        // A client may cancel all of them at once. By default, 21 at a time end the
        // connection, with every other call on it.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS_PER_CONNECTION as usize))
        .layer(tower::layer::layer_fn(Echo::new))
        .layer(MapRequestLayer::new(note_flags))
        .add_service(service);
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await
}
// ANCHOR_END: serve

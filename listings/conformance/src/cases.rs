//! gRPC's test cases, as a client of tonic's runs them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, IntoStreamingRequest, Request, Status,
    body::Body,
    client::Grpc,
    codec::CompressionEncoding,
    codegen::http,
    metadata::{AsciiMetadataValue, BinaryMetadataValue, MetadataMap},
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tower::util::MapResponse;

use crate::{
    echo::{INITIAL, TRAILING},
    flags::{Flags, note_response_flags},
    pb::{
        BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest,
        StreamingInputCallRequest, StreamingOutputCallRequest, StreamingOutputCallResponse,
        test_service_client::TestServiceClient,
        unimplemented_service_client::UnimplementedServiceClient,
    },
};

/// The names of the cases, as gRPC has given them.
pub const CASES: [&str; 16] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "client_compressed_unary",
    "server_compressed_unary",
];

/// Those in which messages of one stream are compressed and others are not.
pub const COMPRESSED_STREAMS: [&str; 2] =
    ["client_compressed_streaming", "server_compressed_streaming"];

/// The sizes of requests and of responses: gRPC's test cases name these.
const REQUESTS: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [usize; 4] = [31_415, 9, 2_653, 58_979];
const LARGE: (usize, usize) = (271_828, 314_159);

/// How long the server may sleep.
const SHORT: Duration = Duration::from_millis(1);

/// A status of these is asked for, and has to come back.
const MESSAGE: &str = "test status message";
const SPECIAL_MESSAGE: &str = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";

type Noting = MapResponse<Channel, fn(http::Response<Body>) -> http::Response<Body>>;
type Client = TestServiceClient<Noting>;

/// Runs one case against the server at the other end of `channel`.
///
/// # Errors
///
/// Says what is not as the case wants it, or that there is no such case.
pub async fn run(case: &str, channel: Channel) -> Result<()> {
    let mut client = Client::new(MapResponse::new(channel.clone(), note_response_flags))
        .accept_compressed(CompressionEncoding::Gzip);
    match case {
        "empty_unary" => {
            client.empty_call(Empty {}).await?;
            Ok(())
        }
        "large_unary" => large_unary(client, None).await,
        "client_streaming" => client_streaming(client).await,
        "server_streaming" => server_streaming(client).await,
        "ping_pong" => ping_pong(client).await,
        "empty_stream" => {
            let first = first_response(&mut client, tokio_stream::empty()).await?;
            ensure!(first.is_none(), "there is a response to nothing");
            Ok(())
        }
        "timeout_on_sleeping_server" => timeout_on_sleeping_server(client).await,
        "cancel_after_begin" => cancel_after_begin(client).await,
        "cancel_after_first_response" => cancel_after_first_response(client).await,
        "custom_metadata" => custom_metadata(client).await,
        "status_code_and_message" => status(client, Code::Unknown, MESSAGE).await,
        "special_status_message" => status(client, Code::Unknown, SPECIAL_MESSAGE).await,
        "unimplemented_method" => {
            let mut grpc = Grpc::new(channel);
            grpc.ready().await?;
            let path =
                http::uri::PathAndQuery::from_static("/grpc.testing.TestService/UnimplementedCall");
            let codec = ProstCodec::<Empty, Empty>::default();
            ends_with(
                grpc.unary(Request::new(Empty {}), path, codec).await,
                Code::Unimplemented,
            )
            .map(drop)
        }
        "unimplemented_service" => {
            let mut client = UnimplementedServiceClient::new(channel);
            ends_with(
                client.unimplemented_call(Empty {}).await,
                Code::Unimplemented,
            )
            .map(drop)
        }
        "client_compressed_unary" => {
            let mut probe = large_request();
            probe.expect_compressed = Some(BoolValue { value: true });
            ends_with(client.unary_call(probe).await, Code::InvalidArgument)
                .context("the server does not look whether a message is compressed")?;
            large_unary(
                client.clone().send_compressed(CompressionEncoding::Gzip),
                Some(true),
            )
            .await?;
            large_unary(client, Some(false)).await
        }
        "server_compressed_unary" => server_compressed_unary(client).await,
        "client_compressed_streaming" => {
            bail!("tonic compresses all messages of a stream, or none")
        }
        "server_compressed_streaming" => server_compressed_streaming(client).await,
        _ => bail!(
            "there is no case `{case}`; there are: {}",
            [&CASES[..], &COMPRESSED_STREAMS].concat().join(", ")
        ),
    }
}

// ANCHOR: unary
async fn large_unary(mut client: Client, compressed: Option<bool>) -> Result<()> {
    let mut request = large_request();
    request.expect_compressed = compressed.map(|value| BoolValue { value });
    let response = client.unary_call(request).await?.into_inner();
    ensure_size(response.payload, LARGE.1)
}

fn large_request() -> SimpleRequest {
    SimpleRequest {
        response_size: LARGE.1 as i32,
        payload: Some(zeros(LARGE.0)),
        ..SimpleRequest::default()
    }
}

async fn server_compressed_unary(mut client: Client) -> Result<()> {
    for value in [true, false] {
        let mut request = large_request();
        request.response_compressed = Some(BoolValue { value });
        let response = client.unary_call(request).await?;
        ensure_compressed(&Flags::of(response.extensions()), value)?;
        ensure_size(response.into_inner().payload, LARGE.1)?;
    }
    Ok(())
}

async fn server_compressed_streaming(mut client: Client) -> Result<()> {
    let wanted = [(31_415, true), (92_653, false)];
    let parameters = wanted.map(|(size, value)| ResponseParameters {
        compressed: Some(BoolValue { value }),
        ..of_size(size)
    });
    let request = StreamingOutputCallRequest {
        response_parameters: parameters.into(),
        ..StreamingOutputCallRequest::default()
    };
    let responses = client.streaming_output_call(request).await?;
    let flags = Flags::of(responses.extensions());
    let mut responses = responses.into_inner();
    for (size, value) in wanted {
        let response = responses.message().await?;
        ensure_size(response.context("a response is missing")?.payload, size)?;
        ensure_compressed(&flags, value)?;
    }
    Ok(())
}

fn ensure_compressed(flags: &Flags, wanted: bool) -> Result<()> {
    match flags.next() {
        Some(compressed) if compressed == wanted => Ok(()),
        _ if wanted => bail!("a response that is to be compressed is not"),
        _ => bail!("a response that is not to be compressed is"),
    }
}
// ANCHOR_END: unary

async fn client_streaming(mut client: Client) -> Result<()> {
    let requests = REQUESTS.map(|size| StreamingInputCallRequest {
        payload: Some(zeros(size)),
        expect_compressed: None,
    });
    let response = client
        .streaming_input_call(tokio_stream::iter(requests))
        .await?;
    let size = response.into_inner().aggregated_payload_size;
    ensure!(size == 74_922, "the sum of the sizes is {size}");
    Ok(())
}

async fn server_streaming(mut client: Client) -> Result<()> {
    let request = StreamingOutputCallRequest {
        response_parameters: RESPONSES.map(of_size).into(),
        ..StreamingOutputCallRequest::default()
    };
    let mut responses = client.streaming_output_call(request).await?.into_inner();
    for size in RESPONSES {
        let response = responses.message().await?;
        ensure_size(response.context("a response is missing")?.payload, size)?;
    }
    ensure!(
        responses.message().await?.is_none(),
        "there is one too many"
    );
    Ok(())
}

// ANCHOR: duplex
async fn ping_pong(mut client: Client) -> Result<()> {
    let exchanges = REQUESTS.into_iter().zip(RESPONSES);
    let mut exchanges = exchanges.map(|(sent, wanted)| exchange(sent, wanted));
    let (requests, receiver) = mpsc::channel(1);
    // Before the call: grpc-go's server sends no headers until it has a response.
    requests
        .send(exchanges.next().context("there is one")?)
        .await?;
    let responses = client
        .full_duplex_call(ReceiverStream::new(receiver))
        .await?;
    let mut responses = responses.into_inner();
    for wanted in RESPONSES {
        let response = responses.message().await?;
        ensure_size(response.context("a response is missing")?.payload, wanted)?;
        if let Some(next) = exchanges.next() {
            requests.send(next).await?;
        }
    }
    drop(requests);
    ensure!(
        responses.message().await?.is_none(),
        "there is one too many"
    );
    Ok(())
}

async fn timeout_on_sleeping_server(mut client: Client) -> Result<()> {
    let (requests, receiver) = mpsc::channel(1);
    let mut request = exchange(REQUESTS[0], RESPONSES[0]);
    request.response_parameters.clear();
    requests.send(request).await?;
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.set_timeout(SHORT);
    let deadline = Instant::now() + SHORT;
    let call = first_response(&mut client, request);
    // tonic's own timer calls it CANCELLED, and does not look at a stream that has begun.
    let ended = match time::timeout_at(deadline, call).await {
        Ok(ended) if Instant::now() < deadline => ended,
        _ => Err(Status::deadline_exceeded("the time for this call is up")),
    };
    ends_with(ended, Code::DeadlineExceeded).map(drop)
}
// ANCHOR_END: duplex

// ANCHOR: cancel
async fn cancel_after_begin(mut client: Client) -> Result<()> {
    let (_requests, receiver) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(receiver));
    let cancellation = request.cancellation_handle();
    let call = client.streaming_input_call(request);
    cancellation.cancel();
    ends_with(call.await, Code::Cancelled).map(drop)
}

async fn cancel_after_first_response(mut client: Client) -> Result<()> {
    let (requests, receiver) = mpsc::channel(1);
    requests.send(exchange(REQUESTS[0], RESPONSES[0])).await?;
    let mut request = Request::new(ReceiverStream::new(receiver));
    let cancellation = request.cancellation_handle();
    let responses = client.full_duplex_call(request).await?;
    let mut responses = responses.into_inner();
    responses.message().await?.context("there is no response")?;
    cancellation.cancel();
    ends_with(responses.message().await, Code::Cancelled).map(drop)
}
// ANCHOR_END: cancel

async fn custom_metadata(mut client: Client) -> Result<()> {
    let response = client.unary_call(with_metadata(large_request())).await?;
    // Of a single message, tonic puts headers and trailers together.
    echoed_initial(response.metadata())?;
    echoed_trailing(Some(response.metadata()))?;
    let requests = tokio_stream::once(exchange(LARGE.0, LARGE.1));
    let responses = client.full_duplex_call(with_metadata(requests)).await?;
    echoed_initial(responses.metadata())?;
    let mut responses = responses.into_inner();
    let response = responses.message().await?.context("there is no response")?;
    ensure_size(response.payload, LARGE.1)?;
    ensure!(
        responses.message().await?.is_none(),
        "there is one too many"
    );
    echoed_trailing(responses.trailers().await?.as_ref())
}

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert(INITIAL, AsciiMetadataValue::from_static(ECHOED));
    metadata.insert_bin(TRAILING, BinaryMetadataValue::from_bytes(&ECHOED_BYTES));
    request
}

const ECHOED: &str = "test_initial_metadata_value";
const ECHOED_BYTES: [u8; 3] = [0xab, 0xab, 0xab];

fn echoed_initial(headers: &MetadataMap) -> Result<()> {
    let value = headers.get(INITIAL);
    ensure!(
        value.is_some_and(|value| value == ECHOED),
        "the headers have {value:?}"
    );
    Ok(())
}

fn echoed_trailing(trailers: Option<&MetadataMap>) -> Result<()> {
    let value = trailers.and_then(|trailers| trailers.get_bin(TRAILING));
    let bytes = value.and_then(|value| value.to_bytes().ok());
    ensure!(
        bytes.as_deref() == Some(&ECHOED_BYTES),
        "the trailers have {value:?}"
    );
    Ok(())
}

async fn status(mut client: Client, code: Code, message: &str) -> Result<()> {
    let wanted = Some(EchoStatus {
        code: code as i32,
        message: message.to_owned(),
    });
    let unary = SimpleRequest {
        response_status: wanted.clone(),
        ..SimpleRequest::default()
    };
    says(&ends_with(client.unary_call(unary).await, code)?, message)?;
    let duplex = StreamingOutputCallRequest {
        response_status: wanted,
        ..StreamingOutputCallRequest::default()
    };
    let ended = first_response(&mut client, tokio_stream::once(duplex)).await;
    says(&ends_with(ended, code)?, message)
}

fn says(status: &Status, message: &str) -> Result<()> {
    let said = status.message();
    ensure!(said == message, "the message is {said:?}");
    Ok(())
}

/// What comes first of a call of `FullDuplexCall`.
async fn first_response(
    client: &mut Client,
    requests: impl IntoStreamingRequest<Message = StreamingOutputCallRequest>,
) -> Result<Option<StreamingOutputCallResponse>, Status> {
    let responses = client.full_duplex_call(requests).await?;
    responses.into_inner().message().await
}

fn ends_with<T>(ended: Result<T, Status>, code: Code) -> Result<Status> {
    match ended {
        Err(status) if status.code() == code => Ok(status),
        Err(status) => bail!(
            "ended with {:?} ({:?}) and not with {code:?}",
            status.code(),
            status.message()
        ),
        Ok(_) => bail!("ended with Ok and not with {code:?}"),
    }
}

/// A request of one size for a response of another.
fn exchange(sent: usize, wanted: usize) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![of_size(wanted)],
        payload: Some(zeros(sent)),
        response_status: None,
    }
}

fn of_size(size: usize) -> ResponseParameters {
    ResponseParameters {
        size: size as i32,
        ..ResponseParameters::default()
    }
}

fn zeros(size: usize) -> Payload {
    Payload {
        body: vec![0; size],
    }
}

fn ensure_size(payload: Option<Payload>, size: usize) -> Result<()> {
    let actual = payload.map_or(0, |payload| payload.body.len());
    ensure!(
        actual == size,
        "a payload has {actual} bytes and not {size}"
    );
    Ok(())
}

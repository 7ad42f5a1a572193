//! tonic's client against tonic's server: every case, and what neither can do.

use std::{future::pending, time::Duration};

use anyhow::{Context, Result};
use conformance::{
    MAX_PAYLOAD,
    cases::{self, CASES, COMPRESSED_STREAMS},
    flags::{Flags, note_response_flags},
    pb::{
        BoolValue, Empty, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
        StreamingOutputCallRequest, test_service_client::TestServiceClient,
    },
    serve,
};
use tokio::{net::TcpListener, runtime::Handle, task, time};
use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};
use tower::util::MapResponse;

/// Longer than anything takes here that works.
const PATIENCE: Duration = Duration::from_secs(30);

async fn served() -> Result<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, pending()));
    Ok(Endpoint::from_shared(uri)?.connect().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_passes() -> Result<()> {
    for case in CASES {
        cases::run(case, served().await?).await.context(case)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_case_that_is_none_is_named() -> Result<()> {
    let error = cases::run("full_unary", served().await?).await.unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("there is no case `full_unary`; there are: empty_unary, "));
    Ok(())
}

#[tokio::test]
async fn messages_of_one_stream_are_all_compressed_or_none() -> Result<()> {
    for (case, says) in COMPRESSED_STREAMS.into_iter().zip([
        "tonic compresses all messages of a stream, or none",
        "each message of a stream is compressed here",
    ]) {
        let error = cases::run(case, served().await?).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_of_responses_is_compressed_for_whoever_takes_that() -> Result<()> {
    for takes in [true, false] {
        let channel = MapResponse::new(served().await?, note_response_flags);
        let mut client = TestServiceClient::new(channel);
        if takes {
            client = client.accept_compressed(CompressionEncoding::Gzip);
        }
        let parameters = ResponseParameters {
            size: 1000,
            ..ResponseParameters::default()
        };
        let request = StreamingOutputCallRequest {
            response_parameters: vec![parameters; 3],
            ..StreamingOutputCallRequest::default()
        };
        let responses = client.streaming_output_call(request).await?;
        let flags = Flags::of(responses.extensions());
        let mut responses = responses.into_inner();
        while responses.message().await?.is_some() {
            assert_eq!(flags.next(), Some(takes));
        }
        assert_eq!(flags.next(), None);
    }
    Ok(())
}

/// Its second response is to come in half an hour.
#[tokio::test]
async fn a_stream_that_is_cancelled_leaves_no_task() -> Result<()> {
    let mut client = TestServiceClient::new(served().await?);
    client.empty_call(Empty {}).await?;
    for _ in 0..100 {
        task::yield_now().await;
    }
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let parameters = [0, i32::MAX].map(|interval_us| ResponseParameters {
        size: 9,
        interval_us,
        compressed: None,
    });
    let request = StreamingOutputCallRequest {
        response_parameters: parameters.into(),
        ..StreamingOutputCallRequest::default()
    };
    let mut responses = client.streaming_output_call(request).await?.into_inner();
    responses.message().await?.context("the first comes")?;
    assert!(tasks() > before);
    drop(responses);
    let gone = async {
        while tasks() > before {
            task::yield_now().await;
        }
    };
    time::timeout(PATIENCE, gone)
        .await
        .context("a task is left")
}

#[tokio::test]
async fn a_size_that_is_none_is_refused() -> Result<()> {
    let mut client = TestServiceClient::new(served().await?);
    for response_size in [-1, MAX_PAYLOAD as i32 + 1] {
        let request = SimpleRequest {
            response_size,
            ..SimpleRequest::default()
        };
        let status = client.unary_call(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "a payload has 0 to 4000000 bytes");
    }
    Ok(())
}

#[tokio::test]
async fn what_says_that_it_is_compressed_and_is_not_is_refused_in_a_stream() -> Result<()> {
    let mut client = TestServiceClient::new(served().await?);
    let requests = [None, Some(false), Some(true)].map(|expected| StreamingInputCallRequest {
        payload: None,
        expect_compressed: expected.map(|value| BoolValue { value }),
    });
    let sent = tokio_stream::iter(requests);
    let status: Status = client.streaming_input_call(sent).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    Ok(())
}

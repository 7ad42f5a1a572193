//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use bidirectional_streams::{
    pb::{ChatRequest, chat_service_client::ChatServiceClient},
    serve,
};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::{Code, Request, Status, metadata::MetadataValue};

/// Opens a call; how it ends.
async fn chat(
    request: Request<impl Stream<Item = ChatRequest> + Send + 'static>,
) -> Result<(), Status> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, std::future::pending()));
    let client = ChatServiceClient::connect(uri).await;
    let mut client = client.map_err(|error| Status::from_error(error.into()))?;
    let mut events = client.chat(request).await?.into_inner();
    while events.message().await?.is_some() {}
    Ok(())
}

#[tokio::test]
#[should_panic(expected = "silence is passed on")]
async fn exercise_1_who_says_nothing_is_told_so() {
    let mut request = Request::new(tokio_stream::iter([ChatRequest::default()]));
    request
        .metadata_mut()
        .insert("from", MetadataValue::from_static("jack"));
    request
        .metadata_mut()
        .insert("to", MetadataValue::from_static("mike"));
    let status = chat(request).await.expect_err("silence is passed on");
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// Names in any script travel as bytes, under keys that end in `-bin`.
#[tokio::test]
#[should_panic(expected = "杰克 cannot chat")]
async fn exercise_2_names_may_be_in_any_script() {
    let mut request = Request::new(tokio_stream::empty());
    for (key, name) in [("from-bin", "杰克"), ("to-bin", "麦克")] {
        let name = MetadataValue::from_bytes(name.as_bytes());
        request.metadata_mut().insert_bin(key, name);
    }
    chat(request).await.expect("杰克 cannot chat");
}

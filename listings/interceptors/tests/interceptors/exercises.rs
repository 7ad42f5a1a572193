//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use interceptors::{
    callers::{API_KEY, Callers},
    pb::{ListPeopleRequest, person_service_client::PersonServiceClient},
    serve,
};
use tokio::net::TcpListener;
use tonic::{Code, Request, Response, Status, metadata::AsciiMetadataValue};

const KEYS: &str = "k-1 front-desk\nk-2 night-shift locked\n";

/// Lists people with the key, and metadata of the exercise's.
async fn list(key: &'static str, more: &[(&'static str, &'static str)]) -> Result<(), Status> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let callers: Callers = KEYS.parse().map_err(|_| Status::internal("the keys"))?;
    tokio::spawn(serve(listener, callers, std::future::pending()));
    let client = PersonServiceClient::connect(uri).await;
    let mut client = client.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(ListPeopleRequest {});
    for &(name, value) in [(API_KEY, key)].iter().chain(more) {
        let value = AsciiMetadataValue::from_static(value);
        request.metadata_mut().append(name, value);
    }
    client.list_people(request).await.map(|_: Response<_>| ())
}

#[tokio::test]
#[should_panic(expected = "a caller who is locked out")]
async fn exercise_1_a_caller_can_be_locked_out() {
    assert!(list("k-1", &[]).await.is_ok(), "nobody has locked it");
    let status = list("k-2", &[])
        .await
        .expect_err("a caller who is locked out");
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
#[should_panic(expected = "two keys")]
async fn exercise_2_a_call_has_one_key() {
    let status = list("k-1", &[(API_KEY, "k-2")])
        .await
        .expect_err("two keys");
    assert_eq!(status.code(), Code::InvalidArgument);
}

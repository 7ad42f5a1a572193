//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use std::{error::Error, fs, future::pending, net::SocketAddr};

use interceptors::{
    callers::API_KEY,
    pb::{ListPeopleRequest, person_service_client::PersonServiceClient},
    serve, stack,
};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status, metadata::AsciiMetadataValue};

const KEYS: &str = "k-1 front-desk\nk-2 night-shift locked\n";

/// Lists people with these keys: from the server with the interceptor, and from
/// the one with the layer.
async fn list(keys: &[&'static str]) -> Result<[Result<(), Status>; 2], Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys.txt");
    fs::write(&file, KEYS)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let interceptor = listener.local_addr()?;
    tokio::spawn(serve(listener, KEYS.parse()?, pending()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let layer = listener.local_addr()?;
    tokio::spawn(stack::serve(listener, file, pending()));
    Ok([call(interceptor, keys).await?, call(layer, keys).await?])
}

async fn call(
    server: SocketAddr,
    keys: &[&'static str],
) -> Result<Result<(), Status>, Box<dyn Error>> {
    let mut client = PersonServiceClient::connect(format!("http://{server}")).await?;
    let mut request = Request::new(ListPeopleRequest {});
    for &key in keys {
        let key = AsciiMetadataValue::from_static(key);
        request.metadata_mut().append(API_KEY, key);
    }
    Ok(client.list_people(request).await.map(|_| ()))
}

#[tokio::test]
#[should_panic(expected = "a caller who is locked out")]
async fn exercise_1_a_caller_can_be_locked_out() {
    for result in list(&["k-1"]).await.expect("the servers run") {
        result.expect("the front desk is not locked out");
    }
    for result in list(&["k-2"]).await.expect("the servers run") {
        let status = result.expect_err("a caller who is locked out");
        assert_eq!(status.code(), Code::PermissionDenied);
    }
}

#[tokio::test]
#[should_panic(expected = "two keys")]
async fn exercise_2_a_call_has_one_key() {
    for keys in [["k-1", "k-2"], ["k-1", "k-1"]] {
        for result in list(&keys).await.expect("the servers run") {
            let status = result.expect_err("two keys");
            assert_eq!(status.code(), Code::InvalidArgument);
        }
    }
}

//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use std::future;

use manual_service::serve;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::wire::Wire;

/// Calls the method with this JSON, and returns the JSON that comes back.
async fn call(method: &str, json: &str) -> Result<String, Status> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, future::pending()));
    let mut wire = Wire::connect(address).await.map_err(Status::from_error)?;
    Ok(wire.call(method, json).await?.into_body())
}

#[tokio::test]
#[should_panic(expected = "nobody says goodbye")]
async fn exercise_1_the_greeter_says_goodbye() {
    let greeting = call("SayGoodbye", r#"{"name":"世界"}"#)
        .await
        .expect("nobody says goodbye");
    assert_eq!(greeting, r#"{"message":"Goodbye, 世界!"}"#);
    let status = call("SayGoodbye", r#"{"name":" "}"#)
        .await
        .expect_err("there is no name");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
#[should_panic(expected = "a list is read as an object")]
async fn exercise_2_a_list_instead_of_an_object_is_refused() {
    for list in [r#"["Ferris"]"#, "\n\t [\"Ferris\"]"] {
        let status = call("SayHello", list)
            .await
            .expect_err("a list is read as an object");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

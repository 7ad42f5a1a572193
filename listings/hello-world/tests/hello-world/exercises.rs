//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use hello_world::{
    Greeter,
    pb::{SayHelloRequest, greeter_service_server::GreeterService},
};
use tonic::{Code, Request, Status};

/// Calls the service as a function: no connection is needed.
async fn greet(name: &str) -> Result<String, Status> {
    let request = Request::new(SayHelloRequest {
        name: name.to_owned(),
    });
    Ok(Greeter.say_hello(request).await?.into_inner().message)
}

#[tokio::test]
#[should_panic(expected = "white space is greeted")]
async fn exercise_1_names_are_greeted_without_the_white_space_around_them() {
    let greeting = greet(" Ferris\t").await.expect("the name is good");
    assert_eq!(greeting, "Hello, Ferris!", "white space is greeted");
}

#[tokio::test]
#[should_panic(expected = "a line break is greeted")]
async fn exercise_2_a_name_with_control_characters_is_refused() {
    let status = greet("Fer\nris")
        .await
        .expect_err("a line break is greeted");
    assert_eq!(status.code(), Code::InvalidArgument);
}

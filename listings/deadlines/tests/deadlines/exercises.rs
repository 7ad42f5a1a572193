//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use deadlines::{
    layer::DeadlineLayer,
    link::Link,
    pb::{
        PlaceOrderRequest, order_service_client::OrderServiceClient,
        order_service_server::OrderServiceServer,
    },
};
use tokio::time::Instant;
use tonic::{Code, Request, Status, body::Body};
use tower::{Layer, Service};

/// How long the handler works.
const WORK: Duration = Duration::from_millis(200);

fn handler() -> OrderServiceServer<Link> {
    OrderServiceServer::new(Link {
        name: "carrier".to_owned(),
        work: WORK,
        next: None,
    })
}

fn order(timeout: Option<Duration>) -> Request<PlaceOrderRequest> {
    let mut request = Request::new(PlaceOrderRequest {
        article: "茶".to_owned(),
        count: 1,
    });
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

/// Stands between [`DeadlineLayer`] and a handler that works for [`WORK`].
#[derive(Clone)]
struct EnoughTime<S>(S);

impl<S> Service<http::Request<Body>> for EnoughTime<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.call(request))
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "half of the work is done for nothing")]
async fn exercise_1_work_that_cannot_be_done_in_time_is_not_begun() {
    let layer = DeadlineLayer { at_most: WORK * 10 };
    let mut client = OrderServiceClient::new(layer.layer(EnoughTime(handler())));

    let began = Instant::now();
    let result = client.place_order(order(Some(WORK / 2))).await;
    let status = result.expect_err("there is too little time");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let took = began.elapsed();
    assert!(took.is_zero(), "half of the work is done for nothing");

    for timeout in [Some(WORK * 2), None] {
        let result = client.place_order(order(timeout)).await;
        result.expect("there is enough time");
    }
}

/// The message that ends a call, in a service without a connection.
async fn message(at_most: Duration, timeout: Option<Duration>) -> String {
    let mut client = OrderServiceClient::new(DeadlineLayer { at_most }.layer(handler()));
    let result = client.place_order(order(timeout)).await;
    let status: Status = result.expect_err("there is too little time");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    status.message().to_owned()
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the caller cannot know the limit")]
async fn exercise_2_the_server_names_its_own_limit() {
    let of_the_caller = message(WORK * 10, Some(WORK / 2)).await;
    assert!(!of_the_caller.contains("100 ms"), "{of_the_caller}");
    for timeout in [None, Some(WORK * 10)] {
        let of_the_server = message(WORK / 2, timeout).await;
        assert!(
            of_the_server.contains("100 ms"),
            "the caller cannot know the limit: {of_the_server}"
        );
    }
}

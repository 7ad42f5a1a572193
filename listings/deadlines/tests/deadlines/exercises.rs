//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use std::{sync::Arc, time::Duration};

use deadlines::{
    layer::DeadlineLayer,
    link::Link,
    pb::{
        PlaceOrderRequest, order_service_client::OrderServiceClient,
        order_service_server::OrderServiceServer,
    },
};
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tower::Layer;

const WORK: Duration = Duration::from_millis(200);

/// What an order ends with, in a service without a connection.
async fn ended(at_most: Duration, timeout: Option<Duration>) -> Status {
    let link = Link {
        name: "carrier".to_owned(),
        work: WORK,
        next: None,
    };
    let orders = OrderServiceServer::from_arc(Arc::new(link));
    let mut client = OrderServiceClient::new(DeadlineLayer { at_most }.layer(orders));
    let mut request = Request::new(PlaceOrderRequest {
        article: "茶".to_owned(),
        count: 1,
    });
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let result = client.place_order(request).await;
    result.expect_err("there is too little time")
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "half of the work is done for nothing")]
async fn exercise_1_work_that_cannot_be_done_in_time_is_not_begun() {
    let began = Instant::now();
    let status = ended(WORK * 10, Some(WORK / 2)).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let took = began.elapsed();
    assert!(took.is_zero(), "half of the work is done for nothing");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "whose limit it was")]
async fn exercise_2_the_server_says_that_it_was_its_own_limit() {
    let theirs = ended(WORK * 10, Some(WORK / 2)).await;
    assert!(!theirs.message().contains("100 ms"));
    let ours = ended(WORK / 2, None).await;
    assert!(ours.message().contains("100 ms"), "whose limit it was");
}

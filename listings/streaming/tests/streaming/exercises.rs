//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use streaming::{
    Till,
    pb::{
        AddUpRequest, AddUpResponse, GetPriceRequest, till_service_client::TillServiceClient,
        till_service_server::TillService,
    },
    serve,
};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status};

/// Adds up so many loaves of bread.
async fn add_up(loaves: usize) -> Result<AddUpResponse, Status> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, std::future::pending()));
    let client = TillServiceClient::connect(uri).await;
    let mut client = client.map_err(|error| Status::from_error(error.into()))?;
    let article = "bread".to_owned();
    let requests = tokio_stream::iter(vec![AddUpRequest { article }; loaves]);
    Ok(client.add_up(requests).await?.into_inner())
}

#[tokio::test]
#[should_panic(expected = "there is no end to the basket")]
async fn exercise_1_a_basket_has_room_for_a_thousand_articles() {
    assert!(add_up(1000).await.is_ok(), "a thousand are too many");
    let status = add_up(1001)
        .await
        .expect_err("there is no end to the basket");
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
#[should_panic(expected = "nothing is looked for")]
async fn exercise_2_an_article_without_a_name_is_a_mistake() {
    let request = Request::new(GetPriceRequest::default());
    let status = Till.get_price(request).await.expect_err("it has no price");
    assert_eq!(
        status.code(),
        Code::InvalidArgument,
        "nothing is looked for"
    );
}

//! What the clients do with a server that is not as it should be.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{HeaderValue, StatusCode};
use tokio::{net::TcpListener, process::Command, task::JoinSet};
use tonic::{
    body::Body,
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};
use tower::Service;

use crate::peer::{Answer, run};

const CLIENT: &str = env!("CARGO_BIN_EXE_interceptors-client");

/// No answer comes to its end. `message` is a whole one.
fn unfinished(message: &'static [u8]) -> [Answer; 5] {
    [
        Answer::Nothing,
        Answer::Headers,
        Answer::HalfMessage,
        Answer::Message(message),
        Answer::ByteASecond,
    ]
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up() {
    let mut clients = JoinSet::new();
    for answer in unfinished(b"\0\0\0\0\0") {
        clients.spawn(run(CLIENT, &[], &[], answer));
    }
    while let Some(client) = clients.join_next().await {
        let client = client.expect("it ends");
        let printed = String::from_utf8_lossy(&client.stdout);
        for call in ["create", "get jack", "get jenny", "list", "look up"] {
            let line = format!("{call}: DeadlineExceeded, the call was not over after 5s\n");
            assert!(printed.contains(&line), "{printed}");
        }
        // The calls were dropped, which the log layer sees.
        assert_eq!(printed.matches("status=Cancelled").count(), 5, "{printed}");
    }
}

/// A proxy that reaches no server: it answers with a page.
#[derive(Clone)]
struct Proxy;

impl NamedService for Proxy {
    const NAME: &'static str = "person.v1.PersonService";
}

impl Service<http::Request<Body>> for Proxy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let page = "<html>there is no server</html>".to_owned();
        let mut response = http::Response::new(Body::new(page));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let html = HeaderValue::from_static("text/html");
        response.headers_mut().insert("content-type", html);
        ready(Ok(response))
    }
}

#[tokio::test]
async fn a_proxy_s_page_is_logged_as_the_status_that_the_caller_sees()
-> Result<(), Box<dyn std::error::Error>> {
    let incoming = TcpIncoming::from(TcpListener::bind("127.0.0.1:0").await?);
    let uri = format!("http://{}", incoming.local_addr()?);
    tokio::spawn(
        Server::builder()
            .add_service(Proxy)
            .serve_with_incoming(incoming),
    );
    let client = Command::new(CLIENT).arg(uri).output().await?;
    let printed = String::from_utf8(client.stdout)?;
    assert_eq!(
        printed.matches("status=Unavailable").count(),
        5,
        "{printed}"
    );
    assert_eq!(printed.matches(": Unavailable, ").count(), 5, "{printed}");
    Ok(())
}

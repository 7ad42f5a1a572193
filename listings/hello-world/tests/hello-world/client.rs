//! What the client does with a server that is not as it should be.

use hello_world::{
    escape::escape,
    pb::{
        SayHelloRequest, SayHelloResponse,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
};
use tokio::{net::TcpListener, process::Command, task::JoinSet};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::peer::{Answer, run};

const CLIENT: &str = env!("CARGO_BIN_EXE_hello-world-client");

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up() {
    let mut clients = JoinSet::new();
    for answer in [
        Answer::Nothing,
        Answer::Headers,
        Answer::HalfMessage,
        Answer::Message(b"\0\0\0\0\0"),
        Answer::ByteASecond,
    ] {
        clients.spawn(run(CLIENT, &[], &[], answer));
    }
    while let Some(client) = clients.join_next().await {
        let client = client.expect("it ends");
        let error = String::from_utf8_lossy(&client.stderr);
        assert!(!client.status.success());
        assert!(error.contains("the call was not over after 5s"), "{error}");
    }
}

/// A greeter that somebody else has written.
struct Foreign;

#[tonic::async_trait]
impl GreeterService for Foreign {
    async fn say_hello(
        &self,
        _: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        let message = "O'Neill \u{1b}[2J\u{7}\n世界".to_owned();
        Ok(Response::new(SayHelloResponse { message }))
    }
}

#[tokio::test]
async fn a_greeting_cannot_control_the_terminal() -> Result<(), Box<dyn std::error::Error>> {
    let incoming = TcpIncoming::from(TcpListener::bind("127.0.0.1:0").await?);
    let uri = format!("http://{}", incoming.local_addr()?);
    let server = Server::builder().add_service(GreeterServiceServer::new(Foreign));
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = Command::new(CLIENT).arg(uri).output().await?;
    let printed = String::from_utf8(client.stdout)?;
    assert_eq!(printed, "O'Neill \\u{1b}[2J\\u{7}\\n世界\n");
    Ok(())
}

#[test]
fn what_can_be_printed_stays_as_it_is() {
    for text in ["", "世界", "हिन्दी", "e\u{301}", "\"it's\"", "🦀", " a b "] {
        assert_eq!(escape(text), text);
    }
    for (text, escaped) in [
        ("\r\n\t", r"\r\n\t"),
        ("\0\u{7f}\u{9b}31m", r"\0\u{7f}\u{9b}31m"),
        ("\u{202e}\u{2028}", r"\u{202e}\u{2028}"),
        (r"\'", r"\\'"),
        (r"\n", r"\\n"),
    ] {
        assert_eq!(escape(text), escaped);
    }
}

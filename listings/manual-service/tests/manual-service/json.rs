//! What the greeter promises, checked over a real connection.

use std::{future, net::SocketAddr};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE, uri::PathAndQuery};
use manual_service::{
    Greeter, MAX_NAME_CHARS, MAX_REQUEST_BYTES,
    generated::{
        greeter_service_client::GreeterServiceClient, greeter_service_server::GreeterServiceServer,
    },
    json::{JsonCodec, Message},
    messages::{SayHelloRequest, SayHelloResponse},
    serve,
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{ServiceBuilder, util::MapResponseLayer};

use crate::wire::{Error, Wire, framed};

const SAY_HELLO: &str = "/greeting.v1.GreeterService/SayHello";

/// A server in this process, on a port that the system chose.
async fn start() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, future::pending()));
    Ok(address)
}

async fn channel(address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await
}

async fn greet(address: SocketAddr, name: &str) -> Result<String, Status> {
    let channel = channel(address)
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let response = GreeterServiceClient::new(channel)
        .say_hello(request(name))
        .await?;
    Ok(response.into_inner().message)
}

fn request(name: &str) -> SayHelloRequest {
    SayHelloRequest {
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn greets_by_name_in_any_script() -> Result<(), Error> {
    let address = start().await?;
    for name in ["Ferris", "世界", "🦀", "\"Ferris\"\\\n"] {
        assert_eq!(greet(address, name).await?, format!("Hello, {name}!"));
    }
    Ok(())
}

#[tokio::test]
async fn reads_and_writes_json() -> Result<(), Error> {
    let mut wire = Wire::connect(start().await?).await?;
    for message in [
        r#"{"name":"世界"}"#,
        r#"{"name":"\u4e16\u754c"}"#,
        " {\n\t\"name\": \"世界\"\n}\n",
    ] {
        let response = wire.call("SayHello", message).await?;
        assert_eq!(response.into_body(), r#"{"message":"Hello, 世界!"}"#);
    }
    Ok(())
}

#[tokio::test]
async fn refuses_a_bad_name() -> Result<(), Error> {
    let address = start().await?;
    for name in ["", "  \t\n", "\u{3000}"] {
        let status = greet(address, name).await.expect_err("it is empty");
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}");
        assert_eq!(status.message(), "name is empty: say whom to greet");
    }

    let longest = "界".repeat(MAX_NAME_CHARS);
    assert_eq!(
        greet(address, &longest).await?,
        format!("Hello, {longest}!")
    );
    let status = greet(address, &format!("{longest}界"))
        .await
        .expect_err("it is too long");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "name has 65 characters: send at most 64");
    Ok(())
}

/// One connection: what cannot be read ends its own call, but not the next one.
#[tokio::test]
async fn says_where_a_request_is_no_json() -> Result<(), Error> {
    let mut wire = Wire::connect(start().await?).await?;
    for (message, wrong) in [
        (&b""[..], "EOF while parsing a value at line 1 column 0"),
        (b"Ferris", "expected value at line 1 column 1"),
        (
            b"{\n  \"name\": Ferris\n}",
            "expected value at line 2 column 11",
        ),
        (
            b"{\"name\":\"Ferris\"",
            "EOF while parsing an object at line 1 column 16",
        ),
        (
            b"{\"name\":\"Ferris\"}{}",
            "trailing characters at line 1 column 18",
        ),
        (
            b"{\"name\":\"Ferris\"}\0",
            "trailing characters at line 1 column 18",
        ),
        (
            b"{\"name\":\"\xffFerris\"}",
            "invalid unicode code point at line 1 column 10",
        ),
        (
            b"{\"name\":\"\\ud800\"}",
            "unexpected end of hex escape at line 1 column 16",
        ),
    ] {
        let status = wire
            .call("SayHello", message)
            .await
            .expect_err("it is no JSON");
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
        assert_eq!(
            status.message(),
            format!("cannot read the message: {wrong}")
        );
    }
    wire.call("SayHello", r#"{"name":"Ferris"}"#).await?;
    Ok(())
}

#[tokio::test]
async fn refuses_a_request_that_does_not_fit() -> Result<(), Error> {
    let mut wire = Wire::connect(start().await?).await?;
    for (message, wrong) in [
        (
            r#"{"name":"Ferris","名":"世界"}"#,
            "unknown field `名`, expected `name` at line 1 column 22",
        ),
        (r#"{}"#, "missing field `name` at line 1 column 2"),
        (
            r#"{"name":"Ferris","name":"世界"}"#,
            "duplicate field `name` at line 1 column 23",
        ),
        (
            r#"{"name":null}"#,
            "invalid type: null, expected a string at line 1 column 12",
        ),
        (
            r#""Ferris""#,
            "invalid type: string \"Ferris\", expected struct SayHelloRequest at line 1 column 8",
        ),
    ] {
        let status = wire
            .call("SayHello", message)
            .await
            .expect_err("it does not fit");
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
        assert_eq!(
            status.message(),
            format!("cannot read the message: {wrong}")
        );
    }
    Ok(())
}

/// The same service, as a client with a .proto file would have it.
#[derive(Clone, PartialEq, prost::Message)]
struct ProstName {
    #[prost(string, tag = "1")]
    name: String,
}

/// The tag of the first field is 10, a line feed: so it fails in line 2.
#[tokio::test]
async fn refuses_a_client_that_speaks_protocol_buffers() -> Result<(), Error> {
    let mut grpc = Grpc::new(channel(start().await?).await?);
    for (name, wrong) in [
        ("Ferris", "expected value at line 2 column 1"),
        // With no field set there is nothing to send.
        ("", "EOF while parsing a value at line 1 column 0"),
    ] {
        grpc.ready().await?;
        let name = name.to_owned();
        let status = grpc
            .unary::<_, ProstName, _>(
                Request::new(ProstName { name }),
                PathAndQuery::from_static(SAY_HELLO),
                ProstCodec::default(),
            )
            .await
            .expect_err("it is no JSON");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.message(),
            format!("cannot read the message: {wrong}")
        );
    }
    Ok(())
}

#[tokio::test]
async fn refuses_a_request_that_is_too_large() -> Result<(), Error> {
    let mut wire = Wire::connect(start().await?).await?;
    let message = r#"{"name":"Ferris"}"#;
    wire.call("SayHello", format!("{message:MAX_REQUEST_BYTES$}"))
        .await?;

    let status = wire
        .call("SayHello", format!("{message:0$}", MAX_REQUEST_BYTES + 1))
        .await
        .expect_err("it is too large");
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(
        status.message(),
        "Error, decoded message length too large: found 1025 bytes, the limit is: 1024 bytes"
    );
    Ok(())
}

/// The longest name is read however it is spelt, and so is the longest refusal.
#[tokio::test]
async fn has_room_for_what_may_come_and_go() -> Result<(), Error> {
    let address = start().await?;
    let name = r"\ud83e\udd80".repeat(MAX_NAME_CHARS);
    let mut wire = Wire::connect(address).await?;
    wire.call("SayHello", format!(r#"{{"name":"{name}"}}"#))
        .await?;

    // A private character takes 3 bytes, 8 when serde quotes it, 12 in a header.
    let text = Text("\u{e000}".repeat(MAX_REQUEST_BYTES / 3 - 1));
    let mut grpc = Grpc::new(channel(address).await?);
    grpc.ready().await?;
    let status = grpc
        .unary(
            Request::new(text),
            PathAndQuery::from_static(SAY_HELLO),
            JsonCodec::<Text, SayHelloResponse>::default(),
        )
        .await
        .expect_err("it does not fit");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    Ok(())
}

/// A message that the greeter does not know: only a string.
#[derive(Serialize, Deserialize)]
struct Text(String);

impl Message for Text {
    const UNREADABLE: Code = Code::Internal;
}

/// Answers one call with these bytes as the message; returns the call's headers.
fn answering(
    listener: TcpListener,
    content_type: &'static str,
    message: &'static [u8],
) -> JoinHandle<Result<HeaderMap, Error>> {
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let mut connection = h2::server::handshake(socket).await?;
        let (request, mut respond) = connection.accept().await.ok_or("nobody calls")??;

        let response = http::Response::builder().header(CONTENT_TYPE, content_type);
        let mut body = respond.send_response(response.body(())?, false)?;
        body.send_data(framed(message), false)?;
        let ok = HeaderValue::from_static("0");
        body.send_trailers(HeaderMap::from_iter([("grpc-status".parse()?, ok)]))?;
        // Nothing is sent otherwise; it ends when the client goes.
        while connection.accept().await.is_some() {}
        Ok(request.into_parts().0.headers)
    })
}

#[tokio::test]
async fn a_response_that_cannot_be_read_is_internal() -> Result<(), Error> {
    for (message, wrong) in [
        (&b"Hello"[..], "expected value at line 1 column 1"),
        (b"{}", "missing field `message` at line 1 column 2"),
        (
            b"{\"message\":\"Hello\",\"mood\":1}",
            "unknown field `mood`, expected `message` at line 1 column 25",
        ),
        (
            b"{\"message\":\"\xff\"}",
            "invalid unicode code point at line 1 column 13",
        ),
        (
            b"{\"message\":\"Hello\"} ...",
            "trailing characters at line 1 column 21",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        answering(listener, "application/grpc", message);
        let status = greet(address, "Ferris").await.expect_err("unreadable");
        assert_eq!(status.code(), Code::Internal, "{wrong}");
        assert_eq!(
            status.message(),
            format!("cannot read the message: {wrong}")
        );
    }
    Ok(())
}

const JSON: &str = "application/grpc+json";

#[tokio::test]
async fn the_content_type_is_application_grpc() -> Result<(), Error> {
    // The client's, though the caller asks for another …
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = GreeterServiceClient::new(channel(listener.local_addr()?).await?);
    let answered = answering(listener, JSON, br#"{"message":"Hello!"}"#);
    let mut request = Request::new(request("Ferris"));
    request.metadata_mut().insert("content-type", JSON.parse()?);
    client.say_hello(request).await?;
    drop(client);
    let headers = answered.await??;
    assert_eq!(headers[CONTENT_TYPE], "application/grpc");

    // … and the server's, whatever the client says.
    let mut wire = Wire::connect(start().await?).await?;
    for content_type in ["application/grpc", JSON, "text/plain"] {
        wire.content_type = content_type;
        let response = wire.call("SayHello", r#"{"name":"Ferris"}"#).await?;
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    }
    Ok(())
}

#[tokio::test]
async fn a_layer_makes_the_content_type_say_json() -> Result<(), Error> {
    let json = HeaderValue::from_static(JSON);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let channel = ServiceBuilder::new()
        .map_request(|mut request: http::Request<_>| {
            request.headers_mut().insert(CONTENT_TYPE, json.clone());
            request
        })
        .service(channel(listener.local_addr()?).await?);
    let mut client = GreeterServiceClient::new(channel);
    let answered = answering(listener, JSON, br#"{"message":"Hello!"}"#);
    client.say_hello(request("Ferris")).await?;
    drop(client);
    let headers = answered.await??;
    assert_eq!(headers[CONTENT_TYPE], JSON);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let layer = MapResponseLayer::new(|mut response: http::Response<_>| {
        let json = HeaderValue::from_static(JSON);
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    });
    let server = Server::builder()
        .layer(layer)
        .add_service(GreeterServiceServer::new(Greeter))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    let mut wire = Wire::connect(address).await?;
    let response = wire.call("SayHello", r#"{"name":"Ferris"}"#).await?;
    assert_eq!(response.headers()[CONTENT_TYPE], JSON);
    Ok(())
}

//! The chapter `interceptors`, as its reader runs it, and what it says of tonic.

use std::{fs, sync::mpsc};

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server, workspace};
use interceptors::{
    callers::{API_KEY, Callers, sent},
    pb::{
        CreatePeopleRequest, GetPersonRequest, ListPeopleRequest, LookUpPeopleRequest,
        person_service_client::PersonServiceClient, person_service_server::PersonServiceServer,
    },
    registry::Registry,
};
use regex::Regex;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::mpsc::channel,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, GrpcMethod, Request, Status,
    metadata::AsciiMetadataValue,
    transport::{Channel, server::Router},
};
use xtask::bench::Measured;

const SERVER: &str = "interceptors-server";
const STACK: &str = "interceptors-stack-server";
const PANICKING: &str = "interceptors-panicking-server";
const CLIENT: &str = "interceptors-client";

/// A key in the listing's sample.
const KEY: &str = "k-7f2c9ad1";

async fn client(server: &Server) -> Result<PersonServiceClient<Channel>> {
    Ok(PersonServiceClient::connect(server.uri()).await?)
}

fn with_key<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key = AsciiMetadataValue::from_static(KEY);
    request.metadata_mut().insert(API_KEY, key);
    request
}

fn named(name: &str) -> LookUpPeopleRequest {
    let name = name.to_owned();
    LookUpPeopleRequest { name }
}

fn get(name: &str) -> GetPersonRequest {
    let name = name.to_owned();
    GetPersonRequest { name }
}

/// Method and status of each call that was logged.
fn logged(output: &str) -> Result<Vec<(String, String)>> {
    let call = Regex::new(r"call method=/person\.v1\.PersonService/(\w+) status=(\w+) elapsed=\S")?;
    let calls = call.captures_iter(output);
    Ok(calls.map(|call| (call[1].into(), call[2].into())).collect())
}

#[test]
fn both_sides_log_each_kind_of_call_with_its_status() -> Result {
    let listing = Listing::build("interceptors")?;
    let server = listing.server(SERVER)?;
    let client = listing.run(CLIENT, [server.uri()])?;
    let calls = [
        ("CreatePeople", "Ok"),
        ("GetPerson", "Ok"),
        ("GetPerson", "NotFound"),
        ("ListPeople", "Ok"),
        ("LookUpPeople", "NotFound"),
    ]
    .map(|(method, status)| (method.to_owned(), status.to_owned()));
    assert_eq!(logged(&client.output)?, calls);
    assert_eq!(logged(&server.stop()?.output)?, calls);
    Ok(())
}

/// A client that cancels, and one that is killed, look the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_given_up_is_logged_as_cancelled() -> Result {
    let mut server = Listing::build("interceptors")?.server(SERVER)?;
    let mut client = client(&server).await?;
    let (_names, requests) = channel::<LookUpPeopleRequest>(1);
    let mut request = with_key(ReceiverStream::new(requests));
    let cancellation = request.cancellation_handle();
    let _people = client.look_up_people(request).await?;
    cancellation.cancel();
    server
        .program
        .wait_for_text("LookUpPeople status=Cancelled")?;

    // Before the response begins: the future is dropped.
    let (_people, requests) = channel::<CreatePeopleRequest>(1);
    let mut request = with_key(ReceiverStream::new(requests));
    request.set_timeout(std::time::Duration::from_millis(100));
    let status = client.create_people(request).await;
    assert_eq!(status.expect_err("nobody comes").code(), Code::Cancelled);
    server
        .program
        .wait_for_text("CreatePeople status=Cancelled")?;
    Ok(())
}

/// Half-way, in both directions: what comes after the response has begun, and
/// what comes before.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_logged_as_what_it_is() -> Result {
    let mut server = Listing::build("interceptors")?.server(SERVER)?;
    let mut client = client(&server).await?;
    let person = |name: String| {
        let address = "北京".repeat(50);
        let person = Some(interceptors::pb::Person {
            name,
            address,
            ..Default::default()
        });
        CreatePeopleRequest { person }
    };
    let people = [person("jack".to_owned()), person(String::new())];
    let people = with_key(tokio_stream::iter(people));
    let status = client.create_people(people).await;
    assert_eq!(status.expect_err("no name").code(), Code::InvalidArgument);
    server
        .program
        .wait_for_text("CreatePeople status=InvalidArgument")?;

    // More than the windows hold, so that the server waits for the reader.
    let people: Vec<_> = (0..20_000)
        .map(|number| person(number.to_string()))
        .collect();
    let people = with_key(tokio_stream::iter(people));
    client.create_people(people).await?;
    let everybody = client.list_people(with_key(ListPeopleRequest {})).await?;
    let mut everybody = everybody.into_inner();
    everybody.message().await?.context("there are some")?;
    drop(everybody);
    server
        .program
        .wait_for_text("ListPeople status=Cancelled")?;
    Ok(())
}

/// An interceptor in front of a service does not see what is not for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_nobody_has_is_logged_too() -> Result {
    let mut server = Listing::build("interceptors")?.server(SERVER)?;
    let mut grpc = tonic::client::Grpc::new(Channel::from_shared(server.uri())?.connect().await?);
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/person.v1.PersonService/Forget");
    let codec = tonic_prost::ProstCodec::<GetPersonRequest, GetPersonRequest>::default();
    let status = grpc.unary(with_key(get("jack")), path, codec).await;
    assert_eq!(status.expect_err("no such").code(), Code::Unimplemented);
    server
        .program
        .wait_for_text("Forget status=Unimplemented")?;
    Ok(())
}

/// The client's layer has the status that the caller gets.
#[tokio::test]
async fn a_server_that_is_gone_is_logged_as_unavailable() -> Result {
    // Bound, and not listening: no server of another test gets this port.
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let nobody = format!("http://{}", socket.local_addr()?);
    let (lines, printed) = mpsc::channel();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || Lines(lines.clone()))
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let channel = Channel::from_shared(nobody)?.connect_lazy();
    let channel = tower::Layer::layer(&interceptors::log::LogLayer, channel);
    let mut client = PersonServiceClient::new(channel);
    let status = client.get_person(get("jack")).await;
    let status = status.expect_err("nobody is there");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "tcp connect error")
    );
    let printed: String = printed.try_iter().collect();
    assert_eq!(
        logged(&printed)?,
        [("GetPerson".to_owned(), "Unavailable".to_owned())]
    );
    Ok(())
}

/// What somebody answers who speaks no gRPC, and what the log and the caller make
/// of it.
#[tokio::test]
async fn an_answer_of_another_make_is_logged_as_the_caller_sees_it() -> Result {
    let (lines, printed) = mpsc::channel();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || Lines(lines.clone()))
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    for (http_status, grpc_status, with_body) in [
        (400, None, false),
        (401, None, false),
        (403, None, false),
        (404, None, false),
        (429, None, false),
        (502, None, false),
        (503, None, false),
        (504, None, false),
        (500, None, false),
        (200, None, false),
        (200, Some("5"), false),
        (200, Some("5"), true),
    ] {
        let answer = tower::service_fn(move |_: http::Request<tonic::body::Body>| {
            let mut response = http::Response::builder().status(http_status);
            if let Some(status) = grpc_status {
                response = response.header("grpc-status", status);
            }
            let body = if with_body {
                let pending = tokio_stream::pending::<Result<http_body::Frame<bytes::Bytes>>>();
                tonic::body::Body::new(http_body_util::StreamBody::new(pending))
            } else {
                tonic::body::Body::empty()
            };
            std::future::ready(response.body(body))
        });
        let channel = tower::Layer::layer(&interceptors::log::LogLayer, answer);
        let mut client = PersonServiceClient::new(channel);
        let status = client.get_person(get("jack")).await;
        let code = status.expect_err("it is no answer").code();
        let printed: String = printed.try_iter().collect();
        assert_eq!(
            logged(&printed)?,
            [("GetPerson".to_owned(), format!("{code:?}"))],
            "{http_status} {grpc_status:?} {with_body}"
        );
    }
    Ok(())
}

/// Where a log goes.
struct Lines(mpsc::Sender<String>);

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let line_text = String::from_utf8_lossy(line).into_owned();
        self.0.send(line_text).map_err(std::io::Error::other)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A panic ends its call, and neither the connection nor the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_call_alone() -> Result {
    let listing = Listing::build("interceptors")?;
    for (arguments, before, sentence) in [
        (&[][..], Code::Cancelled, "h2 protocol error: http2 error"),
        (
            &["caught"][..],
            Code::Internal,
            "the server has made a mistake",
        ),
    ] {
        let server = listing.server_with(PANICKING, arguments)?;
        let mut client = client(&server).await?;
        // One connection for all of them.
        for _ in 0..2 {
            let status = client.get_person(get("jack")).await;
            let status = status.expect_err("the handler panics");
            assert_eq!((status.code(), status.message()), (before, sentence));

            let people = tokio_stream::iter([CreatePeopleRequest::default()]);
            let status = client.create_people(people).await;
            assert_eq!(status.expect_err("it panics").code(), before);

            // The layer has long let go of a response that has begun.
            let mut people = client.list_people(ListPeopleRequest {}).await?.into_inner();
            let status = people.message().await.expect_err("the stream panics");
            assert_eq!(status.code(), Code::Cancelled);

            let names = tokio_stream::iter([named("jack")]);
            let mut people = client.look_up_people(names).await?.into_inner();
            let status = people.message().await.expect_err("the stream panics");
            assert_eq!(status.code(), Code::Cancelled);
        }
        let end = server.stop()?;
        assert_eq!(end.code, 0);
        let of = |method: &str, code: Code| (method.to_owned(), format!("{code:?}"));
        // The log knows better than the client.
        let calls = ["GetPerson", "CreatePeople", "ListPeople", "LookUpPeople"]
            .map(|method| of(method, Code::Internal));
        assert_eq!(logged(&end.output)?, [calls.clone(), calls].concat());
    }
    Ok(())
}

/// Not at DEBUG, not when it is wrong, on neither side and behind neither stack.
#[test]
fn no_logger_prints_a_key() -> Result {
    let listing = Listing::build("interceptors")?;
    let mut printed = String::new();
    for server in [SERVER, STACK] {
        let server = listing.server_with(server, &["debug"])?;
        for key in [KEY, "k-7f2c9ad2"] {
            let client = listing.run(CLIENT, [&server.uri(), key, "debug"])?;
            printed += &client.output;
        }
        let server = server.stop()?.output;
        // Nor what is in a message.
        ensure!(!server.contains("jack"), "{server}");
        printed += &server;
    }
    ensure!(printed.contains("number=1"), "no message was logged");
    ensure!(printed.contains("\"api-key\": Sensitive"), "{printed}");
    ensure!(!printed.contains("k-7f2c"), "{printed}");
    // What they have to avoid: metadata shows itself whole.
    ensure!(format!("{:?}", with_key(())).contains(KEY));
    Ok(())
}

/// Its own number, or the one that it came with.
#[tokio::test]
async fn the_stack_numbers_each_call() -> Result {
    let server = Listing::build("interceptors")?.server(STACK)?;
    let mut client = client(&server).await?;
    let mut request = with_key(ListPeopleRequest {});
    let response = client.list_people(request).await?;
    let number = response.metadata().get("x-request-id");
    let number = number.context("it has a number")?.to_str()?;
    ensure!(number.len() == 36, "{number} is no UUID");

    request = with_key(ListPeopleRequest {});
    request
        .metadata_mut()
        .insert("x-request-id", AsciiMetadataValue::from_static("7"));
    let response = client.list_people(request).await?;
    assert_eq!(
        response.metadata().get("x-request-id").context("none")?,
        "7"
    );

    // The span is in each line of the call.
    let output = server.stop()?.output;
    ensure!(output.contains("call{id=\"7\"}: end of stream"), "{output}");
    Ok(())
}

/// What is the caller's own doing wakes nobody.
#[test]
fn a_missing_person_is_no_error_of_the_server() -> Result {
    let listing = Listing::build("interceptors")?;
    let server = listing.server(STACK)?;
    listing.run(CLIENT, [&server.uri(), KEY])?;
    let output = server.stop()?.output;
    ensure!(output.contains("status=5"), "{output}");
    ensure!(!output.contains("ERROR"), "{output}");
    Ok(())
}

#[tokio::test]
async fn a_key_is_asked_for_by_both_servers_and_health_for_none() -> Result {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    let listing = Listing::build("interceptors")?;
    for server in [SERVER, STACK] {
        let server = listing.server(server)?;
        let mut client = client(&server).await?;
        let status = client.get_person(get("jack")).await;
        let status = status.expect_err("no key");
        assert_eq!(
            (status.code(), status.message()),
            (
                Code::Unauthenticated,
                "metadata `api-key` is missing: send your key"
            )
        );
        let channel = Channel::from_shared(server.uri())?.connect().await?;
        let mut health = HealthClient::new(channel);
        let service = "person.v1.PersonService".to_owned();
        health.check(HealthCheckRequest { service }).await?;
        let service = String::new();
        health.check(HealthCheckRequest { service }).await?;
    }
    Ok(())
}

#[test]
fn a_server_says_what_is_wrong_with_its_keys() -> Result {
    let listing = Listing::build("interceptors")?;
    let dir = tempfile::tempdir()?;
    let keys = dir.path().join("keys");
    fs::write(&keys, "k-1 jack\nk-2\n")?;
    let keys = keys.to_string_lossy();
    for server in [SERVER, STACK] {
        let end = listing.run(server, ["127.0.0.1:0", "info", &keys])?;
        assert_eq!(end.code, 1);
        ensure!(end.output.contains("line 2 is not a key"), "{end:?}");
        let end = listing.run(server, ["127.0.0.1:0", "info", "no-such-file"])?;
        ensure!(end.output.contains("cannot read no-such-file"), "{end:?}");
        let end = listing.run(server, ["127.0.0.1:0", "loud"])?;
        ensure!(end.output.contains("\"loud\" is no level"), "{end:?}");
    }
    Ok(())
}

/// A channel to what is served in this process.
async fn channel_to(router: Router) -> Result<Channel> {
    let uri = format!("http://{}", crate::serving(router).await?);
    Ok(Channel::from_shared(uri)?.connect().await?)
}

/// An interceptor knows which method it is on a client, and not on a server.
#[tokio::test]
async fn an_interceptor_knows_the_method_on_a_client_alone() -> Result {
    let (tell, told) = mpsc::channel();
    let seeing = move |side: &'static str| {
        let tell = tell.clone();
        move |request: Request<()>| {
            let method = request.extensions().get::<GrpcMethod>();
            let method = method.map(|method| method.method().to_owned());
            tell.send((side, method))
                .map_err(|_| Status::internal("nobody listens"))?;
            Ok(request)
        }
    };
    let people = PersonServiceServer::with_interceptor(Registry::default(), seeing("server"));
    let channel = channel_to(tonic::transport::Server::builder().add_service(people)).await?;
    let mut client = PersonServiceClient::with_interceptor(channel, seeing("client"));
    client.list_people(ListPeopleRequest {}).await?;
    let seen: Vec<_> = told.try_iter().collect();
    assert_eq!(
        seen,
        [("client", Some("ListPeople".to_owned())), ("server", None)]
    );
    Ok(())
}

/// Whoever refuses on the client sends nothing.
#[tokio::test]
async fn a_client_s_interceptor_can_refuse() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let channel = Channel::from_shared(uri)?.connect_lazy();
    let mut client = PersonServiceClient::with_interceptor(channel, |_: Request<()>| {
        Err(Status::failed_precondition("no key is known yet"))
    });
    let status = client.get_person(get("jack")).await;
    assert_eq!(
        status.expect_err("refused").code(),
        Code::FailedPrecondition
    );
    // Nobody has even connected.
    tokio::select! {
        biased;
        _ = listener.accept() => anyhow::bail!("somebody came"),
        () = std::future::ready(()) => Ok(()),
    }
}

/// The crate's interceptor may wait, and is otherwise an interceptor.
#[tokio::test]
async fn the_crate_s_async_interceptor_does_as_our_layer() -> Result {
    use tonic_async_interceptor::async_interceptor;

    let callers: Callers = format!("{KEY} front-desk").parse()?;
    let layer = async_interceptor(move |mut request: Request<()>| {
        let callers = callers.clone();
        async move {
            tokio::task::yield_now().await;
            let key = request.metadata().get(API_KEY);
            let caller = callers.find(sent(key.map(AsciiMetadataValue::as_bytes))?)?;
            request.extensions_mut().insert(caller);
            Ok::<_, Status>(request)
        }
    });
    let people = PersonServiceServer::new(Registry::default());
    let people = tonic::service::LayerExt::named_layer(&layer, people);
    let mut client = PersonServiceClient::new(
        channel_to(tonic::transport::Server::builder().add_service(people)).await?,
    );

    let person = Some(interceptors::pb::Person {
        name: "李雷".to_owned(),
        ..Default::default()
    });
    let people = tokio_stream::iter([CreatePeopleRequest { person }]);
    client.create_people(with_key(people)).await?;
    let found = client.get_person(with_key(get("李雷"))).await?.into_inner();
    assert_eq!(found.person.context("nobody")?.created_by, "front-desk");
    let status = client.get_person(get("李雷")).await;
    assert_eq!(status.expect_err("no key").code(), Code::Unauthenticated);
    Ok(())
}

/// What becomes of the well-known types.
#[test]
fn a_wrapper_is_an_option_and_a_timestamp_a_struct() -> Result {
    let dir = tempfile::tempdir()?;
    let proto = r#"
        syntax = "proto3";
        package people.v1;
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/wrappers.proto";
        service People {
          rpc Count(google.protobuf.StringValue) returns (google.protobuf.Int64Value);
        }
        message Person {
          google.protobuf.StringValue wrapped = 1;
          optional string optional = 2;
          google.protobuf.Timestamp at = 3;
        }
    "#;
    fs::write(dir.path().join("people.proto"), proto)?;
    let contract = protox::compile(["people.proto"], [dir.path()])?;
    let build = tonic_prost_build::configure().out_dir(dir.path());
    build.compile_fds(contract)?;
    let generated = fs::read_to_string(dir.path().join("people.v1.rs"))?;
    for field in [
        "wrapped: ::core::option::Option<::prost::alloc::string::String>",
        "optional: ::core::option::Option<::prost::alloc::string::String>",
        "at: ::core::option::Option<::prost_types::Timestamp>",
        "request: tonic::Request<::prost::alloc::string::String>",
        // Which is no type: such a service does not compile.
        "Result<tonic::Response<super::i64>, tonic::Status>",
    ] {
        ensure!(generated.contains(field), "{field} is not in: {generated}");
    }
    Ok(())
}

/// What the page says of the figures.
#[test]
fn the_log_costs_what_the_page_says() -> Result {
    let measured = Measured::read(&workspace(), "interceptors")?.context("it was measured")?;
    for (at_once, most) in [("1", 1.25), ("10", 1.25), ("100", 1.1)] {
        let ratio = measured.number(&[at_once], "time with the log / without")?;
        ensure!((1.0..most).contains(&ratio), "{at_once} at once: {ratio}");
        ensure!(measured.number(&["with", at_once], "calls/s")? > 1000.0);
    }
    Ok(())
}

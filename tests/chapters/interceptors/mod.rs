//! The chapter `interceptors`, as its reader runs it.

mod facts;

use std::fs;

use anyhow::{Context, ensure};
use harness::{CapturedLog, Listing, Result, Server, workspace};
use interceptors::{
    callers::API_KEY,
    pb::{
        CreatePeopleRequest, GetPersonRequest, ListPeopleRequest, LookUpPeopleRequest,
        person_service_client::PersonServiceClient,
    },
};
use regex::Regex;
use stage::bench::Results;
use tokio::{net::TcpSocket, sync::mpsc::channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, metadata::AsciiMetadataValue, transport::Channel};
use tracing::Level;

const SERVER: &str = "interceptors-server";
const STACK: &str = "interceptors-stack-server";
const PANICKING: &str = "interceptors-panicking-server";
const CLIENT: &str = "interceptors-client";

/// A key of the listing's example file.
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

fn look_up_person(name: &str) -> LookUpPeopleRequest {
    let name = name.to_owned();
    LookUpPeopleRequest { name }
}

fn get_person(name: &str) -> GetPersonRequest {
    let name = name.to_owned();
    GetPersonRequest { name }
}

/// The method and the status of each call in a log.
fn logged_calls(output: &str) -> Result<Vec<(String, String)>> {
    let call = Regex::new(r"call method=/person\.v1\.PersonService/(\w+) status=(\w+) elapsed=\S")?;
    let calls = call.captures_iter(output);
    Ok(calls.map(|call| (call[1].into(), call[2].into())).collect())
}

#[harness::test]
fn client_and_server_log_each_call_with_its_status() -> Result {
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
    assert_eq!(logged_calls(&client.text)?, calls);
    assert_eq!(logged_calls(&server.stop()?.text)?, calls);
    Ok(())
}

/// Cancelled by the client's handle, and by its deadline.
#[harness::test]
async fn abandoned_call_is_logged_as_cancelled() -> Result {
    let mut server = Listing::build("interceptors")?.server(SERVER)?;
    let mut client = client(&server).await?;
    let (_names, requests) = channel::<LookUpPeopleRequest>(1);
    let mut request = with_key(ReceiverStream::new(requests));
    let cancellation = request.cancellation_handle();
    let _people = client.look_up_people(request).await?;
    cancellation.cancel();
    server
        .process
        .wait_for_text("LookUpPeople status=Cancelled")?;

    // The deadline expires before the response begins, so the server drops the handler's future.
    let (_people, requests) = channel::<CreatePeopleRequest>(1);
    let mut request = with_key(ReceiverStream::new(requests));
    request.set_timeout(std::time::Duration::from_millis(100));
    let status = client.create_people(request).await;
    assert_eq!(
        status.expect_err("no request is sent").code(),
        Code::Cancelled
    );
    server
        .process
        .wait_for_text("CreatePeople status=Cancelled")?;
    Ok(())
}

/// Interrupted among the requests, by an invalid one, and among the responses, by the client.
#[harness::test]
async fn interrupted_stream_is_logged_with_its_status() -> Result {
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
    assert_eq!(
        status.expect_err("the name is empty").code(),
        Code::InvalidArgument
    );
    server
        .process
        .wait_for_text("CreatePeople status=InvalidArgument")?;

    // More than the flow-control windows hold, so that the server waits for the client.
    let people: Vec<_> = (0..20_000)
        .map(|number| person(number.to_string()))
        .collect();
    let people = with_key(tokio_stream::iter(people));
    client.create_people(people).await?;
    let listed = client.list_people(with_key(ListPeopleRequest {})).await?;
    let mut listed = listed.into_inner();
    listed.message().await?.context("no people")?;
    drop(listed);
    server
        .process
        .wait_for_text("ListPeople status=Cancelled")?;
    Ok(())
}

/// The layer wraps the whole server, so it sees calls that no service takes.
#[harness::test]
async fn unknown_method_is_logged() -> Result {
    let mut server = Listing::build("interceptors")?.server(SERVER)?;
    let mut grpc = tonic::client::Grpc::new(Channel::from_shared(server.uri())?.connect().await?);
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/person.v1.PersonService/Forget");
    let codec = tonic_prost::ProstCodec::<GetPersonRequest, GetPersonRequest>::default();
    let status = grpc.unary(with_key(get_person("jack")), path, codec).await;
    assert_eq!(
        status.expect_err("the method does not exist").code(),
        Code::Unimplemented
    );
    server
        .process
        .wait_for_text("Forget status=Unimplemented")?;
    Ok(())
}

/// The client's layer logs the status that the caller gets.
#[harness::test]
async fn unreachable_server_is_logged_as_unavailable() -> Result {
    // The port is bound, so that no server of another test gets it, but nothing listens.
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let uri = format!("http://{}", socket.local_addr()?);
    let mut log = CapturedLog::start(Level::INFO);
    let channel = Channel::from_shared(uri)?.connect_lazy();
    let channel = tower::Layer::layer(&interceptors::log::LogLayer, channel);
    let mut client = PersonServiceClient::new(channel);
    let status = client.get_person(get_person("jack")).await;
    let status = status.expect_err("no server listens");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "tcp connect error")
    );
    assert_eq!(
        logged_calls(&log.take())?,
        [("GetPerson".to_owned(), "Unavailable".to_owned())]
    );
    Ok(())
}

/// A proxy may respond without gRPC's headers. tonic makes a status of the response, which has to be
/// in the log too.
#[harness::test]
async fn non_grpc_response_is_logged_with_the_callers_status() -> Result {
    let mut log = CapturedLog::start(Level::INFO);
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
        let proxy = tower::service_fn(move |_: http::Request<tonic::body::Body>| {
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
        let channel = tower::Layer::layer(&interceptors::log::LogLayer, proxy);
        let mut client = PersonServiceClient::new(channel);
        let status = client.get_person(get_person("jack")).await;
        let code = status.expect_err("each response is an error").code();
        assert_eq!(
            logged_calls(&log.take())?,
            [("GetPerson".to_owned(), format!("{code:?}"))],
            "{http_status} {grpc_status:?} {with_body}"
        );
    }
    Ok(())
}

/// Other calls on the connection go on, and the server keeps running.
#[harness::test]
async fn panic_ends_only_its_own_call() -> Result {
    let listing = Listing::build("interceptors")?;
    for (arguments, code, message) in [
        (&[][..], Code::Cancelled, "h2 protocol error: http2 error"),
        (
            &["caught"][..],
            Code::Internal,
            "the server has made a mistake",
        ),
    ] {
        let server = listing.server_with_args(PANICKING, arguments)?;
        let mut client = client(&server).await?;
        // All calls share a connection.
        for _ in 0..2 {
            let status = client.get_person(get_person("jack")).await;
            let status = status.expect_err("the handler panics");
            assert_eq!((status.code(), status.message()), (code, message));

            let people = tokio_stream::iter([CreatePeopleRequest::default()]);
            let status = client.create_people(people).await;
            assert_eq!(status.expect_err("the handler panics").code(), code);

            // A layer that catches panics has returned before the stream panics.
            let mut people = client.list_people(ListPeopleRequest {}).await?.into_inner();
            let status = people.message().await.expect_err("the stream panics");
            assert_eq!(status.code(), Code::Cancelled);

            let names = tokio_stream::iter([look_up_person("jack")]);
            let mut people = client.look_up_people(names).await?.into_inner();
            let status = people.message().await.expect_err("the stream panics");
            assert_eq!(status.code(), Code::Cancelled);
        }
        let output = server.stop()?;
        assert_eq!(output.code, 0);
        let call = |method: &str, code: Code| (method.to_owned(), format!("{code:?}"));
        // The client sees Cancelled, and the log has the cause.
        let calls = ["GetPerson", "CreatePeople", "ListPeople", "LookUpPeople"]
            .map(|method| call(method, Code::Internal));
        assert_eq!(logged_calls(&output.text)?, [calls.clone(), calls].concat());
    }
    Ok(())
}

/// Neither at DEBUG, nor for an unknown key, by neither client nor server.
#[harness::test]
fn api_keys_are_never_logged() -> Result {
    let listing = Listing::build("interceptors")?;
    let mut printed = String::new();
    for server in [SERVER, STACK] {
        let server = listing.server_with_args(server, &["debug"])?;
        for key in [KEY, "k-7f2c9ad2"] {
            let client = listing.run(CLIENT, [&server.uri(), key, "debug"])?;
            printed += &client.text;
        }
        let log = server.stop()?.text;
        // Messages are not logged either.
        ensure!(!log.contains("jack"), "{log}");
        printed += &log;
    }
    ensure!(printed.contains("number=1"), "no message was logged");
    ensure!(printed.contains("\"api-key\": Sensitive"), "{printed}");
    ensure!(!printed.contains("k-7f2c"), "{printed}");
    // `Debug` of a request shows the key, so the loggers have to avoid it.
    ensure!(format!("{:?}", with_key(())).contains(KEY));
    Ok(())
}

/// A new request ID, or the one in the request.
#[harness::test]
async fn stack_gives_each_call_a_request_id() -> Result {
    let server = Listing::build("interceptors")?.server(STACK)?;
    let mut client = client(&server).await?;
    let mut request = with_key(ListPeopleRequest {});
    let response = client.list_people(request).await?;
    let id = response.metadata().get("x-request-id");
    let id = id.context("no request ID")?.to_str()?;
    ensure!(id.len() == 36, "{id} is not a UUID");

    request = with_key(ListPeopleRequest {});
    request
        .metadata_mut()
        .insert("x-request-id", AsciiMetadataValue::from_static("7"));
    let response = client.list_people(request).await?;
    assert_eq!(
        response
            .metadata()
            .get("x-request-id")
            .context("no request ID")?,
        "7"
    );

    // Each log line of the call is in its span.
    let output = server.stop()?.text;
    ensure!(output.contains("call{id=\"7\"}: end of stream"), "{output}");
    Ok(())
}

/// An error that the caller has caused should not alert an operator.
#[harness::test]
fn not_found_is_not_logged_as_an_error() -> Result {
    let listing = Listing::build("interceptors")?;
    let server = listing.server(STACK)?;
    listing.run(CLIENT, [&server.uri(), KEY])?;
    let output = server.stop()?.text;
    ensure!(output.contains("status=5"), "{output}");
    ensure!(!output.contains("ERROR"), "{output}");
    Ok(())
}

#[harness::test]
async fn api_key_is_required_except_for_health_checks() -> Result {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    let listing = Listing::build("interceptors")?;
    for server in [SERVER, STACK] {
        let server = listing.server(server)?;
        let mut client = client(&server).await?;
        let status = client.get_person(get_person("jack")).await;
        let status = status.expect_err("the key is missing");
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

#[harness::test]
fn invalid_key_file_and_level_are_reported() -> Result {
    let listing = Listing::build("interceptors")?;
    let dir = tempfile::tempdir()?;
    let keys = dir.path().join("keys");
    fs::write(&keys, "k-1 jack\nk-2\n")?;
    let keys = keys.to_string_lossy();
    for server in [SERVER, STACK] {
        let output = listing.run(server, ["127.0.0.1:0", "info", &keys])?;
        assert_eq!(output.code, 1);
        ensure!(output.text.contains("line 2 is not a key"), "{output:?}");
        let output = listing.run(server, ["127.0.0.1:0", "info", "no-such-file"])?;
        ensure!(
            output.text.contains("cannot read no-such-file"),
            "{output:?}"
        );
        let output = listing.run(server, ["127.0.0.1:0", "loud"])?;
        ensure!(output.text.contains("\"loud\" is no level"), "{output:?}");
    }
    Ok(())
}

/// The statements of the page hold for the recorded results.
#[harness::test]
fn page_agrees_with_the_benchmark() -> Result {
    let results = Results::read(&workspace(), "interceptors")?.context("there are no results")?;
    for (in_flight, limit) in [("1", 1.25), ("10", 1.25), ("100", 1.1)] {
        let ratio = results.number(&[in_flight], "time with the log / without")?;
        ensure!(
            (1.0..limit).contains(&ratio),
            "{in_flight} in flight: {ratio}"
        );
        ensure!(results.number(&["with", in_flight], "calls/s")? > 1000.0);
    }
    Ok(())
}

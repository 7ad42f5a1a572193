//! The behaviour of tonic that the chapter `interceptors` describes.

use std::{fs, sync::mpsc};

use anyhow::{Context, ensure};
use harness::{Result, spawn_in_process};
use interceptors::{
    callers::{API_KEY, Callers, sent},
    pb::{
        CreatePeopleRequest, ListPeopleRequest, person_service_client::PersonServiceClient,
        person_service_server::PersonServiceServer,
    },
    registry::Registry,
};
use tokio::net::TcpListener;
use tonic::{
    Code, GrpcMethod, Request, Status,
    metadata::AsciiMetadataValue,
    transport::{Channel, server::Router},
};

use super::{KEY, get_person, with_key};

/// Serves in this process, and connects to it.
async fn serve_and_connect(router: Router) -> Result<Channel> {
    let uri = format!("http://{}", spawn_in_process(router).await?);
    Ok(Channel::from_shared(uri)?.connect().await?)
}

/// tonic sets the extension `GrpcMethod` only on the client.
#[harness::test]
async fn only_client_interceptors_know_the_method() -> Result {
    let (sender, seen) = mpsc::channel();
    let report_method = move |side: &'static str| {
        let sender = sender.clone();
        move |request: Request<()>| {
            let method = request.extensions().get::<GrpcMethod>();
            let method = method.map(|method| method.method().to_owned());
            sender
                .send((side, method))
                .map_err(|_| Status::internal("the test has ended"))?;
            Ok(request)
        }
    };
    let people =
        PersonServiceServer::with_interceptor(Registry::default(), report_method("server"));
    let channel =
        serve_and_connect(tonic::transport::Server::builder().add_service(people)).await?;
    let mut client = PersonServiceClient::with_interceptor(channel, report_method("client"));
    client.list_people(ListPeopleRequest {}).await?;
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(
        seen,
        [("client", Some("ListPeople".to_owned())), ("server", None)]
    );
    Ok(())
}

/// A rejected call does not even open a connection.
#[harness::test]
async fn client_interceptor_can_reject_a_call() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let channel = Channel::from_shared(uri)?.connect_lazy();
    let mut client = PersonServiceClient::with_interceptor(channel, |_: Request<()>| {
        Err(Status::failed_precondition("no key is known yet"))
    });
    let status = client.get_person(get_person("jack")).await;
    assert_eq!(
        status.expect_err("the interceptor rejects it").code(),
        Code::FailedPrecondition
    );
    tokio::select! {
        biased;
        _ = listener.accept() => anyhow::bail!("the client has connected"),
        () = std::future::ready(()) => Ok(()),
    }
}

/// Its interceptors may await, and are layers too.
#[harness::test]
async fn tonic_async_interceptor_can_replace_the_layer() -> Result {
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
        serve_and_connect(tonic::transport::Server::builder().add_service(people)).await?,
    );

    let person = Some(interceptors::pb::Person {
        name: "李雷".to_owned(),
        ..Default::default()
    });
    let people = tokio_stream::iter([CreatePeopleRequest { person }]);
    client.create_people(with_key(people)).await?;
    let found = client
        .get_person(with_key(get_person("李雷")))
        .await?
        .into_inner();
    assert_eq!(found.person.context("no person")?.created_by, "front-desk");
    let status = client.get_person(get_person("李雷")).await;
    assert_eq!(
        status.expect_err("the key is missing").code(),
        Code::Unauthenticated
    );
    Ok(())
}

/// Wrappers become options of primitives, and a timestamp a struct.
#[harness::test]
fn well_known_types_generate_the_documented_fields() -> Result {
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
    let descriptors = protox::compile(["people.proto"], [dir.path()])?;
    let build = tonic_prost_build::configure().out_dir(dir.path());
    build.compile_fds(descriptors)?;
    let generated = fs::read_to_string(dir.path().join("people.v1.rs"))?;
    for field in [
        "wrapped: ::core::option::Option<::prost::alloc::string::String>",
        "optional: ::core::option::Option<::prost::alloc::string::String>",
        "at: ::core::option::Option<::prost_types::Timestamp>",
        "request: tonic::Request<::prost::alloc::string::String>",
        // This type does not exist: a service that returns a wrapper does not compile.
        "Result<tonic::Response<super::i64>, tonic::Status>",
    ] {
        ensure!(generated.contains(field), "no `{field}` in: {generated}");
    }
    Ok(())
}

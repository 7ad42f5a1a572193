//! What the registry promises, and what stands in front of it, checked over a real
//! connection.

use std::{error::Error, fs};

use interceptors::{
    callers::{API_KEY, Callers},
    messages::Messages,
    pb::{
        CreatePeopleRequest, GetPersonRequest, ListPeopleRequest, LookUpPeopleRequest, Person,
        person_service_client::PersonServiceClient, person_service_server::PersonService,
    },
    registry::{MAX_ADDRESS_BYTES, MAX_NAME_BYTES, Registry},
    serve, stack,
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::{
    Code, Request, Status, metadata::AsciiMetadataValue, service::interceptor::InterceptedService,
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const KEYS: &str = "k-1 杰克\n# nobody\n\nk-2 mike the second\n";

/// A registry in this process, on a port that the system chose.
async fn registry() -> Result<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, KEYS.parse()?, std::future::pending()));
    Ok(Channel::from_shared(uri)?.connect().await?)
}

/// Sends a key along with each call.
#[derive(Clone)]
struct Key(&'static str);

impl tonic::service::Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let key = AsciiMetadataValue::from_static(self.0);
        request.metadata_mut().insert(API_KEY, key);
        Ok(request)
    }
}

fn with_key(
    channel: Channel,
    key: &'static str,
) -> PersonServiceClient<InterceptedService<Channel, Key>> {
    PersonServiceClient::with_interceptor(channel, Key(key))
}

fn person(name: &str) -> CreatePeopleRequest {
    let name = name.to_owned();
    let person = Some(Person {
        name,
        created_by: "somebody else".to_owned(),
        ..Person::default()
    });
    CreatePeopleRequest { person }
}

fn named(name: &str) -> LookUpPeopleRequest {
    let name = name.to_owned();
    LookUpPeopleRequest { name }
}

#[tokio::test]
async fn knows_whom_it_was_told_of_and_by_whom() -> Result {
    let mut client = with_key(registry().await?, "k-1");
    let people = ["mike", "李雷", "jack"].map(person);
    let created = client.create_people(tokio_stream::iter(people)).await?;
    assert_eq!(created.into_inner().created, 3);

    let name = "李雷".to_owned();
    let found = client.get_person(GetPersonRequest { name }).await?;
    let found = found.into_inner().person.ok_or("nobody")?;
    assert_eq!(found.created_by, "杰克");
    assert!(found.created_at.is_some());

    let everybody = client.list_people(ListPeopleRequest {}).await?.into_inner();
    let everybody: Vec<_> = everybody
        .map(|person| person.map(|person| person.person.unwrap_or_default().name))
        .collect::<Result<_, _>>()
        .await?;
    assert_eq!(everybody, ["jack", "mike", "李雷"]);
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_with_the_first_name_that_nobody_has() -> Result {
    let mut client = with_key(registry().await?, "k-1");
    let people = tokio_stream::iter([person("jack")]);
    client.create_people(people).await?;
    let names = tokio_stream::iter(["jack", "jenny", "jack"].map(named));
    let mut found = client.look_up_people(names).await?.into_inner();
    assert!(found.message().await?.is_some());
    let status = found.message().await.expect_err("nobody is jenny");
    assert_eq!(status.code(), Code::NotFound);
    assert!(found.message().await?.is_none(), "the call goes on");
    Ok(())
}

#[tokio::test]
async fn a_person_without_a_name_ends_the_call_and_those_before_stay() -> Result {
    let mut client = with_key(registry().await?, "k-1");
    for bad in [
        person(""),
        person(&"名".repeat(MAX_NAME_BYTES / 3 + 1)),
        CreatePeopleRequest { person: None },
        CreatePeopleRequest {
            person: Some(Person {
                name: "mike".to_owned(),
                address: "街".repeat(MAX_ADDRESS_BYTES / 3 + 1),
                ..Person::default()
            }),
        },
    ] {
        let people = tokio_stream::iter([person("jack"), bad, person("mike")]);
        let status = client.create_people(people).await.expect_err("it is bad");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    let mut everybody = client.list_people(ListPeopleRequest {}).await?.into_inner();
    assert!(everybody.message().await?.is_some());
    assert!(everybody.message().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn only_callers_are_let_in_and_health_is_for_everybody() -> Result {
    let channel = registry().await?;
    let request = || ListPeopleRequest {};
    let mut nobody = PersonServiceClient::new(channel.clone());
    let missing = nobody.list_people(request()).await.expect_err("no key");
    let mut wrong = with_key(channel.clone(), "k-3");
    let wrong = wrong.list_people(request()).await.expect_err("wrong key");
    assert_eq!(
        [missing.code(), wrong.code()],
        [Code::Unauthenticated, Code::Unauthenticated]
    );
    assert!(!wrong.message().contains("k-3"), "{wrong}");

    let service = "person.v1.PersonService".to_owned();
    let request = HealthCheckRequest { service };
    HealthClient::new(channel).check(request).await?;
    Ok(())
}

/// The service alone is open to nobody.
#[tokio::test]
async fn a_registry_without_an_interceptor_takes_nobody() -> Result {
    let request = Request::new(tonic::Streaming::new_empty(
        tonic_prost::ProstDecoder::default(),
        tonic::body::Body::empty(),
    ));
    let status = Registry::default().create_people(request).await;
    assert_eq!(status.expect_err("who calls?").code(), Code::Internal);
    Ok(())
}

#[test]
fn the_keys_are_not_shown() -> Result {
    let callers: Callers = KEYS.parse()?;
    let shown = format!("{callers:?}");
    assert!(shown.contains("杰克") && !shown.contains("k-1"), "{shown}");
    for (text, line) in [("k-1 jack\nk-2\n", "line 2"), ("k-1 a\nk-1 b\n", "line 2")] {
        let error = format!("{:#}", text.parse::<Callers>().expect_err("it is bad"));
        assert!(error.starts_with(line), "{error}");
        assert!(!error.contains("k-"), "{error}");
    }
    Ok(())
}

/// A key is looked up when it is used.
#[tokio::test]
async fn a_key_that_is_taken_out_of_the_file_opens_nothing() -> Result {
    let dir = tempfile::tempdir()?;
    let keys = dir.path().join("keys.txt");
    fs::write(&keys, KEYS)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    tokio::spawn(stack::serve(listener, keys.clone(), std::future::pending()));
    let mut client = with_key(Channel::from_shared(uri)?.connect().await?, "k-1");

    client.list_people(ListPeopleRequest {}).await?;
    fs::write(&keys, "k-2 mike\n")?;
    let status = client.list_people(ListPeopleRequest {}).await;
    assert_eq!(status.expect_err("taken out").code(), Code::Unauthenticated);
    fs::remove_file(&keys)?;
    let status = client.list_people(ListPeopleRequest {}).await;
    let status = status.expect_err("no file");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.message().contains("keys.txt"), "{status}");
    Ok(())
}

/// However the bytes are cut.
#[test]
fn finds_each_message_in_any_pieces() {
    let mut bytes = Vec::new();
    for length in [0u32, 1, 300, 0, 5] {
        bytes.push(0);
        bytes.extend(length.to_be_bytes());
        bytes.extend(vec![255; length as usize]);
    }
    for piece in 1..=bytes.len() {
        let mut messages = Messages::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            messages.read(piece, |number, length| found.push((number, length)));
        }
        assert_eq!(found, [(1, 0), (2, 1), (3, 300), (4, 0), (5, 5)]);
    }
}

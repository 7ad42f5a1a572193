//! `interceptors-client [URI [KEY [LEVEL]]]` fills the registry, asks it, and logs
//! what is worth LEVEL.

use std::{env, time::Duration};

use anyhow::Context;
use interceptors::{
    callers::API_KEY,
    escape::escape,
    limit::within,
    log::{LogLayer, LogService},
    malformed::{Repaired, repaired},
    pb::{
        CreatePeopleRequest, GetPersonRequest, ListPeopleRequest, LookUpPeopleRequest, Person,
        person_service_client::PersonServiceClient,
    },
    program,
};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Endpoint,
};
use tower::ServiceBuilder;

/// How long a call may take, with all its messages.
const CALL_LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let uri = args
        .first()
        .unwrap_or(&"http://127.0.0.1:50051")
        .to_string();
    let key = args.get(1).unwrap_or(&"k-7f2c9ad1");
    let level = args.get(2).unwrap_or(&"info");

    program::log(level)?;

    let channel = Endpoint::from_shared(uri.clone())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    // ANCHOR: client
    let mut key: AsciiMetadataValue = key.parse().context("a key is ASCII")?;
    // Metadata that is printed must not show the key.
    key.set_sensitive(true);
    let channel = ServiceBuilder::new()
        .layer(LogLayer)
        .service(repaired(channel));
    let mut client = PersonServiceClient::with_interceptor(channel, WithKey(key));
    // ANCHOR_END: client

    report("create", create(&mut client)).await;
    report("get jack", get(&mut client, "jack")).await;
    report("get jenny", get(&mut client, "jenny")).await;
    report("list", list(&mut client)).await;
    let names = ["mike", "jenny", "jack"];
    report("look up", look_up(&mut client, &names)).await;
    Ok(())
}

// ANCHOR: with_key
/// Sends the key along with each call.
#[derive(Clone)]
struct WithKey(AsciiMetadataValue);

impl Interceptor for WithKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(API_KEY, self.0.clone());
        Ok(request)
    }
}

type Client = PersonServiceClient<InterceptedService<LogService<Repaired>, WithKey>>;
// ANCHOR_END: with_key

/// Waits for a call, for [`CALL_LIMIT`] at most, and prints why it has failed.
async fn report(name: &str, call: impl Future<Output = Result<(), Status>>) {
    if let Err(status) = within(CALL_LIMIT, call).await {
        println!("{name}: {:?}, {}", status.code(), escape(status.message()));
    }
}

async fn create(client: &mut Client) -> Result<(), Status> {
    let people = [("jack", 18), ("mike", 20), ("李雷", 21)].map(|(name, age)| {
        let name = name.to_owned();
        let person = Some(Person {
            name,
            age,
            ..Person::default()
        });
        CreatePeopleRequest { person }
    });
    let response = client.create_people(tokio_stream::iter(people)).await?;
    println!("create: {} people", response.into_inner().created);
    Ok(())
}

async fn get(client: &mut Client, name: &str) -> Result<(), Status> {
    let request = GetPersonRequest {
        name: name.to_owned(),
    };
    print("get", client.get_person(request).await?.into_inner().person);
    Ok(())
}

async fn list(client: &mut Client) -> Result<(), Status> {
    let mut people = client.list_people(ListPeopleRequest {}).await?.into_inner();
    while let Some(response) = people.message().await? {
        print("list", response.person);
    }
    Ok(())
}

async fn look_up(client: &mut Client, names: &[&str]) -> Result<(), Status> {
    let requests: Vec<_> = names
        .iter()
        .map(|&name| LookUpPeopleRequest {
            name: name.to_owned(),
        })
        .collect();
    let response = client.look_up_people(tokio_stream::iter(requests)).await?;
    let mut people = response.into_inner();
    while let Some(response) = people.message().await? {
        print("look up", response.person);
    }
    Ok(())
}

// ANCHOR: print
fn print(call: &str, person: Option<Person>) {
    let Person {
        name,
        created_at,
        created_by,
        ..
    } = person.unwrap_or_default();
    let created_at = created_at.unwrap_or_default();
    let (name, created_by) = (escape(&name), escape(&created_by));
    println!("{call}: {name}, created by {created_by} at {created_at}");
}
// ANCHOR_END: print

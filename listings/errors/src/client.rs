//! `errors-client get NAME [LANGUAGE [URI]]` prints a person,
//! `errors-client create NAME AGE [LANGUAGE [URI]]` makes one, and
//! `errors-client fill COUNT [LANGUAGE [URI]]` makes many.

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use errors::{
    call_error::{CallError, Kind},
    escape::escape,
    limit::within,
    malformed::{Repaired, repaired},
    pb::{CreatePeopleRequest, GetPersonRequest, Person, person_service_client},
    program,
    retry::retried,
};
use tonic::{Request, Status, metadata::AsciiMetadataValue, transport::Endpoint};

const USAGE: &str = "say `get NAME`, `create NAME AGE` or `fill COUNT`, \
                     and behind it, if you like, a language and a URI";

/// How long one attempt of a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);

type PersonServiceClient = person_service_client::PersonServiceClient<Repaired>;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    program::log();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (command, rest) = match args.as_slice() {
        ["get", name, rest @ ..] => (Command::Get(name), rest),
        ["create", name, age, rest @ ..] => {
            let age = age.parse();
            (Command::Create(name, age.context(USAGE)?), rest)
        }
        ["fill", count, rest @ ..] => (Command::Fill(count.parse().context(USAGE)?), rest),
        _ => bail!(USAGE),
    };
    let language = rest.first().unwrap_or(&"en");
    let uri = rest.get(1).unwrap_or(&"http://127.0.0.1:50051");

    let channel = Endpoint::from_shared(uri.to_string())
        .with_context(|| format!("{uri:?} is not a URI"))?
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .with_context(|| format!("cannot reach {uri}"))?;
    let registry = Registry {
        client: PersonServiceClient::new(repaired(channel)),
        language: language.parse().context("a language is ASCII")?,
    };

    let done = match command {
        Command::Get(name) => registry.get(name).await,
        Command::Create(name, age) => registry.create(name, age).await,
        Command::Fill(count) => registry.fill(count).await,
    };
    Ok(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            explain(&error);
            ExitCode::FAILURE
        }
    })
}

#[derive(Clone, Copy)]
enum Command<'a> {
    Get(&'a str),
    Create(&'a str, u32),
    Fill(usize),
}

// ANCHOR: explain
/// Says what has gone wrong, and what can be done.
fn explain(error: &CallError) {
    println!("{}", escape(&error.message));
    match &error.kind {
        Kind::NotFound { similar } => {
            for name in similar {
                println!("- did you mean {}?", escape(name));
            }
        }
        Kind::Invalid(violations) => {
            for violation in violations {
                let (field, description) = (&violation.field, &violation.description);
                println!("- {}: {}", escape(field), escape(description));
            }
        }
        Kind::Busy { retry_after } => println!("- again in {} s", retry_after.as_secs()),
        Kind::Failed { number } => println!("- number {}", escape(number)),
        Kind::Other(_) => {}
    }
}
// ANCHOR_END: explain

struct Registry {
    client: PersonServiceClient,
    language: AsciiMetadataValue,
}

impl Registry {
    async fn get(&self, name: &str) -> Result<(), CallError> {
        let mut client = self.client.clone();
        let name = name.to_owned();
        let request = self.request(GetPersonRequest { name });
        let response = within(CALL_LIMIT, client.get_person(request)).await?;
        let Person { name, age, .. } = response.into_inner().person.unwrap_or_default();
        println!("{} is {age}", escape(&name));
        Ok(())
    }

    // ANCHOR: create
    async fn create(&self, name: &str, age: u32) -> Result<(), CallError> {
        retried(|| self.create_once(name, age)).await?;
        println!("{name} is there");
        Ok(())
    }

    async fn create_once(&self, name: &str, age: u32) -> Result<(), Status> {
        let person = Some(Person {
            name: name.to_owned(),
            age,
            ..Person::default()
        });
        let people = tokio_stream::once(CreatePeopleRequest { person });
        let mut client = self.client.clone();
        within(CALL_LIMIT, client.create_people(self.request(people))).await?;
        Ok(())
    }
    // ANCHOR_END: create

    async fn fill(&self, count: usize) -> Result<(), CallError> {
        for number in 1..=count {
            self.create(&format!("person {number}"), 18).await?;
        }
        Ok(())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("accept-language", self.language.clone());
        request
    }
}

//! The service. Nothing in it makes a status: it has domain errors, and `?`.

use std::{pin::Pin, sync::Arc, time::SystemTime};

use prost_types::Timestamp;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    error::{Error, Violation},
    language::Language,
    pb::{
        CreatePeopleRequest, CreatePeopleResponse, GetPersonRequest, GetPersonResponse,
        ListPeopleRequest, ListPeopleResponse, LookUpPeopleRequest, LookUpPeopleResponse, Person,
        person_service_server::PersonService,
    },
    people::People,
    quota::Quota,
};

/// A longer name is refused.
pub const MAX_NAME_BYTES: usize = 256;

/// A longer address is refused.
pub const MAX_ADDRESS_BYTES: usize = 1024;

/// Nobody is older.
pub const MAX_AGE: u32 = 150;

/// Any stream of responses, whatever it is made of.
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The registry. A clone shares its people.
#[derive(Clone, Debug)]
pub struct Registry {
    people: Arc<People>,
    quota: Arc<Quota>,
}

impl Registry {
    /// Of these people.
    pub fn new(people: People) -> Self {
        Self {
            people: Arc::new(people),
            quota: Arc::default(),
        }
    }
}

#[tonic::async_trait]
impl PersonService for Registry {
    // ANCHOR: get_person
    async fn get_person(
        &self,
        request: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        let language = Language::asked_for(request.metadata());
        let found = self.find(&request.into_inner().name).await;
        let person = found.map_err(|error| error.told_in(language))?;
        let person = Some(person);
        Ok(Response::new(GetPersonResponse { person }))
    }
    // ANCHOR_END: get_person

    async fn create_people(
        &self,
        request: Request<Streaming<CreatePeopleRequest>>,
    ) -> Result<Response<CreatePeopleResponse>, Status> {
        let language = Language::asked_for(request.metadata());
        let mut requests = request.into_inner();
        let mut created = 0;
        while let Some(request) = requests.message().await? {
            let taken = self.take(request.person.unwrap_or_default()).await;
            taken.map_err(|error| error.told_in(language))?;
            created += 1;
        }
        Ok(Response::new(CreatePeopleResponse { created }))
    }

    async fn list_people(
        &self,
        request: Request<ListPeopleRequest>,
    ) -> Result<Response<Responses<ListPeopleResponse>>, Status> {
        let language = Language::asked_for(request.metadata());
        let people = self.people.all().await;
        let people = people.map_err(|error| error.told_in(language))?;
        let people = tokio_stream::iter(people).map(|person| {
            let person = Some(person);
            Ok(ListPeopleResponse { person })
        });
        Ok(Response::new(Box::pin(people)))
    }

    async fn look_up_people(
        &self,
        request: Request<Streaming<LookUpPeopleRequest>>,
    ) -> Result<Response<Responses<LookUpPeopleResponse>>, Status> {
        let language = Language::asked_for(request.metadata());
        let registry = self.clone();
        let people = request.into_inner().then(move |request| {
            let registry = registry.clone();
            async move {
                let found = registry.find(&request?.name).await;
                let person = found.map_err(|error| error.told_in(language))?;
                let person = Some(person);
                Ok(LookUpPeopleResponse { person })
            }
        });
        Ok(Response::new(Box::pin(people)))
    }
}

impl Registry {
    async fn find(&self, name: &str) -> Result<Person, Error> {
        checked(name_violation(name, "name"))?;
        self.people.get(name).await
    }

    async fn take(&self, person: Person) -> Result<(), Error> {
        checked(violations(&person))?;
        self.quota.take()?;
        let created_at = Some(Timestamp::from(SystemTime::now()));
        self.people
            .put(&Person {
                created_at,
                ..person
            })
            .await
    }
}

// ANCHOR: violations
/// All that is wrong with a person: the client that sends it shall not learn it
/// piece by piece.
fn violations(person: &Person) -> impl Iterator<Item = Violation> {
    let age = (person.age > MAX_AGE).then(|| Violation {
        field: "person.age",
        description: format!("{} years are too many: send at most {MAX_AGE}", person.age),
    });
    let address = (person.address.len() > MAX_ADDRESS_BYTES).then(|| Violation {
        field: "person.address",
        description: format!(
            "it has {} bytes: send at most {MAX_ADDRESS_BYTES}",
            person.address.len()
        ),
    });
    let name = name_violation(&person.name, "person.name");
    name.into_iter().chain(age).chain(address)
}

fn name_violation(name: &str, field: &'static str) -> Option<Violation> {
    let description = match name.len() {
        0 => "it is empty: send one".to_owned(),
        1..=MAX_NAME_BYTES => return None,
        bytes => format!("it has {bytes} bytes: send at most {MAX_NAME_BYTES}"),
    };
    Some(Violation { field, description })
}

fn checked(violations: impl IntoIterator<Item = Violation>) -> Result<(), Error> {
    let violations: Vec<_> = violations.into_iter().collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(violations))
    }
}
// ANCHOR_END: violations

//! The service.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use prost_types::Timestamp;
use tokio_stream::{Stream, StreamExt};
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::{
    callers::Caller,
    pb::{
        CreatePeopleRequest, CreatePeopleResponse, GetPersonRequest, GetPersonResponse,
        ListPeopleRequest, ListPeopleResponse, LookUpPeopleRequest, LookUpPeopleResponse, Person,
        person_service_server::PersonService,
    },
};

/// A longer name is refused.
pub const MAX_NAME_BYTES: usize = 256;

/// A longer address is refused.
pub const MAX_ADDRESS_BYTES: usize = 1024;

/// One more is refused: they are kept in memory.
pub const MAX_PEOPLE: usize = 100_000;

/// Any stream of responses, whatever it is made of.
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// People by name. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    people: Arc<Mutex<BTreeMap<String, Person>>>,
}

#[tonic::async_trait]
impl PersonService for Registry {
    // ANCHOR: get_person
    async fn get_person(
        &self,
        request: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        let person = self.find(&request.into_inner().name)?;
        let person = Some(person);
        Ok(Response::new(GetPersonResponse { person }))
    }
    // ANCHOR_END: get_person

    // ANCHOR: create_people
    async fn create_people(
        &self,
        request: Request<Streaming<CreatePeopleRequest>>,
    ) -> Result<Response<CreatePeopleResponse>, Status> {
        let caller = caller(request.extensions())?;
        let mut requests = request.into_inner();
        let mut created = 0;
        while let Some(CreatePeopleRequest { person }) = requests.message().await? {
            let person = person.ok_or_else(|| {
                Status::invalid_argument("`person` is missing: send one in each message")
            })?;
            self.take(Person {
                created_at: Some(now()),
                created_by: caller.0.to_string(),
                ..person
            })?;
            created += 1;
        }
        Ok(Response::new(CreatePeopleResponse { created }))
    }
    // ANCHOR_END: create_people

    type ListPeopleStream = Responses<ListPeopleResponse>;

    async fn list_people(
        &self,
        _: Request<ListPeopleRequest>,
    ) -> Result<Response<Self::ListPeopleStream>, Status> {
        let people: Vec<Person> = self.people().values().cloned().collect();
        let people = tokio_stream::iter(people).map(|person| {
            let person = Some(person);
            Ok(ListPeopleResponse { person })
        });
        Ok(Response::new(Box::pin(people)))
    }

    // ANCHOR: look_up_people
    type LookUpPeopleStream = Responses<LookUpPeopleResponse>;

    async fn look_up_people(
        &self,
        request: Request<Streaming<LookUpPeopleRequest>>,
    ) -> Result<Response<Self::LookUpPeopleStream>, Status> {
        let registry = self.clone();
        let people = request.into_inner().map(move |request| {
            let person = Some(registry.find(&request?.name)?);
            Ok(LookUpPeopleResponse { person })
        });
        Ok(Response::new(Box::pin(people)))
    }
    // ANCHOR_END: look_up_people
}

// ANCHOR: caller
/// The caller, as found by something in front of this service.
fn caller(extensions: &Extensions) -> Result<Caller, Status> {
    let caller = extensions.get::<Caller>();
    caller
        .cloned()
        .ok_or_else(|| Status::internal("nobody has asked who calls"))
}
// ANCHOR_END: caller

// ANCHOR: now
/// To the second: nobody asks for more.
fn now() -> Timestamp {
    let mut now = Timestamp::from(SystemTime::now());
    now.nanos = 0;
    now
}
// ANCHOR_END: now

impl Registry {
    fn find(&self, name: &str) -> Result<Person, Status> {
        check(name)?;
        let person = self.people().get(name).cloned();
        person.ok_or_else(|| Status::not_found(format!("nobody has the name {name:?}")))
    }

    fn take(&self, person: Person) -> Result<(), Status> {
        check(&person.name)?;
        if person.address.len() > MAX_ADDRESS_BYTES {
            let sentence = format!(
                "`address` has {} bytes: {MAX_ADDRESS_BYTES} are allowed",
                person.address.len()
            );
            return Err(Status::invalid_argument(sentence));
        }
        let mut people = self.people();
        if people.len() >= MAX_PEOPLE && !people.contains_key(&person.name) {
            let sentence = format!("the registry is full: it has room for {MAX_PEOPLE} people");
            return Err(Status::resource_exhausted(sentence));
        }
        people.insert(person.name.clone(), person);
        Ok(())
    }

    /// Never held over an await.
    fn people(&self) -> MutexGuard<'_, BTreeMap<String, Person>> {
        // Each change is one insert, so a call that panicked has left it whole.
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(name: &str) -> Result<(), Status> {
    if name.is_empty() {
        return Err(Status::invalid_argument("`name` is empty: send one"));
    }
    if name.len() > MAX_NAME_BYTES {
        let sentence = format!(
            "`name` has {} bytes: {MAX_NAME_BYTES} are allowed",
            name.len()
        );
        return Err(Status::invalid_argument(sentence));
    }
    Ok(())
}

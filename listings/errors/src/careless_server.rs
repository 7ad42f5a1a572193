//! `errors-careless-server [ADDRESS [FOLDER]]` serves the people in FOLDER until
//! Ctrl-C, and lets `?` choose what its callers are told.

use std::env;

use anyhow::Context;
use errors::{
    DRAIN_TIMEOUT, incoming,
    pb::{
        CreatePeopleRequest, CreatePeopleResponse, GetPersonRequest, GetPersonResponse, Person,
        person_service_server::{PersonService, PersonServiceServer},
    },
    people::People,
    shutdown,
};
use prost::Message;
use tokio::{fs, net::TcpListener};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:50051".to_owned());
    let folder = args.next().unwrap_or("people".to_owned());

    let people = People::open(folder.into()).await?;
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;
    println!("listening on {}", listener.local_addr()?);

    let server = Server::builder().add_service(PersonServiceServer::new(Careless { people }));
    let incoming = incoming::pause_on_errors(TcpIncoming::from(listener));
    shutdown::drain(shutdown, DRAIN_TIMEOUT, |stop| {
        server.serve_with_incoming_shutdown(incoming, stop)
    })
    .await?;
    Ok(())
}

// ANCHOR: careless
struct Careless {
    people: People,
}

#[tonic::async_trait]
impl PersonService for Careless {
    async fn get_person(
        &self,
        request: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        let path = self.people.path(&request.into_inner().name);
        let bytes = fs::read(path).await?; // an io::Error becomes a Status
        let person = Person::decode(&*bytes).map_err(|error| Status::from_error(error.into()))?;
        let person = Some(person);
        Ok(Response::new(GetPersonResponse { person }))
    }
    // ANCHOR_END: careless

    async fn create_people(
        &self,
        request: Request<Streaming<CreatePeopleRequest>>,
    ) -> Result<Response<CreatePeopleResponse>, Status> {
        let mut requests = request.into_inner();
        let mut created = 0;
        while let Some(request) = requests.message().await? {
            let put = self.people.put(&request.person.unwrap_or_default()).await;
            put.map_err(|error| Status::from_error(error.into()))?;
            created += 1;
        }
        Ok(Response::new(CreatePeopleResponse { created }))
    }
}

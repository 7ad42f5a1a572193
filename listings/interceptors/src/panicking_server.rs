//! `interceptors-panicking-server [ADDRESS [caught]]` serves a registry with a bug in
//! each of its methods, with or without a layer that catches panics.

use std::{env, pin::Pin};

use anyhow::{Context, bail};
use interceptors::{
    DRAIN_TIMEOUT, incoming,
    log::LogLayer,
    pb::{
        CreatePeopleRequest, CreatePeopleResponse, GetPersonRequest, GetPersonResponse,
        ListPeopleRequest, ListPeopleResponse, LookUpPeopleRequest, LookUpPeopleResponse,
        person_service_server::{PersonService, PersonServiceServer},
    },
    program, shutdown,
    stack::panicked,
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};
use tower_http::catch_panic::CatchPanicLayer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::log("info")?;

    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:50051".to_owned());
    let caught = match args.next().as_deref() {
        Some("caught") => true,
        Some(other) => bail!("{other:?}: say nothing, or `caught`"),
        None => false,
    };
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let shutdown = shutdown::signals(DRAIN_TIMEOUT).context("cannot wait for Ctrl-C")?;

    // From here on a client may connect, and you may press Ctrl-C: the socket is
    // bound, and the kernel queues connections that arrive before `serve` runs.
    println!("listening on {}", listener.local_addr()?);

    let people = PersonServiceServer::new(Careless);
    let mut server = Server::builder().layer(LogLayer);
    let incoming = incoming::pause_on_errors(TcpIncoming::from(listener));
    shutdown::drain(shutdown, DRAIN_TIMEOUT, async |stop| {
        if caught {
            let mut server = server.layer(CatchPanicLayer::custom(panicked));
            let server = server.add_service(people);
            server.serve_with_incoming_shutdown(incoming, stop).await
        } else {
            let server = server.add_service(people);
            server.serve_with_incoming_shutdown(incoming, stop).await
        }
    })
    .await?;
    Ok(())
}

// ANCHOR: careless
struct Careless;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl PersonService for Careless {
    /// Before there is a response.
    async fn get_person(
        &self,
        _: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        panic!("in the handler")
    }

    /// When a message has come.
    async fn create_people(
        &self,
        request: Request<Streaming<CreatePeopleRequest>>,
    ) -> Result<Response<CreatePeopleResponse>, Status> {
        request.into_inner().message().await?;
        panic!("after a message")
    }

    type ListPeopleStream = Responses<ListPeopleResponse>;

    /// When a response has been sent: the handler has long returned.
    async fn list_people(
        &self,
        _: Request<ListPeopleRequest>,
    ) -> Result<Response<Self::ListPeopleStream>, Status> {
        let first = tokio_stream::once(Ok(ListPeopleResponse::default()));
        let second = tokio_stream::iter(["bug"]).map(|what| panic!("in the stream: a {what}"));
        Ok(Response::new(Box::pin(first.chain(second))))
    }

    type LookUpPeopleStream = Responses<LookUpPeopleResponse>;

    /// When a message has come, and the response has begun.
    async fn look_up_people(
        &self,
        request: Request<Streaming<LookUpPeopleRequest>>,
    ) -> Result<Response<Self::LookUpPeopleStream>, Status> {
        let people = request.into_inner().map(|_| panic!("in the stream"));
        Ok(Response::new(Box::pin(people)))
    }
}
// ANCHOR_END: careless

//! `cargo run --example order` shows in which order a call passes layers and
//! interceptors, on its way there and on its way back.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use anyhow::bail;
use interceptors::pb::{
    CreatePeopleRequest, CreatePeopleResponse, GetPersonRequest, GetPersonResponse,
    ListPeopleRequest, ListPeopleResponse, LookUpPeopleRequest, LookUpPeopleResponse,
    person_service_client::PersonServiceClient,
    person_service_server::{PersonService, PersonServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::Empty;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    service::LayerExt,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);

    // ANCHOR: server
    let interceptor = says("server's interceptor");
    let people = PersonServiceServer::with_interceptor(Handler, interceptor);
    let people = ServiceBuilder::new()
        .layer(Says("service's first layer"))
        .layer(Says("service's second layer"))
        .named_layer(people);
    let server = Server::builder()
        .layer(Says("server's first layer"))
        .layer(Says("server's second layer"))
        .add_service(people);
    // ANCHOR_END: server
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    // ANCHOR: client
    let channel = Endpoint::from_shared(uri)?.connect().await?;
    let channel = ServiceBuilder::new()
        .layer(Says("client's first layer"))
        .layer(Says("client's second layer"))
        .service(channel);
    let interceptor = says("client's interceptor");
    let mut client = PersonServiceClient::with_interceptor(channel, interceptor);
    // ANCHOR_END: client

    let name = "jack".to_owned();
    client.get_person(GetPersonRequest { name }).await?;

    println!();
    println!("and one that the server's interceptor refuses:");
    let mut request = Request::new(GetPersonRequest::default());
    request.metadata_mut().insert("refuse", "yes".parse()?);
    let Err(status) = client.get_person(request).await else {
        bail!("it is let through");
    };
    println!("{:?}: {}", status.code(), status.message());
    Ok(())
}

/// An interceptor that says when a call passes.
fn says(name: &'static str) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        println!("→ {name}");
        let refuse = name.starts_with("server") && request.metadata().contains_key("refuse");
        if refuse {
            return Err(Status::permission_denied("it says `refuse`"));
        }
        Ok(request)
    }
}

/// A layer that says when a call passes, and when its response does.
#[derive(Clone, Copy)]
struct Says(&'static str);

impl<S> Layer<S> for Says {
    type Service = Saying<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Saying {
            name: self.0,
            inner,
        }
    }
}

#[derive(Clone)]
struct Saying<S> {
    name: &'static str,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Saying<S>
where
    S: Service<http::Request<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = self.name;
        println!("→ {name}");
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await;
            println!("← {name}");
            response
        })
    }
}

/// Says that a call has arrived.
struct Handler;

#[tonic::async_trait]
impl PersonService for Handler {
    async fn get_person(
        &self,
        _: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        println!("  handler");
        Ok(Response::new(GetPersonResponse::default()))
    }

    async fn create_people(
        &self,
        _: Request<Streaming<CreatePeopleRequest>>,
    ) -> Result<Response<CreatePeopleResponse>, Status> {
        Err(Status::unimplemented("not in this example"))
    }

    type ListPeopleStream = Empty<Result<ListPeopleResponse, Status>>;

    async fn list_people(
        &self,
        _: Request<ListPeopleRequest>,
    ) -> Result<Response<Self::ListPeopleStream>, Status> {
        Err(Status::unimplemented("not in this example"))
    }

    type LookUpPeopleStream = Empty<Result<LookUpPeopleResponse, Status>>;

    async fn look_up_people(
        &self,
        _: Request<Streaming<LookUpPeopleRequest>>,
    ) -> Result<Response<Self::LookUpPeopleStream>, Status> {
        Err(Status::unimplemented("not in this example"))
    }
}

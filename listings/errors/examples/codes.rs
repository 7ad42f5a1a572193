//! `cargo run --example codes` brings tonic to end calls in every way that it has,
//! and prints the table of the status codes; `-- messages` prints what came.

use std::{
    env,
    io::{self, ErrorKind},
    panic,
    time::Duration,
};

use anyhow::{Result, bail};
use axum::{Router, routing::any};
use errors::pb::{
    CreatePeopleResponse, GetPersonRequest, GetPersonResponse,
    person_service_client::PersonServiceClient,
    person_service_server::{PersonService, PersonServiceServer},
};
use http::{HeaderValue, StatusCode, uri::PathAndQuery};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    service::Routes,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

struct Row {
    code: Code,
    /// When a service of ours uses it.
    when: &'static str,
    /// Whether a client may make the call again.
    again: &'static str,
    /// What a gateway makes of it, after `google/rpc/code.proto`.
    http: u16,
}

const NO: &str = "no";

const CODES: [Row; 17] = [
    row(Code::Ok, "it went well", NO, 200),
    row(Code::Cancelled, "the client has given up", NO, 499),
    row(Code::Unknown, "never: choose one of the others", NO, 500),
    row(
        Code::InvalidArgument,
        "the request is wrong, whatever state the server is in",
        "no: send another",
        400,
    ),
    row(
        Code::DeadlineExceeded,
        "time is up; what was asked for may have been done",
        "no: there is no time",
        504,
    ),
    row(Code::NotFound, "there is no such thing", NO, 404),
    row(
        Code::AlreadyExists,
        "there is such a thing already",
        NO,
        409,
    ),
    row(
        Code::PermissionDenied,
        "we know who asks, and they may not",
        NO,
        403,
    ),
    row(
        Code::ResourceExhausted,
        "a quota is used up, or memory, or a disk",
        "when the server says, with `RetryInfo`",
        429,
    ),
    row(
        Code::FailedPrecondition,
        "not in this state: somebody has to change it first",
        "no: change the state",
        400,
    ),
    row(
        Code::Aborted,
        "another call changed the same thing at the same time",
        "from the start: read, change, write",
        409,
    ),
    row(
        Code::OutOfRange,
        "past the end; what is wrong now may be right later",
        NO,
        400,
    ),
    row(
        Code::Unimplemented,
        "this server has no such method",
        NO,
        501,
    ),
    row(
        Code::Internal,
        "a promise of our own is broken: an operator has to look",
        NO,
        500,
    ),
    row(
        Code::Unavailable,
        "not now, and it will pass",
        "yes: after a while, and a longer one each time",
        503,
    ),
    row(Code::DataLoss, "data is lost or damaged", NO, 500),
    row(
        Code::Unauthenticated,
        "we do not know who asks",
        "with other credentials",
        401,
    ),
];

const fn row(code: Code, when: &'static str, again: &'static str, http: u16) -> Row {
    Row {
        code,
        when,
        again,
        http,
    }
}

/// What was done, and the status that came of it.
struct Ended {
    what: String,
    status: Status,
}

#[tokio::main]
async fn main() -> Result<()> {
    // What panics in here is meant to.
    panic::set_hook(Box::new(|_| ()));
    let ended = provoke().await?;
    match env::args().nth(1).as_deref() {
        None => {
            println!("| code | when to use it | again? | HTTP | what makes it one in tonic |");
            println!("| --- | --- | --- | --- | --- |");
            for row in &CODES {
                print(row, &ended);
            }
        }
        Some("messages") => {
            println!("| what happens | code | message |");
            println!("| --- | --- | --- |");
            for Ended { what, status } in &ended {
                let message = match status.message() {
                    "" => String::new(),
                    message => format!("`{message}`"),
                };
                println!("| {what} | `{}` | {message} |", name(status.code()));
            }
        }
        Some(other) => bail!("{other:?}: say nothing, or `messages`"),
    }
    Ok(())
}

fn print(row: &Row, ended: &[Ended]) {
    let Row {
        code,
        when,
        again,
        http,
    } = row;
    let causes: Vec<_> = ended
        .iter()
        .filter(|ended| ended.status.code() == *code)
        .map(|ended| ended.what.as_str())
        .collect();
    let causes = if causes.is_empty() {
        "nothing: only a service of yours".to_owned()
    } else {
        causes.join("; ")
    };
    let (number, name) = (i32::from(*code), name(*code));
    println!("| `{name}` {number} | {when} | {again} | {http} | {causes} |");
}

/// The name of a code in gRPC's documents.
fn name(code: Code) -> String {
    let mut name = String::new();
    for (at, letter) in format!("{code:?}").char_indices() {
        if at > 0 && letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The kinds of `io::Error` from which tonic makes another code than `UNKNOWN`.
const KINDS: [ErrorKind; 10] = [
    ErrorKind::InvalidInput,
    ErrorKind::TimedOut,
    ErrorKind::NotFound,
    ErrorKind::AlreadyExists,
    ErrorKind::PermissionDenied,
    ErrorKind::ConnectionAborted,
    ErrorKind::UnexpectedEof,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionRefused,
    ErrorKind::InvalidData,
];

/// What a proxy answers that speaks no gRPC: there is no `grpc-status` with it.
const HTTP: [u16; 9] = [400, 401, 403, 404, 429, 500, 502, 503, 504];

async fn provoke() -> Result<Vec<Ended>> {
    let mut all = Vec::new();
    let mut ended = |what: String, result: Result<(), Status>| {
        let status = result.err().unwrap_or_else(|| Status::ok(""));
        all.push(Ended { what, status });
    };

    let channel = channel(PersonServiceServer::new(Wayward)).await?;
    ended("a response".into(), get(&channel, "well").await);
    let mut request = Request::new(GetPersonRequest {
        name: "never".to_owned(),
    });
    request.set_timeout(Duration::from_millis(50));
    let mut client = PersonServiceClient::new(channel.clone());
    let late = client.get_person(request).await.map(drop);
    ended("a deadline, set with `set_timeout`, passes".into(), late);
    ended("the handler panics".into(), get(&channel, "panic").await);
    let other = get(&channel, "other").await;
    ended(
        "`Status::from_error`, of an error that it does not know".into(),
        other,
    );
    for kind in KINDS {
        let result = get(&channel, &format!("{kind:?}")).await;
        ended(format!("`?` on an `io::Error`, `{kind:?}`"), result);
    }
    let method = "/person.v1.PersonService/FirePerson";
    ended(
        "a method that no service has".into(),
        unary(&channel, method).await,
    );
    let method = "/person.v1.PersonService/GetPerson";
    let broken = unary(&channel, method).await;
    ended(
        "a request of another type, which does not decode".into(),
        broken,
    );
    let service = PersonServiceServer::new(Wayward).max_decoding_message_size(8);
    let long = get(&self::channel(service).await?, "longer than that").await;
    ended("a message is over the limit".into(), long);
    ended("the server sheds load".into(), shed().await?);
    for code in HTTP {
        ended(format!("HTTP {code}"), answered(code, None).await?);
    }
    let cut = answered(200, None).await?;
    ended("HTTP 200".into(), cut);
    let newer = answered(200, Some("99")).await?;
    ended("`grpc-status: 99`".into(), newer);
    ended("no server listens".into(), nobody().await?);
    Ok(all)
}

/// Ends each call in the way that the name asks for.
struct Wayward;

#[tonic::async_trait]
impl PersonService for Wayward {
    async fn get_person(
        &self,
        request: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        let name = request.into_inner().name;
        if let Some(kind) = KINDS.into_iter().find(|kind| format!("{kind:?}") == name) {
            Err(io::Error::from(kind))?;
        }
        match name.as_str() {
            "never" => std::future::pending().await,
            "panic" => panic!("as was asked for"),
            "other" => Err(Status::from_error("out of ideas".into())),
            _ => Ok(Response::new(GetPersonResponse::default())),
        }
    }
}

/// Serves on a free port until the program ends.
async fn serve(mut server: Server, routes: Routes) -> Result<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let server = server.add_routes(routes);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok(Channel::from_shared(uri)?.connect().await?)
}

async fn channel(service: PersonServiceServer<Wayward>) -> Result<Channel> {
    serve(Server::builder(), Routes::new(service)).await
}

async fn get(channel: &Channel, name: &str) -> Result<(), Status> {
    let name = name.to_owned();
    let mut client = PersonServiceClient::new(channel.clone());
    client.get_person(GetPersonRequest { name }).await.map(drop)
}

/// Calls a method with a message that is not its request: field 1 is a number.
async fn unary(channel: &Channel, method: &'static str) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let codec = ProstCodec::<CreatePeopleResponse, GetPersonResponse>::default();
    let request = Request::new(CreatePeopleResponse { created: 5 });
    let method = PathAndQuery::from_static(method);
    client.unary(request, method, codec).await.map(drop)
}

/// A connection may have one call at a time: the other of two is sent away.
async fn shed() -> Result<Result<(), Status>> {
    let server = Server::builder()
        .load_shed(true)
        .concurrency_limit_per_connection(1);
    let channel = serve(server, Routes::new(PersonServiceServer::new(Wayward))).await?;
    Ok(tokio::select! {
        result = get(&channel, "never") => result,
        result = get(&channel, "never") => result,
    })
}

/// A server, or a proxy, that answers any call with this HTTP status.
async fn answered(code: u16, grpc_status: Option<&'static str>) -> Result<Result<(), Status>> {
    let code = StatusCode::from_u16(code)?;
    let answer = any(async move || {
        let mut response = http::Response::new(axum::body::Body::empty());
        *response.status_mut() = code;
        if let Some(status) = grpc_status {
            let status = HeaderValue::from_static(status);
            response.headers_mut().insert("grpc-status", status);
        }
        response
    });
    let routes = Routes::from(Router::new().fallback_service(answer));
    let channel = serve(Server::builder(), routes).await?;
    Ok(get(&channel, "anybody").await)
}

/// Nobody listens where somebody did.
async fn nobody() -> Result<Result<(), Status>> {
    let gone = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let channel = Channel::from_shared(format!("http://{gone}"))?.connect_lazy();
    Ok(get(&channel, "anybody").await)
}

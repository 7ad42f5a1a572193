//! `cargo run --release --example interceptors-bench [-- quick]` measures unary calls with the
//! log and without it. It prints comma-separated values.
//!
//! Two servers stand in this process, and are asked in turns, so that whatever
//! else the machine does falls on both. The lines are made, and written nowhere.

use std::{
    env, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use interceptors::{
    callers::{API_KEY, Callers},
    log::LogLayer,
    pb::{
        CreatePeopleRequest, GetPersonRequest, Person, person_service_client::PersonServiceClient,
        person_service_server::PersonServiceServer,
    },
    registry::Registry,
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{
    Request,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

type Client = PersonServiceClient<Channel>;

const KEY: &str = "k-bench";

struct Size {
    at_once: &'static [usize],
    /// How long each server is asked in a turn.
    turn: Duration,
    turns: usize,
}

const FULL: Size = Size {
    at_once: &[1, 10, 100],
    turn: Duration::from_millis(500),
    turns: 20,
};

/// To see that it works; the figures mean nothing.
const QUICK: Size = Size {
    at_once: &[1, 10],
    turn: Duration::from_millis(50),
    turns: 2,
};

#[tokio::main]
async fn main() -> Result<()> {
    let size = match env::args().nth(1).as_deref() {
        None => FULL,
        Some("quick") => QUICK,
        Some(other) => bail!("{other:?}: say nothing, or `quick`"),
    };
    tracing_subscriber::fmt().with_writer(io::sink).init();
    let people = PersonServiceServer::with_interceptor(Registry::default(), callers()?);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let without = client(listener.local_addr()?);
    let server = Server::builder().add_service(people.clone());
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let with = client(listener.local_addr()?);
    let server = Server::builder().layer(LogLayer).add_service(people);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let (without, with) = (without.await?, with.await?);
    create(&without).await?;

    let mut costs = Vec::new();
    println!("log,calls at once,calls/s");
    for &at_once in size.at_once {
        let (mut counts, mut ratios) = ([0, 0], Vec::new());
        for _ in 0..size.turns {
            let turn = [
                calls(&without, at_once, size.turn).await?,
                calls(&with, at_once, size.turn).await?,
            ];
            counts = [counts[0] + turn[0], counts[1] + turn[1]];
            ratios.push(turn[0] as f64 / turn[1] as f64);
        }
        let seconds = size.turn.as_secs_f64() * size.turns as f64;
        for (name, count) in ["without", "with"].into_iter().zip(counts) {
            println!("{name},{at_once},{:.0}", count as f64 / seconds);
        }
        ratios.sort_by(f64::total_cmp);
        costs.push((at_once, ratios[ratios.len() / 2]));
    }
    println!();
    println!("calls at once,time with the log / without");
    for (at_once, ratio) in costs {
        println!("{at_once},{ratio:.2}");
    }
    Ok(())
}

fn callers() -> Result<Callers> {
    format!("{KEY} bench").parse()
}

async fn client(address: SocketAddr) -> Result<Client> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect()
        .await?;
    Ok(Client::new(channel))
}

fn with_key<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key = AsciiMetadataValue::from_static(KEY);
    request.metadata_mut().insert(API_KEY, key);
    request
}

/// Both servers share the registry.
async fn create(client: &Client) -> Result<()> {
    let name = "李雷".to_owned();
    let person = Some(Person {
        name,
        ..Person::default()
    });
    let people = tokio_stream::iter([CreatePeopleRequest { person }]);
    client.clone().create_people(with_key(people)).await?;
    Ok(())
}

/// How many calls are answered in the time given, so many at once.
async fn calls(client: &Client, at_once: usize, time: Duration) -> Result<u64> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let mut client = client.clone();
        callers.spawn(async move {
            let mut calls = 0;
            loop {
                let name = "李雷".to_owned();
                let response = client
                    .get_person(with_key(GetPersonRequest { name }))
                    .await?;
                response.into_inner().person.context("nobody was sent")?;
                calls += 1;
                if began.elapsed() >= time {
                    return anyhow::Ok(calls);
                }
            }
        });
    }
    let mut calls = 0;
    while let Some(caller) = callers.join_next().await {
        calls += caller??;
    }
    Ok(calls)
}

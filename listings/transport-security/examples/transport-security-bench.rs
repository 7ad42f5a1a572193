//! `cargo run --release --example transport-security-bench [-- quick]` measures calls
//! and connections in plain text, with TLS, and with certificates on both sides. It
//! prints comma-separated values.
//!
//! Three servers stand in this process, and are asked in turns, so that whatever
//! else the machine does falls on all of them.

use std::{
    env,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tokio::{fs, net::TcpListener, task::JoinSet};
use tonic::{
    Request, Response, Status,
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
        server::TcpIncoming,
    },
};
use transport_security::{
    authority::Authority,
    connect::Files,
    pb::{
        SayHelloRequest, SayHelloResponse,
        greeter_service_client::GreeterServiceClient,
        greeter_service_server::{GreeterService, GreeterServiceServer},
    },
    serve,
    tls::Tls,
};

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

const NAMES: [&str; 3] = ["plain text", "TLS", "mutual TLS"];

#[tokio::main]
async fn main() -> Result<()> {
    let size = match env::args().nth(1).as_deref() {
        None => FULL,
        Some("quick") => QUICK,
        Some(other) => bail!("{other:?}: say nothing, or `quick`"),
    };
    let folder = tempfile::tempdir()?;
    let authority = Authority::open(folder.path())?;
    authority.issue_server(&["127.0.0.1".to_owned()], 1)?;
    authority.issue_client("spiffe://example.org/bench", 1)?;
    let endpoints = [
        plain_text().await?,
        one_sided(folder.path()).await?,
        mutual(folder.path()).await?,
    ];

    let mut ratios = Vec::new();
    println!("transport,calls at once,calls/s");
    for &at_once in size.at_once {
        let mut channels = Vec::new();
        for endpoint in &endpoints {
            channels.push(GreeterServiceClient::new(endpoint.connect().await?));
        }
        let mut turns = Vec::new();
        for _ in 0..size.turns {
            let mut turn = [0; 3];
            for (count, client) in turn.iter_mut().zip(&channels) {
                let client = client.clone();
                *count = repeated(at_once, size.turn, move || hello(client.clone())).await?;
            }
            turns.push(turn);
        }
        for (name, speed) in NAMES.iter().zip(speeds(&turns, size.turn)) {
            println!("{name},{at_once},{speed:.0}");
        }
        ratios.push((format!("calls by {at_once}"), medians(&turns)));
    }

    // Each with a call: a connection is made when the other end has accepted it.
    let mut turns = Vec::new();
    for _ in 0..size.turns {
        let mut turn = [0; 3];
        for (count, endpoint) in turn.iter_mut().zip(&endpoints) {
            let endpoint = endpoint.clone();
            *count = repeated(1, size.turn, move || connected(endpoint.clone())).await?;
        }
        turns.push(turn);
    }
    println!("\ntransport,connections/s");
    for (name, speed) in NAMES.iter().zip(speeds(&turns, size.turn)) {
        println!("{name},{speed:.0}");
    }
    ratios.push(("a connection".to_owned(), medians(&turns)));

    println!("\ntime of,TLS / plain text,mutual TLS / plain text");
    for (what, [tls, mutual]) in ratios {
        println!("{what},{tls:.2},{mutual:.2}");
    }
    Ok(())
}

/// Greets as ours does, and asks nobody who they are.
struct Anybody;

#[tonic::async_trait]
impl GreeterService for Anybody {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        let message = format!("Hello, {}!", request.into_inner().name);
        Ok(Response::new(SayHelloResponse { message }))
    }
}

/// Serves, and returns the address.
async fn serving(mut server: Server) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = server.add_service(GreeterServiceServer::new(Anybody));
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok(address)
}

async fn plain_text() -> Result<Endpoint> {
    let address = serving(Server::builder()).await?;
    Ok(Endpoint::from_shared(format!("http://{address}"))?)
}

async fn one_sided(folder: &Path) -> Result<Endpoint> {
    let read = |name| fs::read(folder.join(name));
    let identity = Identity::from_pem(read("server.pem").await?, read("server.key").await?);
    let tls = ServerTlsConfig::new().identity(identity);
    let address = serving(Server::builder().tls_config(tls)?).await?;
    let ca = Certificate::from_pem(read("ca.pem").await?);
    let tls = ClientTlsConfig::new().ca_certificate(ca);
    Ok(Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?)
}

/// The listing as it is.
async fn mutual(folder: &Path) -> Result<Endpoint> {
    let tls = Tls::open(folder).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("https://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, tls.config(), std::future::pending()));
    let file = |name: &str| -> PathBuf { folder.join(name) };
    let files = Files {
        ca: file("ca.pem"),
        identity: Some((file("client.pem"), file("client.key"))),
    };
    files.endpoint(&uri).await
}

async fn connected(endpoint: Endpoint) -> Result<()> {
    hello(GreeterServiceClient::new(endpoint.connect().await?)).await
}

async fn hello(mut client: GreeterServiceClient<Channel>) -> Result<()> {
    let name = "李雷".to_owned();
    let response = client.say_hello(SayHelloRequest { name }).await?;
    ensure!(response.into_inner().message.starts_with("Hello, 李雷!"));
    Ok(())
}

/// How often `what` is done in the time given, so many at once.
async fn repeated<W, F>(at_once: usize, time: Duration, what: W) -> Result<u64>
where
    W: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let what = what.clone();
        workers.spawn(async move {
            let mut done = 0;
            loop {
                what().await?;
                done += 1;
                if began.elapsed() >= time {
                    return anyhow::Ok(done);
                }
            }
        });
    }
    let mut done = 0;
    while let Some(worker) = workers.join_next().await {
        done += worker??;
    }
    Ok(done)
}

fn speeds(turns: &[[u64; 3]], turn: Duration) -> [f64; 3] {
    let seconds = turn.as_secs_f64() * turns.len() as f64;
    [0, 1, 2].map(|at| turns.iter().map(|turn| turn[at]).sum::<u64>() as f64 / seconds)
}

/// How much longer it takes than in plain text.
fn medians(turns: &[[u64; 3]]) -> [f64; 2] {
    [1, 2].map(|at| {
        let ratios = turns.iter().map(|turn| turn[0] as f64 / turn[at] as f64);
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    })
}

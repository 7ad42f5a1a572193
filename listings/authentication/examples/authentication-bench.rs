//! `cargo run --release --example authentication-bench [-- quick]` measures unary calls in
//! plain text, over TLS, and over TLS with a token that is checked. It prints
//! comma-separated values.
//!
//! Three servers stand in this process, and are asked in turns, so that whatever
//! else the machine does falls on all of them.

#[path = "../tests/authentication/support/mod.rs"]
mod support;

use std::{
    env,
    time::{Duration, Instant},
};

use authentication::{
    layer::AuthLayer,
    pb::{
        CloseAccountRequest, CloseAccountResponse, GetBalanceRequest, GetBalanceResponse,
        TransferRequest, TransferResponse, WatchTransfersRequest, WatchTransfersResponse,
        account_service_client::AccountServiceClient,
        account_service_server::{AccountService, AccountServiceServer},
    },
    policy::{METHODS, Policy},
};
use support::{EAGER, FakeIssuer, Key, Result};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::Empty;
use tonic::{
    Request, Response, Status,
    metadata::AsciiMetadataValue,
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Server, ServerTlsConfig,
        server::TcpIncoming,
    },
};

struct Size {
    at_once: &'static [usize],
    /// How long each server is asked in a turn.
    turn: Duration,
    turns: usize,
}

const FULL: Size = Size {
    at_once: &[1, 10, 100],
    turn: Duration::from_millis(400),
    turns: 15,
};

/// To see that it works; the figures mean nothing.
const QUICK: Size = Size {
    at_once: &[1, 10],
    turn: Duration::from_millis(50),
    turns: 2,
};

const CURVES: [&str; 3] = ["plain text", "TLS", "TLS and a token"];

#[tokio::main]
async fn main() -> Result {
    let size = match env::args().nth(1).as_deref() {
        None => FULL,
        Some("quick") => QUICK,
        Some(other) => return Err(format!("{other:?}: say nothing, or `quick`").into()),
    };
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let token = format!("Bearer {}", key.sign(&issuer.claims())).parse()?;

    let folder = tempfile::tempdir()?;
    authentication::certificates::make(folder.path())?;
    let tls = || -> Result<Server> {
        let identity = authentication::certificates::identity(folder.path())?;
        Ok(Server::builder().tls_config(ServerTlsConfig::new().identity(identity))?)
    };
    let authority = authentication::certificates::authority(folder.path())?;
    let door = AuthLayer::new(issuer.verifier(EAGER).await?, Policy::new(METHODS));

    let service = AccountServiceServer::new(Constant);
    let plain = listen().await?;
    let server = Server::builder().add_service(service.clone());
    let plain = client(plain, None, |incoming| server.serve_with_incoming(incoming)).await?;
    let over_tls = listen().await?;
    let server = tls()?.add_service(service.clone());
    let over_tls = client(over_tls, Some(&authority), |incoming| {
        server.serve_with_incoming(incoming)
    })
    .await?;
    let checked = listen().await?;
    let server = tls()?.layer(door).add_service(service);
    let checked = client(checked, Some(&authority), |incoming| {
        server.serve_with_incoming(incoming)
    })
    .await?;
    let callers = [(plain, None), (over_tls, None), (checked, Some(token))];

    let mut costs = Vec::new();
    println!("transport,calls at once,calls/s");
    for &at_once in size.at_once {
        let (mut counts, mut ratios) = ([0; 3], [const { Vec::new() }; 2]);
        for _ in 0..size.turns {
            let mut turn = [0; 3];
            for (count, (client, token)) in turn.iter_mut().zip(&callers) {
                *count = calls(client, token.as_ref(), at_once, size.turn).await?;
            }
            for (sum, count) in counts.iter_mut().zip(turn) {
                *sum += count;
            }
            ratios[0].push(turn[0] as f64 / turn[1] as f64);
            ratios[1].push(turn[1] as f64 / turn[2] as f64);
        }
        let seconds = size.turn.as_secs_f64() * size.turns as f64;
        for (name, count) in CURVES.into_iter().zip(counts) {
            println!("{name},{at_once},{:.0}", count as f64 / seconds);
        }
        costs.push((at_once, ratios.map(median)));
    }
    println!();
    println!("calls at once,time over TLS / plain text,time with a token / without");
    for (at_once, [tls, token]) in costs {
        println!("{at_once},{tls:.2},{token:.2}");
    }
    Ok(())
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

async fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

/// Serves, and connects.
async fn client<F>(
    listener: TcpListener,
    authority: Option<&Certificate>,
    serve: impl FnOnce(TcpIncoming) -> F,
) -> Result<AccountServiceClient<Channel>>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let address = listener.local_addr()?;
    tokio::spawn(serve(TcpIncoming::from(listener).with_nodelay(Some(true))));
    let endpoint = match authority {
        Some(authority) => {
            let tls = ClientTlsConfig::new().ca_certificate(authority.clone());
            Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?
        }
        None => Endpoint::from_shared(format!("http://{address}"))?,
    };
    let channel = endpoint.tcp_nodelay(true).connect().await?;
    Ok(AccountServiceClient::new(channel))
}

/// How many calls are answered in the time given, so many at once.
async fn calls(
    client: &AccountServiceClient<Channel>,
    token: Option<&AsciiMetadataValue>,
    at_once: usize,
    time: Duration,
) -> Result<u64> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let (mut client, token) = (client.clone(), token.cloned());
        callers.spawn(async move {
            let mut calls = 0;
            loop {
                let mut request = Request::new(GetBalanceRequest {});
                if let Some(token) = &token {
                    let metadata = request.metadata_mut();
                    metadata.insert("authorization", token.clone());
                }
                client.get_balance(request).await?;
                calls += 1;
                if began.elapsed() >= time {
                    return Ok::<_, Status>(calls);
                }
            }
        });
    }
    let mut calls = 0;
    for caller in callers.join_all().await {
        calls += caller?;
    }
    Ok(calls)
}

/// The same balance for everybody.
#[derive(Clone)]
struct Constant;

#[tonic::async_trait]
impl AccountService for Constant {
    async fn get_balance(
        &self,
        _: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        Ok(Response::new(GetBalanceResponse { cents: 5_000 }))
    }

    async fn transfer(
        &self,
        _: Request<TransferRequest>,
    ) -> Result<Response<TransferResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type WatchTransfersStream = Empty<Result<WatchTransfersResponse, Status>>;

    async fn watch_transfers(
        &self,
        _: Request<WatchTransfersRequest>,
    ) -> Result<Response<Self::WatchTransfersStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn close_account(
        &self,
        _: Request<CloseAccountRequest>,
    ) -> Result<Response<CloseAccountResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

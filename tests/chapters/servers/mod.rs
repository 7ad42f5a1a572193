//! What every server of the book promises: it stops within its limit whatever its clients do, a
//! second signal ends it at once, it limits the calls of a connection, and it survives running
//! out of file descriptors.

mod peer;

use std::{
    fmt::Write,
    fs,
    net::{SocketAddr, TcpStream},
    ops::Range,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use harness::{
    AuthPrograms, Listing, Pki, Result,
    http2::{DEFAULT_WINDOW, MAX_CONCURRENT_STREAMS},
    table,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use stage::process::{self, Process};

use peer::{Connection, Methods, Peer};

/// The tables of the page that teaches shutdown, with the columns of each: one table is wider than
/// a page. `SNAPSHOTS=overwrite` writes them again.
const TABLES: [(&str, &str, Range<usize>); 2] = [
    (
        "tests/chapters/output/shutdown-without-a-call.md",
        "without a call",
        0..6,
    ),
    (
        "tests/chapters/output/shutdown-with-a-call.md",
        "with a call",
        6..11,
    ),
];

/// How long each server lets its calls end, its constant `DRAIN_TIMEOUT`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How many servers run at a time, so that they do not wait for a core.
const AT_ONCE: usize = 64;

struct ServerProgram {
    listing: &'static str,
    program: &'static str,
    methods: Methods,
    /// Whether it logs, and limits the calls of a connection. Four programs that show a mistake, or
    /// the least that TLS needs, do less.
    logs: bool,
    limits_calls: bool,
}

const GREETER: Methods = Methods {
    unary: ("/hello.v1.GreeterService/SayHello", b"\x0a\x04Jack"),
    api_key: None,
    server_stream: None,
    open_server_stream: None,
    bidirectional: None,
};

const WATCH: Option<(&str, &[u8])> = Some(("/grpc.health.v1.Health/Watch", &[]));

const TILL: Methods = Methods {
    unary: ("/till.v1.TillService/GetPrice", b"\x0a\x04milk"),
    api_key: None,
    server_stream: Some(("/till.v1.TillService/ListPrices", &[])),
    open_server_stream: None,
    bidirectional: Some("/till.v1.TillService/Scan"),
};

const PEOPLE: Methods = Methods {
    unary: ("/grpc.health.v1.Health/Check", &[]),
    api_key: Some("k-7f2c9ad1"),
    server_stream: None,
    open_server_stream: None,
    bidirectional: Some("/person.v1.PersonService/LookUpPeople"),
};

const SERVERS: &[ServerProgram] = &[
    server("hello-world", "hello-world-server", GREETER),
    server(
        "manual-service",
        "manual-service-server",
        Methods {
            unary: (
                "/greeting.v1.GreeterService/SayHello",
                br#"{"name":"Jack"}"#,
            ),
            ..GREETER
        },
    ),
    server(
        "buf",
        "buf-server",
        Methods {
            bidirectional: Some("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
            ..GREETER
        },
    ),
    server("streaming", "streaming-server", TILL),
    server(
        "one-way-streams",
        "one-way-streams-server",
        Methods {
            unary: (
                "/message.v1.MessageService/AcknowledgeMessages",
                b"\x0a\x04jack",
            ),
            api_key: None,
            server_stream: None,
            open_server_stream: Some((
                "/message.v1.MessageService/ReceiveMessages",
                b"\x0a\x04jack",
            )),
            bidirectional: Some("/message.v1.MessageService/SendMessages"),
        },
    ),
    server(
        "bidirectional-streams",
        "bidirectional-streams-server",
        Methods {
            unary: ("/chat.v1.ChatService/Chat", &[]),
            bidirectional: Some("/chat.v1.ChatService/Chat"),
            ..GREETER
        },
    ),
    server("metadata", "metadata-server", TILL),
    server(
        "interceptors",
        "interceptors-server",
        Methods {
            open_server_stream: WATCH,
            ..PEOPLE
        },
    ),
    server(
        "interceptors",
        "interceptors-stack-server",
        Methods {
            open_server_stream: WATCH,
            ..PEOPLE
        },
    ),
    ServerProgram {
        limits_calls: false,
        ..server(
            "interceptors",
            "interceptors-panicking-server",
            Methods {
                unary: ("/person.v1.PersonService/GetPerson", &[]),
                ..PEOPLE
            },
        )
    },
    server(
        "errors",
        "errors-server",
        Methods {
            open_server_stream: WATCH,
            ..PEOPLE
        },
    ),
    ServerProgram {
        logs: false,
        limits_calls: false,
        ..server(
            "errors",
            "errors-careless-server",
            Methods {
                unary: ("/person.v1.PersonService/GetPerson", b"\x0a\x04Jack"),
                bidirectional: None,
                ..PEOPLE
            },
        )
    },
    server(
        "deadlines",
        "deadlines-server",
        Methods {
            unary: ("/order.v1.OrderService/PlaceOrder", b"\x0a\x04book"),
            open_server_stream: WATCH,
            ..GREETER
        },
    ),
    server(
        "authentication",
        "authentication-server",
        Methods {
            unary: ("/grpc.health.v1.Health/Check", &[]),
            open_server_stream: WATCH,
            ..GREETER
        },
    ),
    server("transport-security", "transport-security-server", GREETER),
    ServerProgram {
        limits_calls: false,
        ..server(
            "transport-security",
            "transport-security-simple-server",
            GREETER,
        )
    },
    ServerProgram {
        logs: false,
        limits_calls: false,
        ..server(
            "transport-security",
            "transport-security-careless-server",
            GREETER,
        )
    },
    server("service-discovery", "service-discovery-server", GREETER),
    server(
        "load-balancing",
        "load-balancing-server",
        Methods {
            open_server_stream: WATCH,
            ..GREETER
        },
    ),
    server(
        "conformance",
        "conformance-server",
        Methods {
            unary: ("/grpc.testing.TestService/UnaryCall", &[]),
            api_key: None,
            server_stream: Some((
                "/grpc.testing.TestService/StreamingOutputCall",
                b"\x12\x02\x08\x0a",
            )),
            open_server_stream: None,
            bidirectional: Some("/grpc.testing.TestService/FullDuplexCall"),
        },
    ),
];

const fn server(listing: &'static str, program: &'static str, methods: Methods) -> ServerProgram {
    ServerProgram {
        listing,
        program,
        methods,
        logs: true,
        limits_calls: true,
    }
}

/// What some servers need: certificates, an issuer, a folder.
struct Environment {
    pki: Pki,
    auth: AuthPrograms,
    issuer: harness::Issuer,
    people: tempfile::TempDir,
    mutual: Arc<ClientConfig>,
    plain: Arc<ClientConfig>,
}

impl Environment {
    fn new() -> Result<Self> {
        let listing = Listing::build("transport-security")?;
        let pki = Pki::new(&listing)?;
        let auth = AuthPrograms::build()?;
        let issuer = auth.start_issuer("60", "1")?;
        Ok(Self {
            mutual: client_config(
                &pki.file("ca.pem"),
                Some((&pki.file("client.pem"), &pki.file("client.key"))),
            )?,
            plain: client_config(&auth.ca_file(), None)?,
            people: tempfile::TempDir::new()?,
            pki,
            auth,
            issuer,
        })
    }

    fn arguments(&self, server: &ServerProgram) -> Vec<String> {
        let address = "127.0.0.1:0";
        let arguments: Vec<&str> = match server.program {
            "deadlines-server" => vec!["carrier", address],
            "errors-server" | "errors-careless-server" => {
                vec![address, self.people.path().to_str().unwrap_or_default()]
            }
            "authentication-server" => vec![address, &self.issuer.url, self.auth.secrets()],
            "transport-security-server" | "transport-security-simple-server" => {
                vec![address, self.pki.folder()]
            }
            _ => vec![address],
        };
        arguments.into_iter().map(str::to_owned).collect()
    }

    fn tls(&self, server: &ServerProgram) -> Option<&Arc<ClientConfig>> {
        match server.program {
            "authentication-server" => Some(&self.plain),
            "transport-security-server" | "transport-security-simple-server" => Some(&self.mutual),
            _ => None,
        }
    }

    /// Starts the server, with at most `files` open if there is a limit.
    fn start(&self, server: &ServerProgram, files: Option<u32>) -> Result<(Process, SocketAddr)> {
        let listing = Listing::build(server.listing)?;
        let arguments = self.arguments(server);
        let mut process = match files {
            None => listing.start(server.program, arguments)?,
            Some(files) => {
                let command = listing.command(server.program)?;
                let mut limited = process::command("sh");
                limited
                    .current_dir(command.get_current_dir().unwrap_or(Path::new(".")))
                    .args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")])
                    .arg(command.get_program())
                    .args(arguments);
                Process::start(limited)?
            }
        };
        let address = listening(&mut process)?;
        Ok((process, address))
    }
}

/// Waits until the server says where it listens.
fn listening(process: &mut Process) -> Result<SocketAddr> {
    let line = process.wait_for("listening on ")?;
    let address = line.trim_start_matches("listening on ");
    address.parse().context(line.clone())
}

fn client_config(ca: &str, identity: Option<(&str, &str)>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some((chain, key)) => config.with_client_auth_cert(
            CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?,
            PrivateKeyDer::from_pem_file(key)?,
        )?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Runs `test` for each item, `at_once` at a time, and returns what they return in their order.
fn for_each<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    test: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let run = |items: &[T]| {
        thread::scope(|scope| {
            let test = &test;
            let running: Vec<_> = items
                .iter()
                .map(|item| scope.spawn(move || test(item)))
                .collect();
            let results = running
                .into_iter()
                .map(|it| it.join().expect("a test panicked"));
            results.collect::<Vec<_>>()
        })
    };
    items.chunks(at_once).flat_map(run).collect()
}

/// Waits until the server has accepted the connections that were made before: it does so in turn,
/// and answers one more.
fn wait_until_accepted(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result {
    let mut probe = Connection::open(address, tls)?;
    probe.begin(DEFAULT_WINDOW)?;
    probe.ping()?;
    Ok(())
}

/// The time from SIGTERM until the process has ended; none if the server has no such method.
fn shutdown(
    environment: &Environment,
    server: &ServerProgram,
    peer: Peer,
) -> Result<Option<Duration>> {
    if !peer.has_method(&server.methods) {
        return Ok(None);
    }
    let (mut process, address) = environment.start(server, None)?;
    let tls = environment.tls(server);
    let _stalled = peer.stall(address, tls, &server.methods)?;
    wait_until_accepted(address, tls)?;

    process.terminate()?;
    let told = Instant::now();
    let output = process.wait()?;
    ensure!(
        output.code == 0,
        "exit code {}: {}",
        output.code,
        output.text
    );
    Ok(Some(told.elapsed()))
}

#[harness::test]
fn every_server_stops_within_its_limit_with_any_client() -> Result {
    let environment = Environment::new()?;
    let cells: Vec<(&ServerProgram, Peer)> = SERVERS
        .iter()
        .flat_map(|server| Peer::ALL.map(|(peer, _)| (server, peer)))
        .collect();
    let times = for_each(&cells, AT_ONCE, |&(server, peer)| {
        shutdown(&environment, server, peer)
            .with_context(|| format!("{} with the client {peer:?}", server.program))
    });

    let times: Vec<Option<Duration>> = times.into_iter().collect::<Result<_>>()?;
    let rows: Vec<_> = SERVERS.iter().zip(times.chunks(Peer::ALL.len())).collect();
    for (file, title, columns) in TABLES {
        let mut table = format!("| {title} |");
        for (_, name) in &Peer::ALL[columns.clone()] {
            write!(table, " {name} |")?;
        }
        write!(table, "\n| --- |{}", " ---: |".repeat(columns.len()))?;
        for (server, times) in &rows {
            let name = server.program.trim_end_matches("-server");
            write!(table, "\n| `{name}` |")?;
            for time in &times[columns.clone()] {
                match time {
                    Some(time) => write!(table, " {:.1} |", time.as_secs_f64())?,
                    None => table.push_str(" – |"),
                }
            }
        }
        table.push('\n');

        table::compare(file, &table, by_limit)?;
    }
    Ok(())
}

/// The table, with the times replaced by whether the server waited for its limit: the rest
/// depends on the machine.
fn by_limit(table: &str) -> Vec<Vec<String>> {
    let cell = |cell: &str| match cell.trim().parse::<f64>() {
        Ok(seconds) if seconds < DRAIN_TIMEOUT.as_secs_f64() / 2.0 => "drained".to_owned(),
        Ok(_) => "limit".to_owned(),
        Err(_) => cell.trim().to_owned(),
    };
    let rows = table.lines();
    rows.map(|row| row.split('|').map(cell).collect()).collect()
}

#[harness::test]
fn second_signal_ends_every_server_at_once() -> Result {
    let environment = Environment::new()?;
    let results = for_each(SERVERS, AT_ONCE, |server| {
        let (mut process, address) = environment.start(server, None)?;
        let tls = environment.tls(server);
        let _stalled = Peer::HalfPreface.stall(address, tls, &server.methods)?;
        wait_until_accepted(address, tls)?;
        process.interrupt()?;
        // The server has handled the first signal once it no longer listens.
        while TcpStream::connect(address).is_ok() {
            thread::yield_now();
        }
        process.interrupt()?;
        let output = process.wait()?;
        ensure!(output.code == 130, "{}: {}", server.program, output.code);
        Ok(())
    });
    results.into_iter().collect()
}

/// Floods the first server, so that the threads of its runtime never rest: tokio then looks at
/// signals and timers seconds late. All servers have the same `shutdown.rs`, so one is enough.
#[harness::test]
fn flooded_server_stops_within_its_limit_and_at_the_second_signal() -> Result {
    let server = &SERVERS[0];
    let listing = Listing::build(server.listing)?;
    let flooded = || -> Result<Process> {
        let mut process = listing.start(server.program, ["127.0.0.1:0"])?;
        let address = listening(&mut process)?;
        for _ in 0..8 {
            Connection::open(address, None)?.flood(server.methods.unary.0)?;
        }
        thread::sleep(Duration::from_millis(500));
        process.terminate()?;
        Ok(process)
    };

    let process = flooded()?;
    let told = Instant::now();
    process.wait()?;
    let took = told.elapsed();
    // Its limit is six seconds: one for the process to end after its server. The rest is for a
    // machine that has other tests to run.
    ensure!(took < 2 * DRAIN_TIMEOUT, "one signal: {took:?}");

    let mut process = flooded()?;
    thread::sleep(Duration::from_millis(500));
    process.interrupt()?;
    let told = Instant::now();
    let output = process.wait()?;
    let took = told.elapsed();
    ensure!(
        output.code == 130 && took < DRAIN_TIMEOUT,
        "two signals: {} after {took:?}",
        output.code
    );
    Ok(())
}

#[harness::test]
fn every_health_check_hears_of_the_shutdown() -> Result {
    let environment = Environment::new()?;
    let watched: Vec<&ServerProgram> = SERVERS
        .iter()
        .filter(|server| server.methods.open_server_stream == WATCH)
        .collect();
    let results = for_each(&watched, AT_ONCE, |server| {
        let (mut process, address) = environment.start(server, None)?;
        let mut connection = Connection::open(address, environment.tls(server))?;
        connection.begin(DEFAULT_WINDOW)?;
        // It does not answer the ping that follows GOAWAY, so the server still takes its calls.
        let mut late = Connection::open(address, environment.tls(server))?;
        late.begin(DEFAULT_WINDOW)?;
        late.ping()?;
        // The empty message asks for the server as a whole. The answer is the field `status`.
        connection.call(WATCH.context("no method")?, None)?;
        ensure!(
            connection.message()? == Some(b"\x08\x01".to_vec()),
            "not SERVING"
        );
        process.terminate()?;
        ensure!(
            connection.message()? == Some(b"\x08\x02".to_vec()),
            "not NOT_SERVING"
        );
        ensure!(connection.message()?.is_none(), "the watch does not end");
        late.call(("/grpc.health.v1.Health/Check", &[]), None)?;
        ensure!(
            late.message()? == Some(b"\x08\x02".to_vec()),
            "a check during the shutdown is not answered by NOT_SERVING"
        );
        Ok(())
    });
    for (result, server) in results.into_iter().zip(watched) {
        result.with_context(|| server.program)?;
    }
    Ok(())
}

#[harness::test]
fn every_server_limits_the_calls_of_a_connection() -> Result {
    let environment = Environment::new()?;
    let results = for_each(SERVERS, AT_ONCE, |server| {
        if !server.limits_calls {
            return Ok(());
        }
        let (_process, address) = environment.start(server, None)?;
        let mut connection = Connection::open(address, environment.tls(server))?;
        connection.begin(DEFAULT_WINDOW)?;
        let limit = connection.ping()?.get(&MAX_CONCURRENT_STREAMS).copied();
        ensure!(
            limit.is_some_and(|limit| limit <= 1000),
            "{}: {limit:?}",
            server.program
        );
        Ok(())
    });
    results.into_iter().collect()
}

/// Reads the processor time from `/proc`, so it runs on Linux only.
#[cfg(target_os = "linux")]
#[harness::test]
fn every_server_survives_running_out_of_file_descriptors() -> Result {
    /// Of the clock in `/proc/PID/stat`, which has 100 ticks a second.
    fn ticks(process: &Process) -> Result<u64> {
        let stat = fs::read_to_string(
            Path::new("/proc")
                .join(process.id().to_string())
                .join("stat"),
        )?;
        // The name, in parentheses, may have spaces; then come the state and the rest.
        let (_, rest) = stat.rsplit_once(") ").context("no name")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    }

    let environment = Environment::new()?;
    // Few at a time: each holds 80 files of this process.
    let results = for_each(SERVERS, 5, |server| {
        let (mut process, address) = environment.start(server, Some(40))?;
        let connections = (0..80).map(|_| TcpStream::connect(address));
        let connections: Vec<TcpStream> = connections.collect::<Result<_, _>>()?;
        if server.logs {
            process.wait_for_text("cannot accept connections")?;
        }
        let before = ticks(&process)?;
        thread::sleep(Duration::from_secs(2));
        let used = ticks(&process)? - before;
        ensure!(used < 10, "{} used {used} of 200 ticks", server.program);

        drop(connections);
        let mut connection = Connection::open(address, environment.tls(server))?;
        connection.begin(DEFAULT_WINDOW)?;
        connection.ping().context("no recovery")?;
        let warnings = process
            .output()
            .matches("cannot accept connections")
            .count();
        ensure!(
            warnings == usize::from(server.logs),
            "{} logged {warnings} warnings: {}",
            server.program,
            process.output()
        );
        Ok(())
    });
    let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    ensure!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

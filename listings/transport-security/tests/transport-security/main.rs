//! Who is let in, what they see, and what happens when certificates change, over
//! real connections.

mod authority;
mod chain;
mod clients;
mod exercises;
mod identity;
mod refused;
mod reload;
mod silent;

use std::{
    cell::RefCell,
    error::Error,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Status, transport::Channel};
use tracing::{level_filters::LevelFilter, subscriber::set_global_default};
use transport_security::{
    authority::Authority,
    connect::Files,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
    serve,
    tls::Tls,
};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const JACK: &str = "spiffe://example.org/jack";

/// An authority, and what it has issued.
struct Pki {
    folder: TempDir,
}

impl Pki {
    fn new() -> Result<Self> {
        let pki = Self {
            folder: TempDir::new()?,
        };
        pki.issue(30)?;
        Ok(pki)
    }

    fn authority(&self) -> Result<Authority> {
        Ok(Authority::open(self.folder.path())?)
    }

    fn issue(&self, days: i64) -> Result {
        self.issue_named(&["localhost", "127.0.0.1"], days)?;
        Ok(self.authority()?.issue_client(JACK, days)?)
    }

    fn issue_named(&self, names: &[&str], days: i64) -> Result {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Ok(self.authority()?.issue_server(&names, days)?)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// What a client is given: it trusts us, and shows what `other` has issued.
    fn files_with(&self, other: &Self) -> Files {
        Files {
            ca: self.file("ca.pem"),
            identity: Some((other.file("client.pem"), other.file("client.key"))),
        }
    }

    fn files(&self) -> Files {
        self.files_with(self)
    }
}

/// A greeter in this process, on a port that the system chose.
async fn greeter(folder: &Path) -> Result<(SocketAddr, Tls)> {
    let tls = Tls::open(folder).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, tls.config(), std::future::pending()));
    Ok((address, tls))
}

async fn connect(address: SocketAddr, files: &Files) -> Result<Channel> {
    let endpoint = files.endpoint(&format!("https://{address}")).await?;
    Ok(endpoint.connect().await?)
}

/// What a client of rustls is given: the same files.
fn rustls_config(
    pki: &Pki,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.file("ca.pem"))?)?;
    let chain = vec![CertificateDer::from_pem_file(pki.file("client.pem"))?];
    let key = PrivateKeyDer::from_pem_file(pki.file("client.key"))?;
    let provider = Arc::new(ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?)
}

async fn hello(channel: Channel) -> Result<String, Status> {
    let name = "李雷".to_owned();
    let response = GreeterServiceClient::new(channel)
        .say_hello(SayHelloRequest { name })
        .await?;
    Ok(response.into_inner().message)
}

/// What is logged at any level on this thread, where `tokio::test` runs all tasks of a
/// test. There is one subscriber for all tests: tracing remembers for the whole process
/// which lines anybody wants.
struct Log;

thread_local! {
    static LINES: RefCell<Option<String>> = const { RefCell::new(None) };
}

impl Log {
    fn begins() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(LevelFilter::TRACE)
                .with_ansi(false)
                .with_writer(|| Lines)
                .finish();
            set_global_default(subscriber).expect("it is the only one");
        });
        LINES.set(Some(String::new()));
        Self
    }

    fn ends(self) -> String {
        LINES.take().unwrap_or_default()
    }
}

/// Writes to what is kept of this thread's log, if it is.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.push_str(&String::from_utf8_lossy(line));
            }
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
